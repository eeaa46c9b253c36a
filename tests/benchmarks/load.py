"""What a room costs beside bare WebSocket servers: fan-out, idle connections, accepting, in one run.

    python -m tests.benchmarks.load [--quick] [--rounds 3]

The servers are `python -m simulator serve` and those of ``broadcasters.py``, which do nothing but pass on; a process
each. The clients are the same for all and run in this process. A round measures every server once, and the next round
goes through them in the other order, so that drift of the machine hits all. A fan-out is from one client to so many
others, a message of 200 bytes in two packets; idle connections are in a server that was started for them.

The numbers are of this machine, on loopback. They never pass or fail. A room reads tokens and requests, answers them,
and writes each message anew with its sender; the ratios show what that costs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

from meshsync.protocol.codec import encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.frames import FrameDecoder, Opcode, encode, encode_close, encode_control
from meshsync.protocol.operations import Broadcast, Enable
from meshsync.protocol.packets import split
from meshsync.tokens import MessagingRights, ParticipantToken
from tests.benchmarks.programs import EMULATOR, Program, running

ROOM = "room"
BARE = ("aiohttp", "websockets", "picows")
SERVERS = (ROOM, *BARE)

A3 = dialect("A3")
SIZE = 200
"""Bytes of attachment in a message."""
PACKETS = 2
"""Packets of such a message, at the sender and at each recipient."""
DELIVERIES = 40_000
"""Messages that arrive in one measurement of fan-out, all recipients together."""
SINGLE = 20
"""Messages of which each is sent when the one before has arrived everywhere."""
AT_ONCE = 64
"""Connections that are being opened at a time."""
KEY = b"\1\2\3\4"
"""How all clients mask: what a mask is does not matter here."""

GREETING = 4
"""Packets of a room's greeting."""
ADMISSION = 4
"""Packets of its answer to a client that enables messaging: the reply, and the list of participants."""

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Target:
    """One running server."""

    def __init__(self, name: str, program: Program) -> None:
        self.name = name
        self.program = program
        answer = program.read()
        url = urlsplit(answer["url"])
        self.address = (url.hostname, url.port)
        self.path = "/"
        if name == ROOM:
            # Without the right to list, nobody is told of the others: this is no measurement of rosters.
            rights = MessagingRights(list=False)
            token = ParticipantToken.for_room("load", "client", messaging=rights).encode(answer["secret"])
            self.path = f"/rooms/load?v={A3.version}&token={token}"

    def memory(self) -> int:
        """Return its resident size in bytes."""
        pages = Path(f"/proc/{self.program.process.pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(name: str) -> Iterator[Target]:
    """Run a server until the block ends."""
    bare = f"{shlex.quote(sys.executable)} -m tests.benchmarks.broadcasters {name}"
    with running(shlex.split(EMULATOR if name == ROOM else bare), {}) as program:
        yield Target(name, program)


class Client(asyncio.Protocol):
    """A client that counts packets, and answers pings."""

    def __init__(self, target: Target) -> None:
        self.count = 0
        """Packets that have come."""
        self.is_lost = False
        self._path = target.path
        self._head: bytes | None = b""
        self._decoder = FrameDecoder(masked=False)
        self._goal = 0
        self._reached: asyncio.Event | Countdown | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE.format(path=self._path).encode())

    def data_received(self, data: bytes) -> None:
        """Count."""
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._head = None
        packets: list[bytes] = []
        self._decoder.feed(data, packets)
        if (ping := self._decoder.take_ping()) is not None:
            self.transport.write(encode_control(Opcode.PONG, ping, KEY))
        self.count += len(packets)
        if self._reached is not None and self._head is None and self.count >= self._goal:
            reached, self._reached = self._reached, None
            reached.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let none wait for what cannot come."""
        self.is_lost = True
        if self._reached is not None:
            self._reached.set()

    def when(self, goal: int, reached: asyncio.Event | Countdown) -> None:
        """Have ``reached`` set once the handshake is done and so many packets have come."""
        if self._head is None and self.count >= goal:
            reached.set()
        else:
            self._goal, self._reached = goal, reached

    async def until(self, goal: int) -> None:
        """Wait for so many packets, and for the handshake."""
        reached = asyncio.Event()
        self.when(goal, reached)
        await reached.wait()
        self.check()

    def check(self) -> None:
        """Raise if the server has ended the connection."""
        if self.is_lost:
            raise ConnectionError("the server has ended a connection")

    def close(self) -> None:
        """Leave."""
        self.transport.write(encode_close(1000, "", KEY))
        self.transport.close()


class Countdown:
    """Is done when it was set so many times."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.done = asyncio.Event()

    def set(self) -> None:
        """Count one."""
        self._left -= 1
        if not self._left:
            self.done.set()


async def connect(target: Target, *, enable: bool) -> Client:
    """Return a client that is connected, and takes part if the server is a room."""
    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(target), *target.address)
    is_room = target.name == ROOM
    await client.until(GREETING if is_room else 0)
    if is_room and enable:
        client.transport.write(frames_of(split(1, *encode_request(Enable(), A3))))
        await client.until(GREETING + ADMISSION)
    return client


async def connect_all(target: Target, count: int, *, enable: bool = True) -> list[Client]:
    """Return so many clients, `AT_ONCE` of which are connected at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Client:
        async with gate:
            return await connect(target, enable=enable)

    return await asyncio.gather(*(one() for _ in range(count)))


def frames_of(packets: list[bytes]) -> bytes:
    """Return packets as a client sends them."""
    return encode(packets, KEY * len(packets))


# --- what is measured -------------------------------------------------------------------------------------------------

Figures = dict[str, float]


async def broadcast(clients: list[Client], message: bytes, count: int) -> float:
    """Send a message so many times to all clients but the first; return the seconds until all of them have them."""
    sender, *others = clients
    arrival = Countdown(len(others))
    for client in others:
        client.when(client.count + PACKETS * count, arrival)
    begin = perf_counter()
    sender.transport.write(message * count)
    await arrival.done.wait()
    seconds = perf_counter() - begin
    for client in clients:
        client.check()
    return seconds


async def fan_out(target: Target, clients: list[Client]) -> Figures:
    """Measure messages from one to all."""
    message = frames_of(split(5, *encode_request(Broadcast("t", {"n": 1}, bytes(SIZE)), A3)))
    size = len(clients) - 1
    await broadcast(clients, message, 2)
    single = [await broadcast(clients, message, 1) for _ in range(SINGLE)]
    count = max(10, DELIVERIES // size)
    before = target.program.cpu()
    seconds = await broadcast(clients, message, count)
    used = target.program.cpu() - before
    return {
        "deliveries/s": count * size / seconds,
        "server CPU, us/delivery": used / (count * size) * 1e6,
        "one message to all, ms": median(single) * 1e3,
    }


async def accept(target: Target, count: int) -> Figures:
    """Measure connections that come and go."""
    before, begin = target.program.cpu(), perf_counter()
    for _ in range(0, count, 100):
        for client in await connect_all(target, 100, enable=False):
            client.close()
    seconds = perf_counter() - begin
    return {"accepts/s": count / seconds, "server CPU, us/accept": (target.program.cpu() - before) / count * 1e6}


async def idle(target: Target, count: int, seconds: float) -> Figures:
    """Measure connections that do nothing, in a server that has had none."""
    first = await connect(target, enable=True)
    before = target.memory()
    clients = await connect_all(target, count)
    await asyncio.sleep(0.5)
    memory, used = target.memory() - before, target.program.cpu()
    await asyncio.sleep(seconds)
    used = target.program.cpu() - used
    for client in (first, *clients):
        client.check()
        client.close()
    return {"memory, KiB/connection": memory / count / 1024, "server CPU while idle, ms/s": used / seconds * 1e3}


# --- tables -----------------------------------------------------------------------------------------------------------


class Table:
    """The figures of all servers about one thing, a value for each round."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._values: dict[str, dict[str, list[float]]] = {}

    def add(self, name: str, figures: Figures) -> None:
        """Add what one server reached in one round."""
        for quantity, value in figures.items():
            self._values.setdefault(quantity, {}).setdefault(name, []).append(value)

    def __str__(self) -> str:
        lines = [f"{self.title:30}{'room':>27}  " + "".join(f"{'/ ' + name:>14}" for name in BARE)]
        for quantity, values in self._values.items():
            ours = values[ROOM]
            shown = f"{median(ours):.4g} ({min(ours):.4g} - {max(ours):.4g})"
            ratios = "".join(f"{_ratio(ours, values[name]):>14}" for name in BARE)
            lines.append(f"  {quantity:28}{shown:>27}  {ratios}")
        return "\n".join(lines)


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """Return the ratio of the medians; a dash where theirs is too little to be measured."""
    return f"{median(ours) / median(theirs):.2f}" if median(theirs) > 0 else "-"


def in_turn(round_number: int) -> tuple[str, ...]:
    """Return the servers in the order of a round."""
    return SERVERS if round_number % 2 == 0 else SERVERS[::-1]


async def measure_fan_out(size: int, rounds: int) -> Table:
    """Measure all servers with so many recipients."""
    table = Table(f"fan-out to {size:,}")
    async with Running() as targets:
        clients = {name: await connect_all(target, size + 1) for name, target in targets.items()}
        for number in range(rounds):
            for name in in_turn(number):
                table.add(name, await fan_out(targets[name], clients[name]))
    return table


async def measure_accepting(count: int, rounds: int) -> Table:
    """Measure how all servers accept connections."""
    table = Table(f"{count:,} connections, {AT_ONCE} at a time")
    async with Running() as targets:
        for target in targets.values():
            await accept(target, 100)
        for number in range(rounds):
            for name in in_turn(number):
                table.add(name, await accept(targets[name], count))
    return table


async def measure_idle(count: int, rounds: int, seconds: float) -> Table:
    """Measure so many connections that do nothing."""
    table = Table(f"{count:,} idle connections")
    for number in range(rounds):
        for name in in_turn(number):
            with serving(name) as target:
                table.add(name, await idle(target, count, seconds))
    return table


class Running:
    """Some servers, while a block lasts."""

    def __init__(self, names: tuple[str, ...] = SERVERS) -> None:
        self._names = names

    async def __aenter__(self) -> dict[str, Target]:
        self._contexts = {name: serving(name) for name in self._names}
        return {name: context.__enter__() for name, context in self._contexts.items()}

    async def __aexit__(self, *error: object) -> None:
        for context in self._contexts.values():
            context.__exit__(None, None, None)


async def run(options: argparse.Namespace) -> None:
    """Measure everything, and print a table after each."""
    rounds, is_quick = options.rounds, options.quick
    for size in (10, 100) if is_quick else (10, 100, 1000):
        print(await measure_fan_out(size, rounds), flush=True)
    print(await measure_accepting(200 if is_quick else 1000, rounds), flush=True)
    for count in (200,) if is_quick else (1000, 5000):
        print(await measure_idle(count, 1 if count > 1000 else rounds, 2.0 if is_quick else 5.0), flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few clients, to see that it works")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print("the room's figures: median (lowest - highest) of the rounds, and their ratio to those of bare servers\n")
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
