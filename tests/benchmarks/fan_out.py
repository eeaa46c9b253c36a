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
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from meshsync.protocol.codec import encode_request
from meshsync.protocol.operations import Broadcast
from meshsync.protocol.packets import split
from tests.benchmarks.load import A3, ROOM, SIZE, Client, Countdown, Target, connect_all, frames_of
from tests.benchmarks.messages import EMULATOR, Program, running

LOOPS = ("asyncio", "uvloop")
BARE = ("picows", "loop")
WARM_UP = 100
"""Messages before anything is measured."""
PLACE = "{:18}"
FIGURE = "{:>26}"


@contextmanager
def serving(name: str, loop: str) -> Iterator[Target]:
    """Run a server until the block ends."""
    bare = f"{shlex.quote(sys.executable)} -m tests.benchmarks.broadcasters {name} {loop}"
    with running(shlex.split(f"{EMULATOR} --log-level warning --loop {loop}" if name == ROOM else bare), {}) as program:
        yield Target(name, program)


def keep_apart(programs: Iterable[Program]) -> None:
    """Leave the first CPU to this process, and the others to those, where the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        own, *others = sorted(os.sched_getaffinity(0))
        if others:
            os.sched_setaffinity(0, {own})
            for program in programs:
                for task in Path(f"/proc/{program.process.pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), others)


def cpu(program: Program) -> float:
    """Return the seconds of CPU that all threads of a process have used so far, to the microsecond; NaN if unknown."""
    try:
        tasks = list(Path(f"/proc/{program.process.pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
    except OSError:
        return program.cpu()


class Fan:
    """One server, its clients, and what was measured."""

    def __init__(self, target: Target, clients: list[Client]) -> None:
        self.values: list[float] = []
        """Microseconds of CPU for each delivery."""
        self.target = target
        self._clients = clients
        packets = split(5, *encode_request(Broadcast("t", {"n": 1}, bytes(SIZE)), A3))
        self._packets = len(packets) if target.name == ROOM else 1
        self._message = frames_of(packets if target.name == ROOM else [b"".join(packets)])

    async def send(self, count: int) -> None:
        """Send so many messages, each when the one before has arrived everywhere."""
        sender, *others = self._clients
        for _ in range(count):
            arrival = Countdown(len(others))
            for client in others:
                client.when(client.count + self._packets, arrival)
            sender.transport.write(self._message)
            await arrival.done.wait()
        for client in self._clients:
            client.check()

    async def measure(self, count: int) -> None:
        """Measure one round."""
        before = cpu(self.target.program)
        await self.send(count)
        self.values.append((cpu(self.target.program) - before) / (count * (len(self._clients) - 1)) * 1e6)


def available() -> tuple[str, ...]:
    """Return the loops that are installed."""
    return tuple(loop for loop in LOOPS if loop == "asyncio" or importlib.util.find_spec(loop) is not None)


def table(fans: dict[tuple[str, str], Fan]) -> str:
    """Return what was measured; a ratio is the median of the rounds' ratios, as both were measured close in time."""
    names = (ROOM, *(name for name in BARE if (name, "asyncio") in fans))
    loops = [loop for loop in LOOPS if (ROOM, loop) in fans]
    lines = ["".join((PLACE.format("us CPU/delivery"), *(FIGURE.format(f"on {loop}") for loop in loops)))]
    for name in names:
        cells = [fans[name, loop].values for loop in loops]
        shown = [f"{median(cell):.1f} ({min(cell):.1f} - {max(cell):.1f})" for cell in cells]
        lines.append("".join((PLACE.format(name), *map(FIGURE.format, shown))))
    for name in names[1:]:
        shown = []
        for loop in loops:
            ratios = [a / b for a, b in zip(fans[ROOM, loop].values, fans[name, loop].values, strict=True)]
            shown.append(f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})")
        lines.append("".join((PLACE.format(f"{ROOM} / {name}"), *map(FIGURE.format, shown))))
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> None:
    """Measure all servers."""
    names = [ROOM, "loop"]
    if importlib.util.find_spec("picows") is not None:
        names.insert(1, "picows")
    fans: dict[tuple[str, str], Fan] = {}
    with ExitStack() as stack:
        for loop in available():
            for name in names:
                target = stack.enter_context(serving(name, loop))
                fans[name, loop] = Fan(target, await connect_all(target, options.size))
        keep_apart(fan.target.program for fan in fans.values())
        for fan in fans.values():
            await fan.send(WARM_UP)
        for number in range(options.rounds):
            for fan in list(fans.values())[:: 1 if number % 2 == 0 else -1]:
                await fan.measure(options.messages)
    print(
        f"a room of {options.size}, one message of {SIZE} bytes at a time, {options.rounds} rounds of "
        f"{options.messages}: median (lowest - highest)\n{table(fans)}"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=400, help="messages in each measurement")
    parser.add_argument("--size", type=int, default=10, help="participants of the room, the sender among them")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
