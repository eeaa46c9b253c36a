"""What one delivery costs a room of ten, one message at a time, beside bare servers on the same loop.

    python -m tests.benchmarks.fan_out [--rounds 9] [--messages 400] [--size 10]

A client sends 200 bytes, and the next ones when all others have them: no message shares a turn of the loop, a system
call or a buffer with another. The cost is the server's CPU, of all its threads and what the system does for it, for
each delivery. The servers are the emulator and those of ``broadcasters.py``: picows, and a protocol of the loop itself
that writes what it reads to all others. All of them get the same bytes: a room as two packets, as its clients cut them,
a bare server as one, so that it too writes once for each delivery. Each runs on asyncio and, where that is installed,
on uvloop; a process each. A round measures every server once, and the next one in the other order. The clients have a
CPU of their own, if the machine has several: on the same one, the server that needs more of it is interrupted by its
clients after a message to one of them, and that costs it still more.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from meshsync.protocol.codec import encode_request
from meshsync.protocol.operations import Broadcast
from meshsync.protocol.packets import split
from tests.benchmarks.load import A3, ROOM, SIZE, Client, Countdown, Target, close_all, connect_all, frames_of, has
from tests.benchmarks.programs import EMULATOR, Program, running
from tests.benchmarks.rows import Row, table

LOOPS = ("asyncio", "uvloop")
GOALS = {"asyncio": 1.4, "uvloop": 1.3}
"""By loop: what a delivery may cost in those of bare picows, in a room of ten."""
BARE = ("picows", "loop")
WARM_UP = 100
"""Messages before anything is measured."""


@contextmanager
def serving(name: str, loop: str) -> Iterator[Target]:
    """Run a server until the block ends."""
    bare = f"{shlex.quote(sys.executable)} -m tests.benchmarks.broadcasters {name} {loop}"
    with running(shlex.split(f"{EMULATOR} --loop {loop}" if name == ROOM else bare), {}) as program:
        yield Target(name, program)


@contextmanager
def kept_apart(programs: Iterable[Program]) -> Iterator[None]:
    """Leave the first CPU to this process and the others to those until the block ends, where the system lets us."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    own, *others = sorted(before)
    if others:
        os.sched_setaffinity(0, {own})
        for program in programs:
            for task in Path(f"/proc/{program.process.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Fan:
    """One server, its clients, and what was measured."""

    def __init__(self, target: Target, clients: list[Client]) -> None:
        self.values: list[float] = []
        """Microseconds of CPU for each delivery."""
        self.target = target
        self.clients = clients
        packets = split(5, *encode_request(Broadcast("t", {"n": 1}, bytes(SIZE)), A3))
        self._packets = len(packets) if target.name == ROOM else 1
        self._message = frames_of(packets if target.name == ROOM else [b"".join(packets)])

    async def send(self, count: int) -> None:
        """Send so many messages, each when the one before has arrived everywhere."""
        sender, *others = self.clients
        for _ in range(count):
            arrival = Countdown(len(others))
            for client in others:
                client.when(client.count + self._packets, arrival)
            sender.transport.write(self._message)
            await arrival.done.wait()
        for client in self.clients:
            client.check()

    async def measure(self, count: int) -> None:
        """Measure one round."""
        before = self.target.program.cpu()
        await self.send(count)
        self.values.append((self.target.program.cpu() - before) / (count * (len(self.clients) - 1)) * 1e6)


def row_of(loop: str, size: int, fans: dict[tuple[str, str], Fan]) -> Row:
    """Return the row of a loop."""
    bare = {name: fans[name, loop].values for name in BARE if (name, loop) in fans}
    return Row(
        f"room of {size}, {loop}: server's CPU",
        "us each",
        is_less_better=True,
        ours=fans[ROOM, loop].values,
        limits={f"bare {name} on {loop}": values for name, values in bare.items()},
        goal=GOALS[loop] if size == 10 and "picows" in bare else None,
        missing={f"limit: bare {name} on {loop}": f"no {name} is installed" for name in BARE if name not in bare},
    )


async def measure(options: argparse.Namespace) -> list[Row]:
    """Measure all servers, on the loops that are here."""
    fans: dict[tuple[str, str], Fan] = {}
    loops = [loop for loop in LOOPS if has(loop)]
    with ExitStack() as stack:
        for loop in loops:
            for name in (ROOM, *filter(has, BARE)):
                target = stack.enter_context(serving(name, loop))
                fans[name, loop] = Fan(target, await connect_all(target, options.size))
        with kept_apart(fan.target.program for fan in fans.values()):
            for fan in fans.values():
                await fan.send(WARM_UP)
            for number in range(options.rounds):
                for fan in list(fans.values())[:: 1 if number % 2 == 0 else -1]:
                    await fan.measure(options.messages)
        await close_all(fan.clients for fan in fans.values())
    return [row_of(loop, options.size, fans) for loop in loops]


def run(options: argparse.Namespace) -> list[Row]:
    """Measure, print how much, and return the rows."""
    rows = asyncio.run(measure(options))
    print(f"{options.rounds} rounds of {options.messages} messages of {SIZE} bytes to {options.size - 1} others\n")
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--messages", type=int, default=400, help="messages in each measurement")
    made.add_argument("--size", type=int, default=10, help="participants of the room, the sender among them")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
