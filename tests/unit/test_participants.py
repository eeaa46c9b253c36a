"""Participants as objects: what they say of themselves, and what a change leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshsync.errors import NotSent
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE


def make(attributes: Mapping[str, Any]) -> RemoteParticipant:
    """Return a participant with those attributes."""
    return RemoteParticipant("p-2", "agent", attributes)


def test_name_is_an_attribute() -> None:
    """The name is the attribute of that name; without one, or with one that is no text, it is empty."""
    assert make({"name": "bob"}).name == "bob"
    assert make({}).name == ""
    assert make({"name": 7}).name == ""


def test_missing_attribute_gives_the_default() -> None:
    """An attribute that is None is there, one that is missing is not."""
    bob = make({"mood": None})
    assert bob.get_attribute("mood", "x") is None
    assert bob.get_attribute("hat") is None
    assert bob.get_attribute("hat", "x") == "x"


def test_repr_shows_who_it_is() -> None:
    """Name, role and id are what one looks for in a log."""
    assert repr(make({"name": "bob"})) == "<RemoteParticipant 'bob' agent p-2>"


def test_attributes_cannot_be_changed_by_the_program() -> None:
    """The snapshot is read-only, and not the dict it was made from."""
    given = {"name": "bob"}
    bob = make(given)
    given["name"] = "eve"
    with pytest.raises(TypeError):
        bob.attributes["name"] = "eve"  # type: ignore[index]
    assert bob.name == "bob"


def test_snapshot_of_attributes_never_changes() -> None:
    """What was read before a change stays as it was."""
    bob = make({"mood": "calm"})
    before = bob.attributes
    bob._has_attributes({"mood": "cross"})
    assert (before["mood"], bob.attributes["mood"]) == ("calm", "cross")


def test_participant_goes_offline_for_good() -> None:
    """Online from the start, offline after leaving."""
    bob = make({})
    assert bob.online
    bob._went_offline()
    assert not bob.online


def test_attribute_is_sent_and_then_set() -> None:
    """Setting sends just that attribute; the old snapshot stays as it was."""
    sent: list[Mapping[str, Any]] = []
    me = LocalParticipant("p-1", "user", {"name": "me"}, sent.append)
    before = me.attributes
    me.set_attribute("mood", "calm")
    assert sent == [{"mood": "calm"}]
    assert dict(me.attributes) == {"name": "me", "mood": "calm"}
    assert me.get_attribute("mood") == "calm"
    assert dict(before) == {"name": "me"}


def test_new_name_is_seen_at_once() -> None:
    """The own name is an attribute like others."""
    me = LocalParticipant("p-1", "user", {"name": "me"}, lambda attributes: None)
    me.set_attribute("name", "you")
    assert me.name == "you"
    assert repr(me) == "<LocalParticipant 'you' user p-1>"


def test_attribute_that_could_not_be_sent_is_not_set() -> None:
    """A failure to send leaves the own copy alone."""

    def refuse(attributes: Mapping[str, Any]) -> None:
        raise NotSent("gone")

    me = LocalParticipant("p-1", "user", {"mood": "calm"}, refuse)
    with pytest.raises(NotSent):
        me.set_attribute("mood", "cross")
    assert me.get_attribute("mood") == "calm"


def test_attributes_set_by_many_tasks_are_all_there() -> None:
    """8 tasks that set 100 attributes each lose none."""
    # 8 x 100 = 800 attributes, and the name.
    runtime = ThreadRuntime()
    me = LocalParticipant("p-1", "user", {"name": "me"}, lambda attributes: None)

    def program(task: int) -> None:
        for number in range(100):
            me.set_attribute(f"{task}.{number}", number)

    tasks = [runtime.spawn(lambda task=task: program(task), name="sets") for task in range(8)]  # type: ignore[misc]
    assert all(task.join(PATIENCE) for task in tasks)
    assert len(me.attributes) == 801


def test_sets_of_participants_have_one_order_in_every_process() -> None:
    """Their hash is made of the id alone; two of one id are two all the same."""
    one, other = (RemoteParticipant("p-1", "user", {}) for _ in range(2))
    assert hash(one) == hash(other) == 3661949847
    assert one != other
    assert len({one, other}) == 2
