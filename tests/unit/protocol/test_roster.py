"""The roster: members by id, in order of arrival, and what each change returns."""

from __future__ import annotations

from meshsync.protocol.roster import Roster, RosterEntry

BOB = RosterEntry("p-2", "user", {"name": "bob"})
EVE = RosterEntry("p-3", "agent", {"name": "eve"})


def make(*members: RosterEntry) -> Roster:
    """Return a roster with those members."""
    roster = Roster()
    for member in members:
        roster.add(member)
    return roster


def test_new_member_is_returned_and_known_one_is_not() -> None:
    """Adding says whether it was new; who is there already stays as known."""
    roster = Roster()
    assert roster.add(BOB) is BOB
    assert roster.add(RosterEntry("p-2", "agent", {})) is None
    assert list(roster) == [BOB]


def test_members_come_in_order_of_arrival() -> None:
    """One who leaves and returns is the last."""
    roster = make(EVE, BOB)
    assert list(roster) == [EVE, BOB]
    roster.remove("p-3")
    roster.add(EVE)
    assert list(roster) == [BOB, EVE]
    assert len(roster) == 2


def test_removing_returns_who_it_was() -> None:
    """Removing an unknown participant changes nothing."""
    roster = make(BOB)
    assert roster.remove("p-9") is None
    assert roster.remove("p-2") is BOB
    assert roster.get("p-2") is None


def test_merged_attributes_make_a_new_member() -> None:
    """Values are merged into the known ones, and the old member stays as it was, in its place."""
    roster = make(BOB, EVE)
    merged = roster.merge("p-2", {"mood": "calm"})
    assert merged == RosterEntry("p-2", "user", {"name": "bob", "mood": "calm"})
    assert BOB.attributes == {"name": "bob"}
    assert list(roster) == [merged, EVE]


def test_attributes_of_somebody_unknown_are_ignored() -> None:
    """No participant comes into being by an attribute."""
    roster = Roster()
    assert roster.merge("p-9", {"mood": "calm"}) is None
    assert len(roster) == 0


def test_clearing_returns_everybody_in_order() -> None:
    """Afterwards no participant is there."""
    roster = make(EVE, BOB)
    assert roster.clear() == [EVE, BOB]
    assert (list(roster), roster.clear()) == ([], [])
