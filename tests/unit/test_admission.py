"""Who is let in, without a socket."""

from __future__ import annotations

import pytest

from meshsync.errors import AuthenticationFailed, ConnectFailed, PermissionDenied, RoomNotFound
from meshsync.targets import ROOM_NAMES
from meshsync.tokens import Grant, MessagingRights, ParticipantToken
from simulator.admission import Admission, Credentials, admit, find_credentials
from simulator.room.rules import Rights

SECRET = "a secret that is long enough for HMAC with SHA-256"


def presented(token: ParticipantToken) -> Credentials:
    """Return a token as a client presents it."""
    return Credentials(token.encode(SECRET), is_in_url=True)


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ({}, {}, None),
        ({"Authorization": "Bearer h"}, {"token": "q"}, Credentials("h")),
        ({"Authorization": "bearer  h "}, {}, Credentials("h")),
        ({"Authorization": "Basic h"}, {"token": "q"}, Credentials("q", is_in_url=True)),
        ({"Authorization": "Bearer "}, {"token": ""}, None),
        ({"Sec-WebSocket-Protocol": "chat, meshagent-room.s"}, {}, Credentials("s", "meshagent-room.s")),
        ({"Sec-WebSocket-Protocol": "meshagent-room.s"}, {"token": "q"}, Credentials("q", is_in_url=True)),
        ({"Sec-WebSocket-Protocol": "chat"}, {}, None),
    ],
)
def test_first_token_of_header_query_and_subprotocol_counts(headers, query, found):
    """Each place is looked at in turn; other schemes and subprotocols are none."""
    assert find_credentials(headers, query) == found


def test_token_says_who_comes_in():
    """Name, role, rights and release are those of the token."""
    token = ParticipantToken.for_room(
        "lab", "ada", role="agent", version="0.29.4", messaging=MessagingRights(broadcast=False)
    )

    admission = admit("lab", presented(token), version=None, secret=SECRET, now=0)

    rights = Rights(send=True, broadcast=False, list=True)
    assert admission == Admission("ada", "agent", rights, None, "0.29.4")


def test_version_is_what_the_client_shows():
    """In the URL, or by where it has its token; the claim describes who made that, which is not always who connects."""
    token = ParticipantToken.for_room("lab", "ada", version="0.36.3").encode(SECRET)
    places = [Credentials(token, is_in_url=True), Credentials(token), Credentials(token, "meshagent-room.x")]

    admissions = [
        [admit("lab", place, version=v, secret=SECRET, now=0) for v in ("0.0.30", "", None)] for place in places
    ]

    assert [[admission.version for admission in row] for row in admissions] == [
        ["0.0.30", None, None],
        ["0.0.30", "0.43.0", "0.43.0"],
        ["0.0.30", "0.43.0", "0.43.0"],
    ]
    assert {admission.token_version for row in admissions for admission in row} == {"0.36.3"}


@pytest.mark.parametrize("room", ["lab", "Lab_2.x", "0", "x" * 63, "a--b"])
def test_names_in_use_are_names(room):
    """Letters, digits, dots, hyphens and underscores after the first."""
    assert admit(room, presented(ParticipantToken.for_room(room, "ada")), version=None, secret=SECRET, now=0)


@pytest.mark.parametrize("room", ["", "-lab", ".", "..", "a b", "a/b", "é", "x" * 64, "lab\n"])
def test_other_names_are_no_rooms(room):
    """Whatever the token says."""
    token = presented(ParticipantToken.for_room(room, "ada"))
    with pytest.raises(RoomNotFound) as caught:
        admit(room, token, version=None, secret=SECRET, now=0)
    assert caught.value.http_status == 404
    assert str(caught.value).endswith(f"cannot be the name of a room: {ROOM_NAMES}")


@pytest.mark.parametrize(
    ("credentials", "kind", "status"),
    [
        (None, AuthenticationFailed, 401),
        (Credentials("x.y.z"), AuthenticationFailed, 401),
        (presented(ParticipantToken.for_room("lab", "ada", expires=99)), AuthenticationFailed, 401),
        (presented(ParticipantToken.for_room("lab2", "ada")), PermissionDenied, 403),
        (presented(ParticipantToken("ada")), PermissionDenied, 403),
        (presented(ParticipantToken("ada", (Grant("room", {"lab": {}}),))), PermissionDenied, 403),
    ],
)
def test_refusals_have_a_class_and_a_status(credentials, kind, status):
    """The client's own classes, with the status to answer with."""
    with pytest.raises(ConnectFailed) as caught:
        admit("lab", credentials, version=None, secret=SECRET, now=100)
    assert type(caught.value) is kind
    assert caught.value.http_status == status


@pytest.mark.parametrize("what", ["name", "role"])
def test_name_and_role_have_a_length(what):
    """By status, before the WebSocket: 1 KiB of UTF-8 is let in, one byte more is not."""
    longest = {"name": "ada", "role": "agent", what: "é" * 512}
    admission = admit("lab", presented(ParticipantToken.for_room("lab", **longest)), version=None, secret=SECRET, now=0)
    assert (admission.name, admission.role) == (longest["name"], longest["role"])

    longer = longest | {what: "é" * 512 + "x"}
    with pytest.raises(PermissionDenied, match=f"the token's {what} has more than 1024 bytes") as caught:
        admit("lab", presented(ParticipantToken.for_room("lab", **longer)), version=None, secret=SECRET, now=0)
    assert caught.value.http_status == 403
