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
import importlib.util
import os
import resource
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
from tests.benchmarks.rows import Row, table

ROOM = "room"
BARE = ("picows", "websockets", "aiohttp")
SERVERS = (ROOM, *BARE)

A3 = dialect("A3")
SIZE = 200
"""Bytes of attachment in a message."""
PACKETS = 2
"""Packets of such a message, at the sender and at each recipient."""
DELIVERIES = 40_000
"""Messages that arrive in one measurement of fan-out, all recipients together."""
QUICK_DELIVERIES = 2_000
"""As many in a quick one."""
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
QUANTITIES = {
    "deliveries": ("deliveries", "1/s", False),
    "cpu": ("server's CPU", "us each", True),
    "single": ("one message to all", "ms", True),
    "accepts": ("accepted", "1/s", False),
    "memory": ("memory of each", "KiB", True),
    "idle": ("server's CPU", "ms/s", True),
}
"""By quantity: how its row's name ends, its unit, and whether less of it is better."""


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


async def fan_out(target: Target, clients: list[Client], deliveries: int) -> Figures:
    """Measure messages from one to all, so many that about that many arrive."""
    message = frames_of(split(5, *encode_request(Broadcast("t", {"n": 1}, bytes(SIZE)), A3)))
    size = len(clients) - 1
    await broadcast(clients, message, 2)
    single = [await broadcast(clients, message, 1) for _ in range(SINGLE)]
    count = max(10, deliveries // size)
    before = target.program.cpu()
    seconds = await broadcast(clients, message, count)
    used = target.program.cpu() - before
    return {
        "deliveries": count * size / seconds,
        "cpu": used / (count * size) * 1e6,
        "single": median(single) * 1e3,
    }


async def accept(target: Target, count: int) -> Figures:
    """Measure connections that come and go."""
    before, begin = target.program.cpu(), perf_counter()
    for _ in range(0, count, 100):
        for client in await connect_all(target, 100, enable=False):
            client.close()
    seconds = perf_counter() - begin
    return {"accepts": count / seconds, "cpu": (target.program.cpu() - before) / count * 1e6}


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
    return {"memory": memory / count / 1024, "idle": used / seconds * 1e3}


# --- rows -------------------------------------------------------------------------------------------------------------


class Rows:
    """The rows of all servers about one thing, a value for each round."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._rows: dict[str, Row] = {}

    def add(self, name: str, figures: Figures) -> None:
        """Add what one server reached in one round."""
        for quantity, value in figures.items():
            what, unit, is_less_better = QUANTITIES[quantity]
            work = f"{self._about}: {what}"
            row = self._rows.setdefault(quantity, Row(work, unit, is_less_better, missing=missing()))
            (row.ours if name == ROOM else row.limits.setdefault(f"bare {name}", [])).append(value)

    def made(self) -> list[Row]:
        """Return them, with the limit that they are compared by first."""
        for row in self._rows.values():
            row.limits = {f"bare {name}": row.limits[f"bare {name}"] for name in BARE if has(name)}
        return list(self._rows.values())


def has(library: str) -> bool:
    """Return whether a loop, or what a bare server is made with, is here."""
    return library in (ROOM, "asyncio", "loop") or importlib.util.find_spec(library) is not None


def missing() -> dict[str, str]:
    """Return why bare servers were not measured."""
    return {f"limit: bare {name}": f"no {name} is installed" for name in BARE if not has(name)}


def in_turn(names: Iterable[str], round_number: int) -> list[str]:
    """Return servers in the order of a round."""
    return [*names][:: 1 if round_number % 2 == 0 else -1]


async def measure_fan_out(size: int, rounds: int, deliveries: int) -> list[Row]:
    """Measure all servers with so many recipients."""
    rows = Rows(f"fan-out to {size:,}")
    async with Running() as targets:
        clients = {name: await connect_all(target, size + 1) for name, target in targets.items()}
        for number in range(rounds):
            for name in in_turn(targets, number):
                rows.add(name, await fan_out(targets[name], clients[name], deliveries))
        await close_all(clients.values())
    return rows.made()


async def measure_accepting(count: int, rounds: int) -> list[Row]:
    """Measure how all servers accept connections."""
    rows = Rows(f"{count:,} connections, {AT_ONCE} at a time")
    async with Running() as targets:
        for target in targets.values():
            await accept(target, 100)
        for number in range(rounds):
            for name in in_turn(targets, number):
                rows.add(name, await accept(targets[name], count))
    return rows.made()


async def measure_idle(count: int, rounds: int, seconds: float) -> list[Row]:
    """Measure so many connections that do nothing."""
    rows = Rows(f"{count:,} idle connections")
    for number in range(rounds):
        for name in in_turn(filter(has, SERVERS), number):
            with serving(name) as target:
                rows.add(name, await idle(target, count, seconds))
    return rows.made()


async def close_all(clients: Iterable[list[Client]]) -> None:
    """Let clients leave, for whom servers that end would wait."""
    for some in clients:
        for client in some:
            client.close()
    await asyncio.sleep(0)  # In which their sockets are closed.


class Running:
    """Some servers, those of them that can be run here, while a block lasts."""

    def __init__(self, names: tuple[str, ...] = SERVERS) -> None:
        self._names = names
        self._stack = ExitStack()

    async def __aenter__(self) -> dict[str, Target]:
        return {name: self._stack.enter_context(serving(name)) for name in self._names if has(name)}

    async def __aexit__(self, *error: object) -> None:
        self._stack.close()


async def measure(options: argparse.Namespace) -> list[Row]:
    """Measure everything."""
    rows, rounds = [], options.rounds
    if options.quick:
        rows = await measure_fan_out(10, rounds, QUICK_DELIVERIES)
        return rows + await measure_accepting(100, rounds) + await measure_idle(100, 1, 0.1)
    for size in (10, 100, 1000):
        rows += await measure_fan_out(size, rounds, DELIVERIES)
    rows += await measure_accepting(1000, rounds)
    for count in (1000, 5000):
        rows += await measure_idle(count, 1 if count > 1000 else rounds, 5.0)
    return rows


def run(options: argparse.Namespace) -> list[Row]:
    """Measure and return the rows."""
    allow_many_files()
    return asyncio.run(measure(options))


def allow_many_files() -> None:
    """Let this process and those it starts have as many connections as the system allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--quick", action="store_true", help="few clients, to see that it works")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
