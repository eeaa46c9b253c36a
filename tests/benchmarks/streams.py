"""Megabytes per second through one stream, and what they cost, beside the official clients, in one run on one emulator.

    tox -e bench [-- --rounds 5 --size 32]

Every pair is a sender and a receiver of one kind, a process each; the emulator is one for all of them. A round measures
every pair once with each size of chunk, and the next round goes through them in the other order. The time is from
opening the stream until the receiver has everything. Afterwards a slow reader shows what flow control does to memory.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.benchmarks.messages import EMULATOR, Program, running
from tests.interop.releases import RELEASES, ROOT, python_of

PARTICIPANT = Path(__file__).with_name("participant.py")
REFERENCES = ("official 0.0.21", "official 0.56.0")
"""What others are compared with: streams of a classic release, and attachments of the newest, each awaited."""
PAIRS = {
    "official 0.0.21": ("0.0.21", ["official"], "stream"),
    "official 0.56.0": ("0.56.0", ["official"], "sequential"),
    "official 0.56.0, gathered": ("0.56.0", ["official"], "pipelined"),
    "official 0.56.0, calls": ("0.56.0", ["official"], "stream"),
    "meshsync, pure Python, A": (None, ["pure", "A"], "stream"),
    "meshsync with speed, A": (None, ["meshsync", "A"], "stream"),
    "meshsync, pure Python, B": (None, ["pure", "B"], "stream"),
    "meshsync with speed, B": (None, ["meshsync", "B"], "stream"),
}
"""By label: the release whose environment runs it, ours for none; the kind of participant, and its dialect; what it
does: a stream, or messages with attachments, each awaited before the next or all of them together."""
CHUNKS = (64 * 1024, 1024 * 1024)
"""Bytes of data in each chunk."""
SLOW_SIZE, SLOW_CHUNK, SLOW_PAUSE = 200 * 1024 * 1024, 64 * 1024, 0.010
"""What the slow reader is sent, in bytes, and how long it takes for a chunk, in seconds."""


@dataclass(slots=True)
class Series:
    """What a pair reached with one size of chunk, a value for each round."""

    rates: list[float] = field(default_factory=list)
    """Megabytes per second."""
    cpus: list[float] = field(default_factory=list)
    """Seconds of CPU of sender and receiver together per 1000 megabytes."""


class Pair:
    """A sender and a receiver."""

    def __init__(self, label: str, environ: dict[str, str], stack: ExitStack) -> None:
        release, (kind, *dialect), self.does = PAIRS[label]
        python = sys.executable if release is None else str(python_of(RELEASES[release]))
        path = {"PYTHONPATH": str(ROOT) if release is None else ""}  # the official one sees nothing of ours

        def start(name: str) -> Program:
            command = [python, str(PARTICIPANT), kind, f"{label} {name}", *dialect]
            program = stack.enter_context(running(command, {**environ, **path}))
            program.read()
            return program

        self.sender, self.receiver = start("sender"), start("receiver")
        self.to = f"{label} receiver"
        self.sent = 0

    def measure(self, size: int, chunk: int) -> tuple[float, float]:
        """Send so many bytes; return seconds by the clock, and of both sides' CPU."""
        count = max(1, size // chunk)
        before = self.receiver.ask(do="streamed", size=self.sent)["cpu"]
        self.sent += count * chunk
        start = perf_counter()
        sender = self.sender.ask(do=self.does, to=self.to, count=count, size=chunk)
        after = self.receiver.ask(do="streamed", size=self.sent)["cpu"]
        return perf_counter() - start, sender["cpu"] + after - before


def compare(pairs: dict[str, Pair], rounds: int, megabytes: int) -> str:
    """Measure all pairs in alternation and return the table."""
    series = {(label, chunk): Series() for label in pairs for chunk in CHUNKS}
    for pair in pairs.values():
        pair.measure(4 * 1024 * 1024, CHUNKS[0])  # the first time is slower
    for number in range(rounds):
        for chunk in CHUNKS:
            for label in list(pairs) if number % 2 == 0 else reversed(pairs):
                seconds, cpu = pairs[label].measure(megabytes * 1024 * 1024, chunk)
                series[label, chunk].rates.append(megabytes / seconds)
                series[label, chunk].cpus.append(cpu / megabytes * 1000)
    lines = []
    for chunk in CHUNKS:
        heads = "".join(f"{'to ' + label.removeprefix('official '):>10} {'CPU':>5}" for label in REFERENCES)
        lines.append(f"{f'{chunk // 1024} KiB chunks':28}{heads} {'MB/s':>24} {'CPU s/GB':>10}")
        for label in pairs:
            own = series[label, chunk]
            ratios = ""
            for reference in (series[name, chunk] for name in REFERENCES):
                rate, cpu = median(own.rates) / median(reference.rates), median(own.cpus) / median(reference.cpus)
                ratios += f"{rate:10.2f} {cpu:5.2f}"
            spread = f"{median(own.rates):.1f} ({min(own.rates):.1f} - {max(own.rates):.1f})"
            lines.append(f"  {label:26}{ratios} {spread:>24} {median(own.cpus):10.1f}")
    return "\n".join(lines)


def slow_reader(environ: dict[str, str], stack: ExitStack) -> str:
    """Let a fast writer meet a slow reader and return what both needed of memory."""
    pair = Pair("meshsync with speed, B", environ, stack)
    pair.receiver.ask(do="slowly", seconds=SLOW_PAUSE)
    before = [program.ask(do="memory")["peak"] / 1024 for program in (pair.sender, pair.receiver)]
    seconds, _ = pair.measure(SLOW_SIZE, SLOW_CHUNK)
    after = [program.ask(do="memory")["peak"] / 1024 for program in (pair.sender, pair.receiver)]
    return (
        f"{SLOW_SIZE >> 20} MiB to a reader that takes {SLOW_CHUNK >> 10} KiB per {SLOW_PAUSE * 1000:.0f} ms: "
        f"{seconds:.0f} s; peak memory of the sender's process {after[0]:.1f} MiB (before: {before[0]:.1f}), of the "
        f"receiver's {after[1]:.1f} MiB (before: {before[1]:.1f})"
    )


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=32, help="MiB in each measurement")
    parser.add_argument("--emulator", default=EMULATOR, help="command that serves rooms and prints one line of JSON")
    parser.add_argument("--only", choices=("compare", "slow"), help="one of the two parts")
    options = parser.parse_args()
    with ExitStack() as stack:
        environ = stack.enter_context(running(shlex.split(options.emulator), {})).read()["env"]
        if options.only != "slow":
            pairs = {label: Pair(label, environ, stack) for label in PAIRS}
            print(f"{options.rounds} rounds of {options.size} MiB; ratios of MB/s and CPU; median (lowest - highest)\n")
            print(compare(pairs, options.rounds, options.size))
    with ExitStack() as stack:
        environ = stack.enter_context(running(shlex.split(options.emulator), {})).read()["env"]
        if options.only != "compare":
            print(slow_reader(environ, stack))


if __name__ == "__main__":
    main()
