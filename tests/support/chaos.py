"""Random faults: from a seed four to six agents, and faults of every kind until `quiet`; then what must hold.

``program`` and ``plan`` fit ``simulator.explore`` and ``simulator.check``, which make a failure small::

    explore(chaos.program, range(1000), plan=chaos.plan, latency=chaos.LATENCY)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import meshsync
from meshsync import RoomClient
from simulator import Simulation, faults, latency
from simulator.faults.fault import Fault, LastingFault
from simulator.faults.kinds.pushes import MALFORMATIONS
from simulator.faults.plans import Planned
from simulator.room.rules import RoomStats
from tests.support.agents import RECONNECTING, Agent, Habits, numbers
from tests.support.ledger import Ledger

__all__ = ["FAULTS", "LATENCY", "plan", "program", "run"]

NAMES = ("ada", "ben", "cyd", "dan", "eve", "fay")
BEGIN, QUIET, SETTLED = 3.0, 40.0, 150.0
"""Seconds since the start: the first fault, the end of all, and when everything has to have arrived. A connection that
is half open, or whose end was lost, is noticed by a heartbeat of 45 seconds. Its streams are waited for 60 more, where
the program that comes back is another client; an attempt that began before the end of all may take 30 seconds, and the
delay after it 30 more."""
LATENCY = latency.lognormal(0.03, 0.5)

# --- plans ------------------------------------------------------------------------------------------------------------


def _who(chance: Random) -> str:
    return NAMES[int(chance.random() * 4)]  # Those that every run has.


def _choose(choices: Any, chance: Random) -> Any:
    return choices[int(chance.random() * len(choices))]


FAULTS: dict[str, Callable[[Random], Fault]] = {
    "block": lambda c: faults.block(_who(c), _who(c), loses=False),
    "delay_accept": lambda c: faults.delay_accept(_who(c), latency.exponential(1)),
    "delay_connect": lambda c: faults.delay_connect(_who(c), latency.uniform(0.1, 3)),
    "drop": lambda c: faults.drop(_who(c)),
    "error_replies": lambda c: faults.error_replies(_who(c), 1008, rate=0.3),
    "half_open": lambda c: faults.half_open(_who(c)),
    "join": lambda c: faults.join(f"passer-by-{int(c.random() * 3)}"),
    "late_replies": lambda c: faults.late_replies(_who(c), c.random() * 9),
    "latency": lambda c: faults.latency(
        latency.exponential(0.5), _who(c), direction=_choose(("both", "up", "down"), c)
    ),
    "leave": lambda c: faults.leave(_who(c)),
    "malformed_push": lambda c: faults.malformed_push(_who(c), _choose(tuple(MALFORMATIONS), c)),
    "oversized_push": lambda c: faults.oversized_push(_who(c), _choose((100_000, 5_000_000, 17_000_000), c)),
    "partition": lambda c: faults.partition({_who(c), _who(c)}),
    "pause": lambda c: faults.pause(_who(c), c.random() * 20),
    "refuse_connect": lambda c: faults.refuse_connect(_who(c)),
    "reject_streams": lambda c: faults.reject_streams(_who(c), "busy", rate=0.5),
    "reset": lambda c: faults.reset(_who(c)),
    "restart": lambda c: faults.restart(down=c.random() * 4, forgets=c.random() < 0.5),
    "throttle": lambda c: faults.throttle(_who(c), 500 + c.random() * 20_000),
}
"""Makes a fault of each kind, by its word."""

LOSSES = ("half_open", "reset", "reset", "restart")
"""Kinds after which a client comes back."""


def plan(chance: Random, losses: int = 0) -> list[Planned]:
    """Draw a plan: four to ten faults of all kinds, ``losses`` more that end connections, and the end of all."""
    words = [_choose(sorted(FAULTS), chance) for _ in range(4 + int(chance.random() * 7))]
    kinds = [FAULTS[word] for word in (*words, *(_choose(LOSSES, chance) for _ in range(losses)))]
    return [*(_planned(kind(chance), chance) for kind in kinds), faults.quiet(after=QUIET)]


def _planned(fault: Fault, chance: Random) -> Planned:
    begin = BEGIN + chance.random() * (QUIET - BEGIN - 1)
    if isinstance(fault, LastingFault):
        return faults.during(begin, begin + 1 + chance.random() * 50, fault)
    drawn = chance.random()
    if drawn < 0.15:
        return faults.every(latency.exponential(15), fault)
    if drawn < 0.3:
        event = _choose(("message", "stream.open", "stream.accept", "stream.chunk", "enable"), chance)
        return faults.on(event, nth=5 + int(chance.random() * 30)).do(fault)
    return faults.at(begin, fault)


# --- runs -------------------------------------------------------------------------------------------------------------


def run(seed: int, habits: Habits) -> Ledger:
    """Run a program under the faults of a seed; return what happened.

    Raises:
        AssertionError: If something does not hold; the text begins with the seed.
    """
    threads = threading.active_count()
    chance = Random(seed)
    schedule = _choose(("fifo", "random", "pct"), chance)
    with Simulation(seed, latency=LATENCY, schedule=schedule) as simulation:
        simulation.plan(*plan(chance, losses=6 if habits.reconnects else 0))
        ledger, found = _observe(simulation, habits)
    found += ledger.violations()
    if threading.active_count() > threads:
        found.append(f"{threading.active_count() - threads} threads are left")
    assert not found, "\n".join([f"seed {seed}, {habits}:", *found[:20], f"{len(found)} in all"])
    return ledger


def program(simulation: Simulation, habits: Habits = RECONNECTING) -> None:
    """Take part, and check; the faults are planned by the caller."""
    ledger, found = _observe(simulation, habits)
    found += ledger.violations()
    assert not found, found


def _observe(simulation: Simulation, habits: Habits) -> tuple[Ledger, list[str]]:
    """Let agents talk until all is settled, stop them; return what they wrote, and what does not hold by then."""
    room = simulation.room("chaos")
    ledger, all_numbers = Ledger(), numbers()
    chance = Random(f"chaos {simulation.seed}")
    agents = []
    for index, name in enumerate(NAMES[: 4 + int(chance.random() * 3)]):
        options = {"dialect": "AB"[index % 2], "default_timeout": 8, "role": "agent"}
        own = replace(habits, options=options)
        connect = partial(_connect, room.name)
        agents.append(Agent(name, ledger, connect, all_numbers, Random(f"chaos {simulation.seed} {name}"), QUIET, own))
    tasks = [simulation.spawn(agent.run, name=agent.name) for agent in agents]
    simulation.sleep(SETTLED)
    refusals = any(record.type == "error_replies" for record in room.transcript.faults())
    present = {member.id: member.name for member in room.rules._room.enabled}
    found = list(unsettled([agent.client for agent in agents], present, refusals=refusals))
    for agent in agents:
        agent.is_stopped = True
    for agent, task in zip(agents, tasks, strict=True):
        if not task.join(200):
            found.append(f"{agent.name} does not end")
    if room.rules._room.stats() != RoomStats(0, 0, 0):
        found.append(f"the room still has {room.rules._room.stats()}")
    return ledger, found


def _connect(room: str, name: str, **options: Any) -> RoomClient:
    return meshsync.connect(room, name=name, **options)


def unsettled(
    clients: Sequence[RoomClient | None], present: Mapping[str, str] | None = None, *, refusals: bool
) -> Iterator[str]:
    """Yield what does not hold when all faults are over and everything had time to arrive.

    Args:
        present: Who the room says takes part, as names by ids; None if nobody but the clients can.
        refusals: Whether the room refused requests at random. The message that ends a stream is sent once, and where
            the room refuses it, the peer learns of the end when its participant leaves.
    """
    here = [client for client in clients if client is not None and client.is_connected]
    if len(here) < len(clients):
        yield f"{len(clients) - len(here)} have not come back"
    own = {client.local_participant.id: client.local_participant for client in here}
    everyone = {id: one.name for id, one in own.items()} if present is None else dict(present)
    for id, one in own.items():
        if everyone.get(id) != one.name:
            yield f"{one.name} is {id}, which the room knows as {everyone.get(id)}"
    for client in here:
        id, others = client.local_participant.id, client.messaging.remote_participants
        seen, there = {other.id: other.name for other in others}, {**everyone}
        there.pop(id, None)
        if seen != there:
            yield f"{id} sees {sorted(seen.items())}, and there are {sorted(there.items())}"
        for other in others:
            if other.id in own and other.attributes != own[other.id].attributes:
                yield f"{id} knows {other.attributes} of {other.id}, which has {own[other.id].attributes}"
        stats = client.stats()
        if stats.pending or stats.bytes_buffered or stats.bytes_unacknowledged or stats.bytes_unread:
            yield f"{client!r} still has {stats}"
        streams = 0 if refusals else len(client._meshsync.streams.streams)
        if streams:
            yield f"{client!r} still has {streams} streams"
