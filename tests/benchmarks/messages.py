"""Sends per second, latency and CPU time of meshsync beside the official client, in one run on one emulator.

    python -m tests.benchmarks.messages [--rounds 7] [--count 2000]

The emulator, the two senders and the receiver are a process each and live through the whole run. A round measures both
senders and bare sockets, and the next one in the other order, so that drift of the machine hits all. The receiver is
the same process for both; it is the official client, if that can be installed, unless ``--receiver meshsync``. Only one
sender works at a time.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.limits import Echo
from tests.benchmarks.programs import EMULATOR, Program, official, running, wake_ups
from tests.benchmarks.rows import Row, table
from tests.interop.releases import ROOT

PARTICIPANT = Path(__file__).with_name("participant.py")
OFFICIAL = "0.0.21"
OURS, THEIRS, LIMIT = "meshsync", "official", "limit"
SENDERS = (OURS, THEIRS)
MODES = ("sequential", "pipelined")
WARM_UP = 300
"""Messages that each sender sends before anything is measured."""
QUANTITIES = {
    ("sequential", "rates"): ("blocking sends", "1/s", False),
    ("sequential", "medians"): ("blocking sends, median latency", "ms", True),
    ("sequential", "p95s"): ("blocking sends, latency of 95 in 100", "ms", True),
    ("sequential", "cpus"): ("blocking sends, sender's CPU", "us each", True),
    ("sequential", "waits"): ("blocking sends, sender's wake-ups", "each", True),
    ("pipelined", "rates"): ("pipelined sends", "1/s", False),
    ("pipelined", "cpus"): ("pipelined sends, sender's CPU", "us each", True),
}
"""By mode and quantity: the row's work and unit, and whether less of it is better."""
LIMIT_IS = "a bare socket, echoed by another process"


class Benchmark:
    """The processes of one run and what was measured."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self.emulator = stack.enter_context(running(shlex.split(options.emulator), {}))
        environ = self.emulator.read()["env"]
        found, missing = official(OFFICIAL)
        pythons = {OURS: sys.executable} | ({THEIRS: found[OFFICIAL]} if found else {})

        def start(kind: str, name: str) -> Program:
            path = {"PYTHONPATH": str(ROOT) if kind == OURS else ""}  # the official one sees nothing of ours
            return stack.enter_context(running([pythons[kind], str(PARTICIPANT), kind, name], {**environ, **path}))

        self.receiver = start(options.receiver if options.receiver in pythons else OURS, "receiver")
        self.receiver_is = self.receiver.read()["ready"]
        self.senders = {kind: start(kind, f"{kind}-sender") for kind in pythons}
        self.senders_are = {kind: sender.read()["ready"] for kind, sender in self.senders.items()}
        self.echo = Echo(stack)
        self.rows = {key: Row(*about, missing=missing) for key, about in QUANTITIES.items()}
        self.busy: dict[tuple[str, str, str], list[float]] = {}
        """By mode, sender and process, for each round: the share of the time in which the process used a CPU."""
        self.sent = 0

    def measure(self, mode: str, kind: str, count: int) -> dict[str, Any]:
        """Let one sender send, wait until everything has arrived, and return its answer and who was busy how much."""
        processes = {"sender": self.senders[kind], "emulator": self.emulator, "receiver": self.receiver}
        before = {name: process.cpu() for name, process in processes.items()}
        waits = wake_ups(self.senders[kind].process.pid)
        answer = self.senders[kind].ask(do=mode, to="receiver", count=count, size=self.options.size)
        busy = {name: (process.cpu() - before[name]) / answer["seconds"] for name, process in processes.items()}
        waits = wake_ups(self.senders[kind].process.pid) - waits
        self.sent += count
        self.receiver.ask(do="arrived", count=self.sent)
        return {**answer, "busy": busy, "waits": waits / count}

    def run(self) -> list[Row]:
        """Warm up, then measure every round, and return the rows."""
        for mode in MODES:
            getattr(self.echo, mode)(WARM_UP)
            for kind in self.senders:
                self.measure(mode, kind, WARM_UP)
        for number in range(self.options.rounds):
            order = (*self.senders, LIMIT)
            for mode in MODES:
                for kind in order if number % 2 == 0 else reversed(order):
                    self.record(mode, kind)
        return list(self.rows.values())

    def record(self, mode: str, kind: str) -> None:
        """Measure once and keep it."""
        count = self.options.count
        if kind == LIMIT:
            figures: dict[str, float] = getattr(self.echo, mode)(count)
        else:
            answer = self.measure(mode, kind, count)
            figures = {"rates": count / answer["seconds"], "cpus": answer["cpu"] / count * 1e6}
            if latencies := answer.get("latencies"):
                figures |= {"medians": median(latencies) * 1e3, "p95s": quantiles(latencies, n=20)[-1] * 1e3}
                figures["waits"] = answer["waits"]
            for name, share in answer["busy"].items():
                self.busy.setdefault((mode, kind, name), []).append(share)
        for quantity, value in figures.items():
            row = self.rows[mode, quantity]
            if kind == OURS:
                row.ours.append(value)
            elif kind == THEIRS:
                row.official.setdefault(OFFICIAL, []).append(value)
            else:
                row.limits.setdefault(LIMIT_IS, []).append(value)

    def shares(self) -> str:
        """Return who was busy how much."""
        lines = ["share of the time on a CPU, medians; what is near 1.0 limits"]
        for mode in MODES:
            for kind in self.senders:
                of = ", ".join(f"{key[2]} {median(v):.2f}" for key, v in self.busy.items() if key[:2] == (mode, kind))
                lines.append(f"  {mode} with {kind}: {of}")
        return "\n".join(lines)


def run(options: argparse.Namespace) -> list[Row]:
    """Measure, print who was who and how busy, and return the rows."""
    with ExitStack() as stack:
        benchmark = Benchmark(options, stack)
        rows = benchmark.run()
        print(
            f"{' beside '.join(benchmark.senders_are.values())}; receiver of all: {benchmark.receiver_is}\n"
            f"{options.rounds} rounds of {options.count} messages, {options.size} bytes of attachment; "
            f"{benchmark.sent} sent, all arrived\n{benchmark.shares()}\n"
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument("--count", type=int, default=2000, help="messages in each measurement")
    made.add_argument("--size", type=int, default=0, help="bytes of attachment in each message")
    made.add_argument("--receiver", choices=SENDERS, default=THEIRS)
    made.add_argument("--emulator", default=EMULATOR, help="command that serves rooms and prints one line of JSON")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
