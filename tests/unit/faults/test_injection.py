"""The injector decides when faults strike, with nothing above its floor: network, rooms and recorders are recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from meshsync.errors import UsageError
from simulator import faults
from simulator.engine.kernel import Kernel
from simulator.engine.seeds import Seeds
from simulator.faults.injection import FaultInjector
from simulator.faults.layers import ConnectionFault, NetworkFault


class RecordingNetwork:
    """A network that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.in_force: tuple[NetworkFault, ...] = ()
        self.regions: dict[str, list[str]] = {}

    def strike(self, fault: ConnectionFault | NetworkFault) -> int:
        self.told.append(("strike", fault))
        if isinstance(fault, NetworkFault):
            self.in_force += (fault,)
        return 1

    def restart(self, down: float, *, forgets: bool) -> int:
        self.told.append(("restart", (down, forgets)))
        return 1

    def lift(self, fault: NetworkFault) -> None:
        self.told.append(("lift", fault))
        self.in_force = tuple(one for one in self.in_force if one is not fault)

    def lift_all(self) -> None:
        self.told.append(("lift all", None))
        self.in_force = ()


class ScriptedParticipant:
    """A participant that is there, or comes back when asked."""

    def __init__(self, name: str, *, is_here: bool = True) -> None:
        self.name = name
        self.is_here = is_here

    def come_back(self) -> None:
        self.is_here = True


class RecordingRoom:
    """A room that knows some names, and keeps what is recorded in it."""

    def __init__(self, name: str, *names: str, participants: Sequence[ScriptedParticipant] = ()) -> None:
        self.name = name
        self.recorder = self
        self.participants = participants
        self.records: list[tuple[str, tuple[str, ...], str]] = []
        self._names = names

    def names(self) -> tuple[str, ...]:
        return self._names

    def struck(self, word: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        assert word in (detail.get("fault"), "quiet")
        self.records.append((word, tuple(names), outcome))


class Site:
    """An injector, and what stands around it."""

    def __init__(self, *rooms: RecordingRoom) -> None:
        self.kernel = Kernel()
        self.network = RecordingNetwork()
        self.rooms = rooms
        self.joined: list[tuple[str, str, str]] = []
        self.injector = FaultInjector(
            self.kernel, Seeds(7), self.network, lambda: rooms, lambda *newcomer: self.joined.append(newcomer)
        )

    def run(self) -> None:
        while (callback := self.kernel.take()) is not None:
            callback()


def test_each_layer_gets_its_faults() -> None:
    """Connections and links are the network's, requests the rooms', the rest strikes the simulation."""
    site = Site(RecordingRoom("demo", "bob"))
    reset, partition, errors = faults.reset("bob"), faults.partition({"bob"}), faults.error_replies("bob", 1)
    site.injector.add([reset, partition, errors, faults.restart(down=2, forgets=False), faults.join("zoe", "agent")])
    assert site.network.told == [("strike", reset), ("strike", partition), ("restart", (2, False))]
    assert site.injector.in_force == [errors]
    assert site.joined == [("demo", "zoe", "agent")]
    assert site.rooms[0].records == [
        ("reset", ("bob",), "struck"),
        ("partition", ("bob",), "began"),
        ("error_replies", ("bob",), "began"),
        ("restart", (), "struck"),
        ("join", (), "struck"),
    ]


def test_lasting_faults_end_in_time_and_with_quiet() -> None:
    """``during`` lifts what it put in force, in either layer; ``quiet`` lifts the rest."""
    site = Site(RecordingRoom("demo", "bob"))
    errors, partition, late = faults.error_replies("bob", 1), faults.partition({"bob"}), faults.late_replies("bob", 1)
    site.injector.add([faults.during(1, 2, errors), faults.during(1, 3, partition), late, faults.quiet(after=4)])
    site.run()
    assert site.network.told == [("strike", partition), ("lift", partition), ("lift all", None)]
    assert site.injector.in_force == []
    assert [(word, outcome) for word, _, outcome in site.rooms[0].records if outcome != "began"] == [
        ("error_replies", "ended"),
        ("partition", "ended"),
        ("quiet", "struck"),
        ("late_replies", "ended"),
    ]


def test_only_rooms_that_know_a_participant_record_its_faults() -> None:
    """A fault that names none is recorded in each."""
    site = Site(RecordingRoom("demo", "bob"), RecordingRoom("lab", "zoe"))
    site.injector.add([faults.reset("zoe"), faults.latency(1)])
    assert [[word for word, _, _ in room.records] for room in site.rooms] == [["latency"], ["reset", "latency"]]


def test_a_restart_brings_back_those_without_a_client() -> None:
    """Those who were there, when the server is up again; not those who had left before."""
    here, gone = ScriptedParticipant("here"), ScriptedParticipant("gone", is_here=False)
    site = Site(RecordingRoom("demo", participants=[here, gone]))
    site.injector.add([faults.restart(down=2)])
    here.is_here = False
    site.run()
    assert (here.is_here, gone.is_here, site.kernel.now) == (True, False, 2 * 10**9)


def test_joining_needs_a_room() -> None:
    """Without one the text says so; a participant that left comes back instead of another one being made."""
    with pytest.raises(UsageError, match="'zoe' cannot join: there is no room yet"):
        Site().injector.add([faults.join("zoe")])
    gone = ScriptedParticipant("zoe", is_here=False)
    site = Site(RecordingRoom("demo"), RecordingRoom("lab", "zoe", participants=[gone]))
    site.injector.add([faults.join("zoe"), faults.join("zoe")])
    assert (gone.is_here, site.joined) == (True, [("lab", "zoe", "user")])


class PatientSite(Site):
    """A site where participants of a plan may come later."""

    def __init__(self, *rooms: RecordingRoom) -> None:
        super().__init__(*rooms)
        self.unknown: list[tuple[str, str]] = []
        self.injector = FaultInjector(
            self.kernel,
            Seeds(7),
            self.network,
            lambda: rooms,
            lambda *newcomer: self.joined.append(newcomer),
            lambda fault, text: self.unknown.append((fault.word, text)),
        )


def test_where_participants_may_come_later_a_lasting_fault_of_a_plan_waits_for_them() -> None:
    """One that is over by itself strikes nobody; both are told. A bare one raises all the same."""
    site = PatientSite(RecordingRoom("demo", "bob"))
    errors, partition = faults.error_replies("zoe", 1), faults.partition({"zoe"})
    site.injector.add([faults.at(1, errors), faults.at(1, faults.reset("zoe")), faults.during(1, 2, partition)])
    site.run()
    assert site.injector.in_force == [errors]
    assert site.network.told == [("strike", partition), ("lift", partition)]
    assert [word for word, _ in site.unknown] == ["error_replies", "reset", "partition"]
    assert "'zoe', which no room knows; there are bob" in site.unknown[0][1]
    with pytest.raises(UsageError, match="reset is about 'zoe'"):
        site.injector.add([faults.reset("zoe")])


def test_times_count_from_where_a_plan_begins() -> None:
    """Of every entry that has times."""
    site = Site(RecordingRoom("demo", "bob"))
    when: list[int] = []
    site.network.strike = lambda fault: when.append(site.kernel.now) or 1  # type: ignore[method-assign,func-returns-value]
    partition = faults.partition({"bob"})
    plan = [faults.at(1, faults.reset("bob")), faults.during(2, 3, partition), faults.quiet(after=4)]
    site.injector.add(plan, 10 * 10**9)
    site.run()
    assert when == [11 * 10**9, 12 * 10**9]
    assert site.kernel.now == 14 * 10**9


def test_a_stopped_injector_does_nothing_more_and_records_nothing() -> None:
    """What is in force ends, what was planned does not come."""
    site = Site(RecordingRoom("demo", "bob"))
    site.injector.add(
        [faults.error_replies("bob", 1), faults.at(1, faults.reset("bob")), faults.on("join").do(faults.restart())]
    )
    records = list(site.rooms[0].records)
    site.injector.stop()
    site.injector.notice("join", sender="bob")
    site.run()
    assert (site.injector.in_force, site.network.told) == ([], [("lift all", None)])
    assert site.rooms[0].records == records


def test_a_crash_is_told_to_those_who_know_programs_and_recorded_by_them() -> None:
    """It is an event that another fault can follow, and refused at once where there are no programs."""
    site, crashed = Site(RecordingRoom("demo", "bob")), list[tuple[object, ...]]()
    site.injector._crash = lambda *given: crashed.append(given)
    follows = faults.on("fault", type="crash").do(faults.reset("bob"))
    site.injector.add([follows, faults.at(1, faults.crash("server", "machine", restart_after=2))])
    site.run()
    assert crashed == [("server", "machine", 2.0)]
    assert [word for word, _, _ in site.rooms[0].records] == ["reset"]
    with pytest.raises(UsageError, match=r"^crash: by a plan only programs in a simulation crash"):
        Site().injector.add([faults.error_replies("bob", 1), faults.every(1, faults.crash("server"))])
