"""How the cost of a message grows with the room, and with its size, beside bare servers and sockets, for the pictures.

    python -m tests.benchmarks.growth [--rounds 5] [--quick]

Rooms of 1 to 5,000 recipients: what a delivery costs the server, one message of 200 bytes to all at a time, as in
`tests/benchmarks/fan_out.py`. Messages of 100 bytes up to the largest, which has 4 MiB as sent: megabytes a second from
one client to one other, each awaited before the next, by our client in both dialects and the official one, and by bare
sockets through a process that passes on. `tools/pictures.py` draws the rows that are kept.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from contextlib import ExitStack

from tests.benchmarks.fan_out import Fan, kept_apart
from tests.benchmarks.limits import Relay
from tests.benchmarks.load import (
    BARE,
    ROOM,
    Running,
    allow_many_files,
    close_all,
    connect_all,
    in_turn,
    missing,
)
from tests.benchmarks.messages import OFFICIAL, PARTICIPANT
from tests.benchmarks.programs import EMULATOR, Program, official, running
from tests.benchmarks.rows import Row, table
from tests.interop.releases import ROOT

NUMBERS = (1, 3, 10, 30, 100, 300, 1000, 5000)
"""Recipients of each message."""
SIZES = (100, 1000, 10_000, 65_536, 262_144, 1 << 20, 3_145_000)
"""Bytes of attachment; base64 makes the last ones 4 MiB, which is as much as a message may have."""
MEGABYTES = 24
"""How much of large messages is sent in one measurement."""
MOST = 1000
"""How many small ones."""
DELIVERIES, FEWEST = 10_000, 10
"""Deliveries in one measurement of a room, and how many messages at least."""
LIMIT = f"bare {BARE[0]}"
RELAY = "bare sockets through a process, each awaited"


async def by_recipients(numbers: tuple[int, ...], rounds: int, deliveries: int) -> list[Row]:
    """Measure rooms of several sizes, each beside a bare server with as many connections."""
    rows = []
    for number in numbers:
        async with Running((ROOM, BARE[0])) as targets:
            fans = {name: Fan(target, await connect_all(target, number + 1)) for name, target in targets.items()}
            with kept_apart(target.program for target in targets.values()):
                for turn in range(rounds + 1):  # The first warms up.
                    for name in in_turn(fans, turn):
                        await fans[name].measure(max(FEWEST, deliveries // number))
            await close_all(fan.clients for fan in fans.values())
        rows.append(
            Row(
                f"one message to {number:,}: server's CPU",
                "us each",
                is_less_better=True,
                ours=fans[ROOM].values[1:],
                limits={LIMIT: fans[BARE[0]].values[1:]} if BARE[0] in fans else {},
                missing={name: why for name, why in missing().items() if name == f"limit: {LIMIT}"},
                curve="recipients",
                at=number,
            )
        )
    return rows


def by_size(sizes: tuple[int, ...], rounds: int) -> list[Row]:
    """Measure messages of several sizes, ours in each dialect and the official client's, each to one of its kind."""
    found, lacking = official(OFFICIAL)
    commands = {dialect: [sys.executable, str(PARTICIPANT), "meshsync"] for dialect in "AB"}
    if found:
        commands[OFFICIAL] = [found[OFFICIAL], str(PARTICIPANT), "official"]
    rows = []
    with ExitStack() as stack:
        environ = stack.enter_context(running(shlex.split(EMULATOR), {})).read()["env"]

        def start(kind: str, name: str) -> Program:
            path = {"PYTHONPATH": "" if kind == OFFICIAL else str(ROOT)}
            command = [*commands[kind], name, *([] if kind == OFFICIAL else [kind])]
            program = stack.enter_context(running(command, {**environ, **path}))
            program.read()
            return program

        pairs = {kind: (start(kind, f"{kind} receiver"), start(kind, f"{kind} sender")) for kind in commands}
        relay = Relay(stack)
        sent = dict.fromkeys(pairs, 0)
        for size in sizes:
            count = max(4, min(MOST, MEGABYTES * (1 << 20) // size))
            values: dict[str, list[float]] = {kind: [] for kind in (*pairs, RELAY)}
            for _ in range(rounds + 1):  # The first warms up.
                for kind, (receiver, sender) in pairs.items():
                    sent[kind] += count
                    seconds = sender.ask(do="sequential", to=f"{kind} receiver", count=count, size=size)["seconds"]
                    receiver.ask(do="arrived", count=sent[kind])
                    values[kind].append(count * size / (1 << 20) / seconds)
                values[RELAY].append(relay.sequential(count, size))
            rows += [
                row_of(dialect, size, {kind: some[1:] for kind, some in values.items()}, lacking) for dialect in "AB"
            ]
    return rows


def row_of(dialect: str, size: int, values: dict[str, list[float]], lacking: dict[str, str]) -> Row:
    """Return the row of a size in one dialect."""
    return Row(
        f"messages of {size:,} bytes, {dialect}",
        "MB/s",
        ours=values[dialect],
        official={OFFICIAL: values[OFFICIAL]} if OFFICIAL in values else {},
        limits={RELAY: values[RELAY]},
        missing=lacking,
        curve=f"bytes, {dialect}",
        at=size,
    )


def run(options: argparse.Namespace) -> list[Row]:
    """Measure and return the rows."""
    allow_many_files()
    numbers, sizes, deliveries = NUMBERS, SIZES, DELIVERIES
    if options.quick:
        numbers, sizes, deliveries = NUMBERS[1:2], SIZES[:1], 100
    rows = asyncio.run(by_recipients(numbers, options.rounds, deliveries))
    return rows + by_size(sizes, options.rounds)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--quick", action="store_true", help="few clients and sizes, to see that it works")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
