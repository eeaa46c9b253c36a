"""Who takes part, as objects: one per id, in order of arrival, and waiting for changes."""

from __future__ import annotations

import pytest

from meshsync.participants import ParticipantDirectory
from meshsync.protocol.roster import RosterEntry
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE
from tests.support.waiting import WatchedRuntime, await_waiters

RUNTIME = ThreadRuntime()
BOB = RosterEntry("p-2", "user", {"name": "bob"})
EVE = RosterEntry("p-3", "agent", {"name": "eve"})


@pytest.fixture
def presence() -> ParticipantDirectory:
    """Return a presence with nobody."""
    return ParticipantDirectory(RUNTIME)


def test_there_is_one_object_per_id_while_it_is_here(presence: ParticipantDirectory) -> None:
    """Entering again gives the same object, and is no change."""
    bob = presence.enter(BOB)
    changes = presence.changes
    assert presence.enter(BOB) is bob
    assert presence.get("p-2") is bob
    assert (presence.participants, presence.changes) == ((bob,), changes)


def test_who_comes_back_is_somebody_new(presence: ParticipantDirectory) -> None:
    """The object of one who left stays offline, also when the id returns."""
    before = presence.enter(BOB)
    assert presence.leave("p-2") is before
    after = presence.enter(BOB)
    assert after is not before
    assert (before.online, after.online) == (False, True)


def test_snapshot_is_in_order_of_arrival_and_never_changes(presence: ParticipantDirectory) -> None:
    """Each arrival and departure makes a new tuple."""
    eve, bob = presence.enter(EVE), presence.enter(BOB)
    before = presence.participants
    presence.leave("p-3")
    assert before == (eve, bob)
    assert presence.participants == (bob,)
    assert presence.get("p-3") is None


def test_earliest_of_equal_names_is_found(presence: ParticipantDirectory) -> None:
    """Names are not unique; the first to come is meant."""
    first = presence.enter(BOB)
    presence.enter(RosterEntry("p-9", "user", {"name": "bob"}))
    assert presence.by_name("bob") is first
    assert presence.by_name("nobody") is None


def test_change_gives_the_same_object_new_attributes(presence: ParticipantDirectory) -> None:
    """Attributes change in place of the participant, not of its snapshot."""
    bob = presence.enter(BOB)
    before = bob.attributes
    assert presence.change(RosterEntry("p-2", "user", {"name": "rob"})) is bob
    assert (before["name"], bob.name, presence.by_name("rob")) == ("bob", "rob", bob)


def test_end_is_the_end_of_taking_part(presence: ParticipantDirectory) -> None:
    """When the connection ends nobody takes part any more."""
    presence.set_enabled(True)
    presence.end()
    assert (presence.is_enabled, presence.has_ended) == (False, True)


@pytest.mark.parametrize("change", ["enter", "leave", "change", "enable", "end"])
def test_every_change_wakes_those_who_wait(change: str) -> None:
    """A task that waits for the next change is notified of each kind of it."""
    runtime = WatchedRuntime()
    presence = ParticipantDirectory(runtime)
    (condition,) = runtime.conditions
    presence.enter(BOB)
    seen = presence.changes
    outcomes: list[bool] = []
    waiting = runtime.spawn(
        lambda: outcomes.append(presence.wait(lambda: presence.changes != seen, None)), name="waits"
    )
    await_waiters(condition)
    {
        "enter": lambda: presence.enter(EVE),
        "leave": lambda: presence.leave("p-2"),
        "change": lambda: presence.change(BOB),
        "enable": lambda: presence.set_enabled(True),
        "end": presence.end,
    }[change]()
    assert waiting.join(PATIENCE)
    assert outcomes == [True]


def test_waiting_in_vain_ends_with_the_time_limit(presence: ParticipantDirectory) -> None:
    """What does not happen is False."""
    assert presence.wait(lambda: False, 0) is False
