"""How the cost of a message grows with the room, and with its size, beside bare servers and sockets, for the pictures.

    python -m tests.benchmarks.growth [--rounds 3] [--quick]

Rooms of 1 to 5,000 recipients: what a delivery costs the server, when one client sends messages of 200 bytes to all.
Messages of 100 bytes up to the largest, which has 4 MiB as sent: megabytes a second from one client to one other, each
send awaited, by our client and the official one, and by bare sockets through a process that passes on.
`tools/pictures.py` draws the rows that are kept.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from contextlib import ExitStack

from tests.benchmarks.limits import Relay
from tests.benchmarks.load import (
    BARE,
    DELIVERIES,
    QUICK_DELIVERIES,
    ROOM,
    Running,
    allow_many_files,
    close_all,
    connect_all,
    fan_out,
    in_turn,
    missing,
)
from tests.benchmarks.messages import OFFICIAL, PARTICIPANT
from tests.benchmarks.programs import EMULATOR, official, running
from tests.benchmarks.rows import Row, table
from tests.interop.releases import ROOT

RECIPIENTS, BYTES = "recipients", "bytes"
"""The curves."""
NUMBERS = (1, 3, 10, 30, 100, 300, 1000, 5000)
"""Recipients of each message."""
SIZES = (100, 1000, 10_000, 65_536, 262_144, 1 << 20, 3_145_000)
"""Bytes of attachment; base64 makes the last ones 4 MiB, which is as much as a message may have."""
MEGABYTES = 24
"""How much of large messages is sent in one measurement."""
MOST = 1000
"""How many small ones."""


async def by_recipients(numbers: tuple[int, ...], rounds: int, deliveries: int) -> list[Row]:
    """Measure rooms of several sizes beside the bare server that is the limit of others, too."""
    rows, limit = [], f"bare {BARE[0]}"
    for number in numbers:
        row = Row(f"messages to {number:,}: server's CPU", "us each", is_less_better=True, curve=RECIPIENTS, at=number)
        row.missing = {name: why for name, why in missing().items() if name == f"limit: {limit}"}
        async with Running((ROOM, BARE[0])) as targets:
            clients = {name: await connect_all(target, number + 1) for name, target in targets.items()}
            for turn in range(rounds):
                for name in in_turn(targets, turn):
                    values = row.ours if name == ROOM else row.limits.setdefault(limit, [])
                    values.append((await fan_out(targets[name], clients[name], deliveries))["cpu"])
            await close_all(clients.values())
        rows.append(row)
    return rows


def by_size(sizes: tuple[int, ...], rounds: int) -> list[Row]:
    """Measure messages of several sizes, ours and the official client's, each to one of its own kind."""
    found, lacking = official(OFFICIAL)
    pythons = {"meshsync": sys.executable} | ({"official": found[OFFICIAL]} if found else {})
    rows = []
    with ExitStack() as stack:
        environ = stack.enter_context(running(shlex.split(EMULATOR), {})).read()["env"]
        pairs = {}
        for kind, python in pythons.items():
            path = {"PYTHONPATH": str(ROOT) if kind == "meshsync" else ""}
            pairs[kind] = [
                stack.enter_context(running([python, str(PARTICIPANT), kind, f"{kind} {side}"], {**environ, **path}))
                for side in ("receiver", "sender")
            ]
            for program in pairs[kind]:
                program.read()
        relay = Relay(stack)
        sent = dict.fromkeys(pairs, 0)
        for size in sizes:
            count = max(4, min(MOST, MEGABYTES * (1 << 20) // size))
            row = Row(f"messages of {size:,} bytes", "MB/s", missing=lacking, curve=BYTES, at=size)
            for turn in range(rounds + 1):  # The first warms up.
                for kind, (receiver, sender) in pairs.items():
                    sent[kind] += count
                    seconds = sender.ask(do="sequential", to=f"{kind} receiver", count=count, size=size)["seconds"]
                    receiver.ask(do="arrived", count=sent[kind])
                    if turn:
                        values = row.ours if kind == "meshsync" else row.official.setdefault(OFFICIAL, [])
                        values.append(count * size / (1 << 20) / seconds)
                rate = relay.stream(count, size)["rate"]
                if turn:
                    row.limits.setdefault("bare sockets through a process", []).append(rate)
            rows.append(row)
    return rows


def run(options: argparse.Namespace) -> list[Row]:
    """Measure and return the rows."""
    allow_many_files()
    numbers, sizes, deliveries = NUMBERS, SIZES, DELIVERIES
    if options.quick:
        numbers, sizes, deliveries = NUMBERS[1:2], SIZES[:1], QUICK_DELIVERIES
    rows = asyncio.run(by_recipients(numbers, options.rounds, deliveries))
    return rows + by_size(sizes, options.rounds)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--quick", action="store_true", help="few clients and sizes, to see that it works")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
