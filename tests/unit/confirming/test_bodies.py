"""The bodies on the wire, and claims in attributes."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.confirming.bodies import (
    Answer,
    AnswerKind,
    Confirmed,
    Hello,
    Identity,
    Numbered,
    Proof,
    Question,
    attribute_of,
    decode_body,
    encode_body,
    read_identity,
)
from meshsync.errors import ProtocolError

KEY, OTHER, INSTANCE = bytes(range(32)), bytes(32), "0" * 31 + "a"


@pytest.mark.parametrize(
    "body",
    [
        Hello(INSTANCE, KEY),
        Hello(INSTANCE, KEY, OTHER),
        Proof(KEY, OTHER, KEY, 3, 5),
        Proof(KEY, OTHER, KEY, 0, 0, OTHER),
        Numbered(7, 3, "chat", {"text": "hi"}, b"data"),
        Numbered(7, 3, "ask", {}, mark=Question(1)),
        Numbered(7, 3, "ask", {}, mark=Question(2**53 - 1, "reply", takes_messages=True, seconds=2.5)),
        Numbered(7, 3, "ask", {"n": 1}, b"data", mark=Answer(1)),
        Numbered(7, 3, "ask", {}, mark=Answer(1, AnswerKind.REFUSED, "no")),
        Numbered(7, 3, "ask", {}, mark=Answer(1, AnswerKind.FAILED, log_id="1f2e3d4c")),
        Numbered(7, 3, "ask", {}, mark=Answer(1, AnswerKind.LEFT, "closed")),
        Confirmed(3, 5),
        Confirmed(0, 0, is_asking=True),
    ],
)
def test_what_is_encoded_is_decoded(body: Any) -> None:
    """Each value survives its wire form."""
    attachment = body.attachment if isinstance(body, Numbered) else b""
    assert decode_body(*encode_body(body), attachment) == body


def test_wire_form_of_a_message() -> None:
    """The members are those of PROTOCOL.md."""
    body = Numbered(7, 3, "chat", {"text": "hi"})
    assert encode_body(body) == ("meshsync.message", {"n": 7, "base": 3, "type": "chat", "message": {"text": "hi"}})


def test_wire_form_of_questions_and_answers() -> None:
    """What is not said has no member."""
    for mark, member in [
        (Question(1), {"ask": {"id": 1}}),
        (Question(2, "reply", True, 5.0), {"ask": {"id": 2, "reply_type": "reply", "messages": True, "seconds": 5.0}}),
        (Answer(3), {"answer": {"id": 3}}),
        (Answer(4, AnswerKind.REFUSED, "no"), {"answer": {"id": 4, "outcome": "refused", "reason": "no"}}),
        (Answer(5, AnswerKind.FAILED, log_id="1f"), {"answer": {"id": 5, "outcome": "failed", "log": "1f"}}),
    ]:
        _, body = encode_body(Numbered(1, 1, "x", {}, mark=mark))
        assert body == {"n": 1, "base": 1, "type": "x", "message": {}, **member}


@pytest.mark.parametrize(
    ("member", "mark"),
    [
        ({"ask": 5}, None),
        ({"ask": {}}, None),
        ({"ask": {"id": 0}}, None),
        ({"ask": {"id": True}}, None),
        ({"ask": {"id": "1"}}, None),
        ({"ask": {"id": 2**53}}, None),
        ({"ask": {"id": 1, "reply_type": 5, "messages": 1, "seconds": "long"}}, Question(1)),
        ({"ask": {"id": 1, "seconds": -1}}, Question(1)),
        ({"ask": {"id": 1, "seconds": 10**400}}, Question(1)),
        ({"ask": {"id": 1, "seconds": True}}, Question(1)),
        ({"answer": []}, None),
        ({"answer": {"id": 1.0}}, None),
        ({"answer": {"id": 1, "outcome": "later"}}, Answer(1, AnswerKind.FAILED)),
        ({"answer": {"id": 1, "outcome": []}}, Answer(1, AnswerKind.FAILED)),
        ({"answer": {"id": 1, "outcome": "refused", "reason": {}}}, Answer(1, AnswerKind.REFUSED)),
    ],
)
def test_a_mark_of_nonsense_costs_the_message_nothing(member: dict[str, Any], mark: Any) -> None:
    """It has a number, and so has to count; at the worst it is no question."""
    decoded = decode_body("meshsync.message", {"n": 1, "base": 1, "type": "x", "message": {}, **member})
    assert decoded == Numbered(1, 1, "x", {}, mark=mark)


def test_unknown_type_is_of_a_later_version() -> None:
    """It is no error."""
    assert decode_body("meshsync.later", {"x": 1}) is None


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("meshsync.hello", {}),
        ("meshsync.hello", {"instance": "A" * 32, "nonce": KEY.hex()}),
        ("meshsync.hello", {"instance": INSTANCE, "nonce": KEY.hex()[1:]}),
        ("meshsync.hello", {"instance": INSTANCE, "nonce": KEY.hex(), "half": "no"}),
        ("meshsync.proof", {"nonce": KEY.hex(), "echo": KEY.hex(), "code": 3, "upto": 0, "arrived": 0}),
        ("meshsync.proof", {"nonce": KEY.hex(), "echo": KEY.hex(), "code": KEY.hex(), "upto": 2, "arrived": 1}),
        ("meshsync.message", {"n": 0, "base": 0, "type": "chat", "message": {}}),
        ("meshsync.message", {"n": 1, "base": 2, "type": "chat", "message": {}}),
        ("meshsync.message", {"n": 65, "base": 1, "type": "chat", "message": {}}),
        ("meshsync.message", {"n": True, "base": 1, "type": "chat", "message": {}}),
        ("meshsync.message", {"n": 2**53, "base": 2**53, "type": "chat", "message": {}}),
        ("meshsync.message", {"n": 1, "base": 1, "type": "chat", "message": []}),
        ("meshsync.confirmed", {"upto": -1, "arrived": 0}),
        ("meshsync.confirmed", {"upto": 1}),
    ],
)
def test_nonsense_is_refused(type: str, body: dict[str, Any]) -> None:
    """What lacks a member, has one of a wrong type or is out of range raises."""
    with pytest.raises(ProtocolError):
        decode_body(type, body)


def test_claim_is_read_with_its_name() -> None:
    """One instance under two names is two identities."""
    attributes = {"name": "ada", "meshsync": attribute_of(INSTANCE)}
    assert read_identity(attributes) == Identity(INSTANCE, "ada")
    assert read_identity(attributes | {"name": 5}) == Identity(INSTANCE, "")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        {},
        attribute_of("short"),
        attribute_of(INSTANCE) | {"v": 2},
        attribute_of(INSTANCE) | {"confirm": 0},
        attribute_of(INSTANCE) | {"instance": 7},
    ],
)
def test_claim_of_nonsense_is_none(value: object) -> None:
    """Who claims nonsense, or does not confirm, is like an official client."""
    assert read_identity({"name": "ada", "meshsync": value}) is None
