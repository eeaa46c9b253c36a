"""The bodies on the wire, and claims in attributes."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.confirming.bodies import (
    Confirmed,
    Hello,
    Identity,
    Numbered,
    Proof,
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
