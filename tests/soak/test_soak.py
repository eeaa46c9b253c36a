"""Minutes on real sockets through proxies that stall, reset, half-open and dribble; and a thousand seeds of chaos.

Left out unless asked for: ``tox -e soak``, or ``pytest -m soak tests/soak``. ``MESHSYNC_SOAK_MINUTES`` (10) is how long
the sockets are tried, ``MESHSYNC_SOAK_SEEDS`` (1000) how many seeds, half of either with clients that come back after a
loss. ``MESHSYNC_SOAK_SEED`` (1) is what the faults on the sockets are drawn from. They come at the same instants in
every run, what they meet does not.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

import meshsync
from meshsync import RoomClient
from meshsync.protocol.dialects import dialect
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Endpoint
from meshsync.world import REAL_WORLD
from simulator import Emulator
from simulator.emulator.emulator import Limits
from tests.support import chaos, confirmed_room
from tests.support.agents import RECONNECTING, Agent, Habits, numbers
from tests.support.ledger import Ledger
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

MINUTES = float(os.environ.get("MESHSYNC_SOAK_MINUTES", "10"))
SEEDS = int(os.environ.get("MESHSYNC_SOAK_SEEDS", "1000"))
SEED = int(os.environ.get("MESHSYNC_SOAK_SEED", "1"))

HEARTBEAT = 4.0
"""Seconds of silence before a ping, at both ends; half as long again without an answer ends a connection."""

SETTLING = 75.0
"""Seconds after the last fault: for the heartbeats of both ends, for an attempt of 30 seconds that began before, for a
delay of 30 seconds after that, and to spare."""

LARGEST_GROWTH = 64 * 1024 * 1024
"""Bytes by which the process may grow between the first quarter of a run and its end."""


@pytest.mark.parametrize("block", range(0, SEEDS, 50))
def test_a_thousand_seeds(block: int) -> None:
    """The simulation under random faults, fifty seeds at a time, every other one with clients that come back."""
    for seed in range(block, min(block + 50, SEEDS)):
        chaos.run(seed, RECONNECTING if seed % 2 else Habits())


@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_seeds_of_confirmed_messages(seed: int) -> None:
    """Ten thousand each, under resets and two restarts: handled once and in order."""
    report = confirmed_room.run(seed)
    assert report.failures == []
    assert sum(map(len, report.handled.values())) == 10_000
    assert report.handled == report.sent


@pytest.mark.parametrize("habits", [Habits(), RECONNECTING], ids=["ends", "reconnects"])
def test_agents_on_real_sockets(habits: Habits) -> None:
    """Whatever the network does, messages and streams are accounted for, rosters converge, nothing is left or grows."""
    threads, files = threading.active_count(), _open_files()
    chance, ledger, all_numbers = Random(SEED), Ledger(), numbers()
    end = meshsync.monotonic() + 30 * MINUTES
    with Emulator(limits=Limits(heartbeat=HEARTBEAT)) as emulator:
        proxies = [TcpProxy(emulator.port).__enter__() for _ in range(5)]
        try:
            agents = []
            for index, proxy in enumerate(proxies):
                connect = partial(_connect, emulator, proxy)
                own = replace(habits, options={"dialect": ("A3", "B3")[index % 2], "default_timeout": 10})
                drawn = Random(f"{SEED}/{index}")
                agents.append(Agent(f"agent-{index}", ledger, connect, all_numbers, drawn, end, own))
            tasks = [meshsync.spawn(agent.run) for agent in agents]
            sizes = []
            while meshsync.monotonic() < end:
                _strike(proxies, chance)
                sizes.append(_resident_size())
            for proxy in proxies:
                proxy.clear()
            meshsync.sleep(SETTLING)
            found = list(chaos.unsettled([agent.client for agent in agents], refusals=False))
            for agent in agents:
                agent.is_stopped = True
            ended = [task.join(60) for task in tasks]
        finally:
            for proxy in proxies:
                proxy.__exit__(None, None, None)
    found += ledger.violations()
    clients, returns = (sum(getattr(agent, what) for agent in agents) for what in ("clients", "returns"))
    received = sum(map(len, ledger.received.values()))
    print(
        f"{len(ledger.notes)} messages, {received} received, {len(ledger.streams)} streams, "
        f"{clients} clients, which came back {returns} times"
    )
    assert all(ended), "a program does not end"
    assert not found, "\n".join([f"seed {SEED}:", *found[:30], f"{len(found)} in all"])
    assert received > 50 * MINUTES
    assert sizes[-1] - sizes[len(sizes) // 4] < LARGEST_GROWTH
    _wait_until_no_more_than(threads, files)


def _connect(emulator: Emulator, proxy: TcpProxy, name: str, **options: Any) -> RoomClient:
    spoken = dialect(options["dialect"])
    endpoint = Endpoint(
        url=f"ws://127.0.0.1:{proxy.port}/rooms/soak",
        token=lambda: emulator.token("soak", name, role="agent"),
        token_in=spoken.token_in,
        version=spoken.version,
    )
    connector = WebSocketConnector(
        endpoint, REAL_WORLD.runtime, heartbeat_interval=HEARTBEAT, heartbeat_timeout=HEARTBEAT / 2
    )
    return meshsync.connect("soak", name=name, role="agent", timeout=10, connector=connector, **options)


def _strike(proxies: list[TcpProxy], chance: Random) -> None:
    """Treat one connection badly for a while."""
    proxy = proxies[int(chance.random() * len(proxies))]
    lasts = 0.2 + chance.random() ** 2 * 12
    match int(chance.random() * 8):
        case 0:
            proxy.stall()
        case 1:
            proxy.reset()
        case 2:
            proxy.half_open()
        case 3:
            proxy.dribble(1 + int(chance.random() * 200), 0.005)
        case 4:
            proxy.delay(chance.random())
        case 5:
            proxy.limit(2_000 + chance.random() * 200_000)
        case 6:
            proxy.refuse()
            proxy.reset()
        case 7:
            proxy.stall("down" if chance.random() < 0.5 else "up")
    time.sleep(lasts)
    if chance.random() < 0.8:  # Else it goes on, beside what comes next.
        proxy.clear()


def _resident_size() -> int:
    """Return this process's memory in bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _open_files() -> int:
    """Return how many files this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _wait_until_no_more_than(threads: int, files: int) -> None:
    for _ in range(100):
        if threading.active_count() <= threads and _open_files() <= files:
            return
        time.sleep(0.1)
    names = [thread.name for thread in threading.enumerate()]
    raise AssertionError(f"{len(names)} threads, were {threads}: {names}; {_open_files()} files, were {files}")
