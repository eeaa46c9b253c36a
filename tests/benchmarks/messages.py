"""Sends per second, latency and CPU time of meshsync beside the official client, in one run on one emulator.

    tox -e bench [-- --rounds 7 --count 2000]

The emulator, the two senders and the receiver are a process each and live through the whole run. A round measures both
senders, and the next one in the other order, so that drift of the machine hits both. The receiver is the same process
for both; it is the official client unless ``--receiver meshsync``. Only one sender works at a time.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.interop.releases import RELEASES, ROOT, python_of

PARTICIPANT = Path(__file__).with_name("participant.py")
OFFICIAL = RELEASES["0.0.21"]
SENDERS = ("meshsync", "official")
MODES = ("sequential", "pipelined")
WARM_UP = 300
"""Messages that each sender sends before anything is measured."""

EMULATOR = f"{shlex.quote(sys.executable)} -m simulator serve --port 0 --json"


class Program:
    """A process that is told and tells JSON lines."""

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Give a command and return its answer."""
        assert self.process.stdin is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.read()

    def read(self) -> dict[str, Any]:
        """Return the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu(self) -> float:
        """Return the seconds of CPU it has used so far, NaN where the system does not say."""
        try:
            after_name = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], environ: Mapping[str, str]) -> Iterator[Program]:
    """Run a program until the block ends."""
    program = Program(command, environ)
    try:
        yield program
    finally:
        program.process.terminate()
        program.process.communicate(timeout=10)


@dataclass(slots=True)
class Series:
    """What one sender reached in one mode, a value for each round."""

    rates: list[float] = field(default_factory=list)
    """Messages per second."""
    cpus: list[float] = field(default_factory=list)
    """Microseconds of the sender's CPU per message."""
    medians: list[float] = field(default_factory=list)
    """Median latency in milliseconds; empty unless sequential."""
    p95s: list[float] = field(default_factory=list)
    """The latency in milliseconds that 95 of 100 sends do not exceed; likewise."""
    busy: dict[str, list[float]] = field(default_factory=lambda: {"sender": [], "emulator": [], "receiver": []})
    """The share of the time in which each process used a CPU: at 1.0 it is what limits."""


class Benchmark:
    """The processes of one run and what was measured."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self.emulator = stack.enter_context(running(shlex.split(options.emulator), {}))
        environ = self.emulator.read()["env"]
        pythons = {"meshsync": sys.executable, "official": str(python_of(OFFICIAL))}

        def start(kind: str, name: str) -> Program:
            path = {"PYTHONPATH": str(ROOT) if kind == "meshsync" else ""}  # the official one sees nothing of ours
            return stack.enter_context(running([pythons[kind], str(PARTICIPANT), kind, name], {**environ, **path}))

        self.receiver = start(options.receiver, "receiver")
        self.receiver_is = self.receiver.read()["ready"]
        self.senders = {kind: start(kind, f"{kind}-sender") for kind in SENDERS}
        self.senders_are = {kind: sender.read()["ready"] for kind, sender in self.senders.items()}
        self.series = {(mode, kind): Series() for mode in MODES for kind in SENDERS}
        self.sent = 0

    def measure(self, mode: str, kind: str, count: int) -> tuple[dict[str, Any], dict[str, float]]:
        """Let one sender send, wait until everything has arrived, and return its answer and who was busy how much."""
        processes = {"sender": self.senders[kind], "emulator": self.emulator, "receiver": self.receiver}
        before = {name: process.cpu() for name, process in processes.items()}
        answer = self.senders[kind].ask(do=mode, to="receiver", count=count, size=self.options.size)
        busy = {name: (process.cpu() - before[name]) / answer["seconds"] for name, process in processes.items()}
        self.sent += count
        self.receiver.ask(do="arrived", count=self.sent)
        return answer, busy

    def run(self) -> None:
        """Warm up, then measure every round."""
        for mode in MODES:
            for kind in SENDERS:
                self.measure(mode, kind, WARM_UP)
        for round_number in range(self.options.rounds):
            order = SENDERS if round_number % 2 == 0 else SENDERS[::-1]
            for mode in MODES:
                for kind in order:
                    self.record(mode, kind)

    def record(self, mode: str, kind: str) -> None:
        """Measure once and keep it."""
        count = self.options.count
        answer, busy = self.measure(mode, kind, count)
        series = self.series[mode, kind]
        series.rates.append(count / answer["seconds"])
        series.cpus.append(answer["cpu"] / count * 1e6)
        for name, share in busy.items():
            series.busy[name].append(share)
        if latencies := answer.get("latencies"):
            series.medians.append(median(latencies) * 1e3)
            series.p95s.append(quantiles(latencies, n=20)[-1] * 1e3)

    def table(self) -> str:
        """Return what was measured: ratios, then medians over the rounds with the lowest and the highest."""
        rows = [
            ("sequential sends/s", "sequential", "rates", "{:.0f}"),
            ("  median latency, ms", "sequential", "medians", "{:.3f}"),
            ("  p95 latency, ms", "sequential", "p95s", "{:.3f}"),
            ("  sender CPU, us/message", "sequential", "cpus", "{:.0f}"),
            ("pipelined sends/s", "pipelined", "rates", "{:.0f}"),
            ("  sender CPU, us/message", "pipelined", "cpus", "{:.0f}"),
        ]
        lines = [f"{'':26}{'ratio':>7}  {'meshsync':26}official"]
        for label, mode, quantity, form in rows:
            ours, theirs = (getattr(self.series[mode, kind], quantity) for kind in SENDERS)
            ratio = median(ours) / median(theirs)
            lines.append(f"{label:26}{ratio:7.2f}  {_spread(ours, form):26}{_spread(theirs, form):26}".rstrip())
        lines.append("share of the time on a CPU, medians; what is near 1.0 limits")
        for mode in MODES:
            shares = [
                ", ".join(f"{name} {median(values):.2f}" for name, values in self.series[mode, kind].busy.items())
                for kind in SENDERS
            ]
            lines.append(f"  {mode} with {SENDERS[0]}: {shares[0]}; with {SENDERS[1]}: {shares[1]}")
        return "\n".join(lines)


def _spread(values: list[float], form: str) -> str:
    """Return the median with the lowest and the highest."""
    return f"{form} ({form} - {form})".format(median(values), min(values), max(values))


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=2000, help="messages in each measurement")
    parser.add_argument("--size", type=int, default=0, help="bytes of attachment in each message")
    parser.add_argument("--receiver", choices=SENDERS, default="official")
    parser.add_argument("--emulator", default=EMULATOR, help="command that serves rooms and prints one line of JSON")
    options = parser.parse_args()
    with ExitStack() as stack:
        benchmark = Benchmark(options, stack)
        benchmark.run()
        print(
            f"{benchmark.senders_are['meshsync']} beside {benchmark.senders_are['official']}; "
            f"receiver in both cases: {benchmark.receiver_is}\n"
            f"{options.rounds} rounds of {options.count} messages, {options.size} bytes of attachment; "
            f"{benchmark.sent} sent, all arrived; median (lowest - highest)\n\n{benchmark.table()}"
        )


if __name__ == "__main__":
    main()
