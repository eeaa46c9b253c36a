"""Whole exchanges: first meetings, new participant ids, ghosts, impostors, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.confirming import proofs
from meshsync.confirming.bodies import Hello, Proof, attribute_of, encode_body
from meshsync.confirming.exchange import Direct
from meshsync.confirming.sender import SendState
from meshsync.errors import ProtocolError
from tests.support.confirming import Endpoint, Room


@pytest.fixture
def room() -> Room:
    """Return a room with two that have not met."""
    room = Room("ada", "ben")
    room.settle()
    return room


def ends(room: Room) -> tuple[Endpoint, Endpoint]:
    """Return both clients."""
    return room.ends["ada"], room.ends["ben"]


def meet(room: Room) -> None:
    """Let them have a secret."""
    send = room.submit(*ends(room), 0)
    room.settle()
    assert send is not None
    assert send.state is SendState.CONFIRMED


def types_to(end: Endpoint) -> list[str]:
    """Return the types of what is under way from a client."""
    return [direct.type for direct in end.up]


def test_clients_that_confirm_nothing_send_nothing(room: Room) -> None:
    """Seeing each other costs no message."""
    assert not any(end.up or end.proven for end in ends(room))


def test_first_message_follows_hello_and_proofs(room: Room) -> None:
    """It does not go out before its recipient has answered."""
    ada, ben = ends(room)
    room.submit(ada, ben, 7)
    assert types_to(ada) == ["meshsync.hello"]
    room.route(ada)
    room.receive(ben)
    assert types_to(ben) == ["meshsync.proof"]
    room.route(ben)
    room.receive(ada)
    assert types_to(ada) == ["meshsync.proof", "meshsync.message"]
    room.settle()
    assert room.numbers(ben) == [7]


def test_both_that_begin_at_once_have_one_secret(room: Room) -> None:
    """Challenges that cross are answered under the same secret."""
    ada, ben = ends(room)
    room.submit(ada, ben, 1)
    room.submit(ben, ada, 2)
    room.settle()
    assert (room.numbers(ben), room.numbers(ada)) == ([1], [2])
    room.drop(ada)
    room.join(ada)
    room.submit(ben, ada, 3)
    room.settle()
    assert room.numbers(ada) == [2, 3]


@pytest.mark.parametrize("steps", range(9))
@pytest.mark.parametrize("who", ["ada", "ben"])
def test_first_meeting_may_be_cut_anywhere(room: Room, steps: int, who: str) -> None:
    """Whichever message is lost with a connection, the next connection does it."""
    ada, ben = ends(room)
    send = room.submit(ada, ben, 7)
    for _ in range(steps):
        moving = next((end for end in (ada, ben) if end.up or end.down), None)
        if moving is not None:
            (room.route if moving.up else room.receive)(moving)
    room.drop(room.ends[who])
    room.join(room.ends[who])
    room.settle()
    room.place(ben)
    assert send is not None
    room.settle()
    assert send.state is SendState.CONFIRMED
    assert room.numbers(ben) == [7]


def test_new_id_replaces_a_ghost_at_once(room: Room) -> None:
    """What the ghost's connection still brings is no more that client's."""
    ada, ben = ends(room)
    meet(room)
    ghost = ada.id
    late = Direct(ben.id, "meshsync.message", {"n": 2, "base": 2, "type": "chat", "message": {"number": 9}})
    room.drop(ada, is_noticed=False)
    room.join(ada)
    room.settle()
    assert ben.proven[-1].participant_id == ada.id
    assert ben.proven[-1].replaced == ghost
    assert ben.exchange.find(ada.identity) == ada.id
    room.deliver(ghost, late)
    room.settle()
    assert room.numbers(ben) == [0]


def test_ghost_that_proves_itself_late_replaces_nobody(room: Room) -> None:
    """A claim that came before the proven one is done with."""
    ada, ben = ends(room)
    meet(room)
    room.drop(ada)
    room.join(ada)
    room.settle()
    room.drop(ada, is_noticed=False)
    ghost = next(id for id in room.members if id != ben.id)
    room.join(ada)
    room.settle()
    room.deliver(ghost, Direct(ben.id, *encode_body(Hello(ada.exchange.instance, bytes(32)))))
    room.settle()
    assert ben.exchange.find(ada.identity) == ada.id
    assert not ben.up


def test_restarted_program_inherits_nothing(room: Room) -> None:
    """It is another instance: what waits for the one of before stays there."""
    ada, ben = ends(room)
    meet(room)
    room.drop(ben)
    room.settle()
    send = room.submit(ada, ben, 1)
    again = Endpoint("ben", "ben again")
    room.ends["ben"] = again
    room.join(again)
    room.settle()
    assert send is not None
    assert send.state is SendState.WAITING
    assert not again.placed


# --- impostors --------------------------------------------------------------------------------------------------------


def test_copied_claim_gets_challenges_alone(room: Room) -> None:
    """Who has not the secret gets no message, though the real one is away."""
    ada, ben = ends(room)
    meet(room)
    room.drop(ben)
    room.submit(ada, ben, 1)
    room.enter("eve", ben.attributes)
    room.receive(ada)
    room.receive(ada)
    room.wait(200)
    assert {direct.type for direct in ada.up if direct.to == "eve"} == {"meshsync.hello"}
    assert all("half" not in direct.message for direct in ada.up)


def test_copied_instance_under_another_name_is_another_one(room: Room) -> None:
    """Even before a first exchange, what is for Ben does not go to one whom the room calls otherwise."""
    ada, ben = ends(room)
    room.drop(ben)
    room.enter("eve", ben.attributes | {"name": "eve"})
    room.settle()
    room.submit(ada, ben, 1)
    room.deliver("eve", Direct(ada.id, *encode_body(Hello(ben.exchange.instance, bytes(32), bytes(32)))))
    room.receive(ada)
    assert types_to(ada) == ["meshsync.proof"]
    assert ada.exchange.find(ben.identity) is None


def test_answers_handed_on_prove_nothing(room: Room) -> None:
    """Eve stands between the two, claims each one's instance to the other, and hands on what she gets."""
    ada, ben = ends(room)
    meet(room)
    room.enter("eve-a", ada.attributes)
    room.enter("eve-b", ben.attributes)
    room.settle()
    got: list[Any] = []
    for _ in range(4):
        for end, eve, other, other_eve in ((ada, "eve-b", ben, "eve-a"), (ben, "eve-a", ada, "eve-b")):
            end.exchange.want(room.now, other.identity)
            room.deliver(eve, Direct(end.id, *encode_body(Hello(other.exchange.instance, bytes(32)))))
            room.receive(end)
            for direct in [direct for direct in end.up if direct.to == eve]:
                got.append(direct.type)
                room.deliver(other_eve, Direct(other.id, direct.type, direct.message))
            end.up.clear()
            while other.down:
                room.receive(other)
    assert "meshsync.proof" in got
    assert ada.exchange.find(ben.identity) == ben.id
    assert ben.exchange.find(ada.identity) == ada.id


def test_who_was_too_late_at_the_first_exchange_stays_out(room: Room) -> None:
    """Of two that make one claim the first to answer has it; a secret begun with the other is worth nothing then."""
    ada, ben = ends(room)
    eve = Endpoint("ben", "eve")
    eve.exchange.instance = eve.exchange._proofs._instance = ben.exchange.instance
    room.ends["eve"] = eve
    room.join(eve)
    room.settle()
    eve.exchange.want(room.now, ada.identity)
    room.collect(eve)
    room.route(eve)
    room.receive(ada)
    room.route(ada)
    meet(room)
    assert ada.exchange.find(ben.identity) == ben.id
    room.submit(ada, ben, 1)
    room.settle()
    assert (room.numbers(ben), room.numbers(eve)) == ([0, 1], [])
    assert ada.exchange.find(ben.identity) == ben.id


def test_answer_sent_back_proves_nothing(room: Room) -> None:
    """A code of one direction is none of the other."""
    ada, ben = ends(room)
    meet(room)
    room.drop(ben)
    room.settle()
    room.enter("eve", ben.attributes)
    room.settle_down(ada)
    (hello,) = [direct for direct in ada.up if direct.to == "eve"]
    ada.up.clear()
    nonce = bytes.fromhex(hello.message["nonce"])
    room.deliver("eve", Direct(ada.id, *encode_body(Hello(ben.exchange.instance, nonce))))
    room.receive(ada)
    (answer,) = ada.up
    room.deliver("eve", Direct(ada.id, answer.type, answer.message))
    room.receive(ada)
    assert ada.exchange.find(ben.identity) is None


def test_nobody_else_is_this_client(room: Room) -> None:
    """A copy of our own instance makes no claim here."""
    ada, _ = ends(room)
    room.enter("eve", ada.attributes)
    room.settle_down(ada)
    assert ada.exchange.identity_of("eve") is None


def test_first_claim_of_a_participant_stays(room: Room) -> None:
    """One that changes its attributes becomes nobody else."""
    ada, ben = ends(room)
    ada.exchange.enter(0.0, ben.id, {"name": "ben", "meshsync": attribute_of("e" * 32)})
    assert ada.exchange.identity_of(ben.id) == ben.identity


def test_message_of_a_stranger_is_dropped(room: Room) -> None:
    """Neither a claim nor none makes it come; a report confirms nothing."""
    ada, ben = ends(room)
    send = room.submit(ada, ben, 1)
    for sender in (ben.id, "nobody"):
        for type, body in (
            ("meshsync.message", {"n": 1, "base": 1, "type": "chat", "message": {}}),
            ("meshsync.confirmed", {"upto": 1, "arrived": 1}),
        ):
            ada.exchange.take(0.0, sender, type, body, b"")
    assert ada.exchange.first is None
    assert send is not None
    assert send.state is SendState.WAITING


def test_strangers_are_remembered_up_to_a_bound(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 3, the oldest that are gone are forgotten, and not one for whom a message waits."""
    monkeypatch.setattr(proofs, "KNOWN", 3)
    ada, ben = ends(room)
    meet(room)
    room.drop(ben)
    room.settle()
    room.submit(ada, ben, 1)
    for number in range(20):
        instance = f"{number:032x}"
        ada.exchange.enter(
            0.0, f"e-{number}", {"name": "eve", "meshsync": {"v": 1, "confirm": 1, "instance": instance}}
        )
        ada.exchange.take(0.0, f"e-{number}", *encode_body(Hello(instance, bytes(32), bytes(32))), b"")
        ada.exchange.leave(f"e-{number}")
    room.collect(ada)
    assert len(ada.exchange._proofs._known) == 3
    room.join(ben)
    room.settle()
    assert room.numbers(ben) == [0, 1]


# --- what the room refuses --------------------------------------------------------------------------------------------


def test_challenge_is_repeated_ever_less_often(room: Room) -> None:
    """After 5, 10, 20, 40, 60 and 60 seconds, as long as somebody waits."""
    ada, ben = ends(room)
    send = room.submit(ada, ben, 1)
    for seconds in (5, 10, 20, 40, 60, 60):
        ada.up.clear()
        room.wait(seconds - 1)
        assert not ada.up
        room.wait(1)
        assert types_to(ada) == ["meshsync.hello"]
    assert send is not None
    ada.exchange.give_up(send)
    ada.up.clear()
    room.wait(60)
    assert not ada.up
    assert ada.exchange.deadline is None


def test_refused_proof_is_asked_for_and_the_rest_sent_again(room: Room) -> None:
    """Messages that overtook their sender's proof are not lost."""
    ada, ben = ends(room)
    send = room.submit(ada, ben, 7)
    room.route(ada)
    room.receive(ben)
    room.route(ben)
    room.receive(ada)
    room.route(ada, is_refused=True)
    room.settle()
    assert send is not None
    assert send.state is SendState.CONFIRMED
    assert room.numbers(ben) == [7]


def test_participant_called_gone_by_mistake_proves_itself_again(room: Room) -> None:
    """The room's error may be one of another kind: after five seconds all goes on, each once."""
    ada, ben = ends(room)
    meet(room)
    sends = [room.submit(ada, ben, number) for number in (1, 2)]
    room.route(ada)
    ada.up.clear()
    ada.exchange.lose(room.now, ben.id)
    room.settle()
    assert room.numbers(ben) == [0, 1]
    room.wait(5)
    room.settle()
    assert room.numbers(ben) == [0, 1, 2]
    assert all(send is not None and send.state is SendState.CONFIRMED for send in sends)


def test_nonsense_raises_and_changes_nothing(room: Room) -> None:
    """A body without its members is the sender's fault."""
    ada, ben = ends(room)
    meet(room)
    with pytest.raises(ProtocolError):
        ben.exchange.take(0.0, ada.id, "meshsync.message", {"n": "x"}, b"")
    room.submit(ada, ben, 1)
    room.settle()
    assert room.numbers(ben) == [0, 1]


def test_forged_answer_is_ignored(room: Room) -> None:
    """A wrong code, and an answer to another nonce."""
    ada, ben = ends(room)
    room.submit(ada, ben, 1)
    nonce = bytes.fromhex(ada.up[0].message["nonce"])
    for echo in (nonce, bytes(32)):
        ada.exchange.take(0.0, ben.id, *encode_body(Proof(bytes(32), echo, bytes(32), 5, 5, bytes(32))), b"")
    assert ada.exchange.find(ben.identity) is None
