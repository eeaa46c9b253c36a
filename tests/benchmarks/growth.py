"""How the cost of a message grows with the room, and with its size, beside bare servers; kept for the pictures.

    python -m tests.benchmarks.growth [--rounds 3] [--quick] [--save]

Rooms of 1 to 5,000 participants: what a delivery costs the server, when one client sends messages of 200 bytes to all.
Messages of 100 bytes to 4 MiB: megabytes a second from one client to one other, each send awaited, by our client and
the official one, and by bare sockets through a process that passes on. The file is what `tools/pictures.py` draws.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.limits import Relay
from tests.benchmarks.load import ROOM, SERVERS, Running, connect_all, fan_out
from tests.benchmarks.messages import OFFICIAL, PARTICIPANT
from tests.benchmarks.programs import EMULATOR, running
from tests.benchmarks.rows import Row, table
from tests.interop.releases import RELEASES, ROOT, python_of

FILE = Path(__file__).with_name("growth.json")
PARTICIPANTS = (1, 3, 10, 30, 100, 300, 1000, 5000)
"""Recipients of each message."""
SIZES = (100, 1000, 10_000, 65_536, 262_144, 1 << 20, 4 << 20)
"""Bytes of attachment."""
MEGABYTES = 24
"""How much of large messages is sent in one measurement."""
MOST = 1000
"""How many small ones."""


async def by_participants(numbers: tuple[int, ...], rounds: int) -> list[tuple[int, Row]]:
    """Measure rooms of several sizes beside bare picows."""
    rows = []
    for number in numbers:
        row = Row(f"room, to {number:,}: server's CPU", "us each", is_less_better=True, limit_is="bare picows")
        async with Running((ROOM, SERVERS[-1])) as targets:
            clients = {name: await connect_all(target, number + 1) for name, target in targets.items()}
            for turn in range(rounds):
                for name in list(targets) if turn % 2 == 0 else reversed(targets):
                    cost = (await fan_out(targets[name], clients[name]))["server CPU, us/delivery"]
                    (row.ours if name == ROOM else row.limit).append(cost)
        rows.append((number, row))
        print(table([row]), flush=True)
    return rows


def by_size(sizes: tuple[int, ...], rounds: int) -> Iterator[tuple[int, Row]]:
    """Measure messages of several sizes, ours and the official client's, each to one of its own kind."""
    with ExitStack() as stack:
        environ = stack.enter_context(running(shlex.split(EMULATOR), {})).read()["env"]
        pythons = {"meshsync": sys.executable, "official": str(python_of(RELEASES[OFFICIAL]))}
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
            row = Row(f"messages of {size:,} bytes", "MB/s", limit_is="bare sockets through a process")
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
                    row.limit.append(rate)
            print(table([row]), flush=True)
            yield size, row


def main() -> None:
    """Measure, print, and keep it if told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few clients and sizes, to see that it works")
    parser.add_argument("--save", action="store_true", help=f"write {FILE.name}, which the pictures are drawn from")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    numbers, sizes = (PARTICIPANTS[:3], SIZES[:3]) if options.quick else (PARTICIPANTS, SIZES)
    kept = {
        "participants": asyncio.run(by_participants(numbers, options.rounds)),
        "size": list(by_size(sizes, options.rounds)),
    }
    if options.save:
        text = {name: [[x, asdict(row)] for x, row in rows] for name, rows in kept.items()}
        FILE.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
