"""Tokens and API keys."""

import json
import traceback
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import AuthenticationFailed, UsageError
from meshsync.tokens import ApiKey, Grant, MessagingRights, ParticipantToken, join_lines

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.json"))
SECRET = "a secret that is long enough for HMAC with SHA-256"
KEY_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROJECT_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_tokens_of_real_clients_are_read(path):
    """Every token that a real client presented says what its recorded claims say."""
    recorded = json.loads(path.read_text())
    for handshake in recorded["handshakes"]:
        text = handshake["query"].get("token") or handshake["headers"]["Authorization"].removeprefix("Bearer ")
        claims = handshake["claims"]

        token = ParticipantToken.decode(text, recorded["secret"], now=0)

        assert (token.name, token.room, token.role) == (claims["name"], "demo", "user")
        assert (token.project_id, token.key_id) == (claims["sub"], claims["kid"])
        assert token.version == claims.get("version")
        assert [{"name": grant.name, "scope": grant.scope} for grant in token.grants] == claims["grants"]
        assert token.messaging == MessagingRights(send=True, broadcast=True, list=True)
        assert ParticipantToken.decode(token.encode(SECRET), SECRET, now=0) == token


@given(
    room=st.text(),
    name=st.text(),
    role=st.text(min_size=1),
    ids=st.tuples(*[st.none() | st.text()] * 3),
    expires=st.none() | st.integers(1, 2**40),
    rights=st.builds(MessagingRights, st.booleans(), st.booleans(), st.booleans()),
)
def test_token_survives_encoding(room, name, role, ids, expires, rights):
    """What is written is what is read."""
    project_id, key_id, version = ids
    token = ParticipantToken.for_room(
        room, name, role=role, project_id=project_id, key_id=key_id, version=version, expires=expires, messaging=rights
    )

    again = ParticipantToken.decode(token.encode(SECRET), SECRET, now=0)

    assert again == token
    assert (again.room, again.role, again.messaging) == (room, role, rights)


def test_token_of_a_user_reads_as_official_ones_do():
    """The claims are those of PROTOCOL.md, section 3, with defaults left out."""
    token = ParticipantToken.for_room(
        "lab", "ada", role="agent", project_id="p", key_id="k", version="0.29.4", expires=9
    )

    text = token.encode(SECRET)

    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.decode(text, options={"verify_signature": False}) == {
        "name": "ada",
        "grants": [
            {"name": "room", "scope": "lab"},
            {"name": "role", "scope": "agent"},
            {"name": "api", "scope": {"messaging": {}}},
        ],
        "sub": "p",
        "kid": "k",
        "version": "0.29.4",
        "exp": 9,
    }


@pytest.mark.parametrize(
    ("scope", "rights"),
    [
        (None, MessagingRights(False, False, False)),
        ({}, MessagingRights(False, False, False)),
        ({"queues": {}}, MessagingRights(False, False, False)),
        ({"messaging": None}, MessagingRights(False, False, False)),
        ({"messaging": {}}, MessagingRights(True, True, True)),
        ({"messaging": {"broadcast": False}}, MessagingRights(send=True, broadcast=False, list=True)),
        ({"messaging": {"send": False, "list": True}}, MessagingRights(send=False, broadcast=True, list=True)),
        ({"messaging": {"list": None}}, MessagingRights(True, True, True)),
        ({"messaging": {"send": 0, "broadcast": 1, "list": 0.0}}, MessagingRights(False, True, False)),
        ({"messaging": {"send": "true", "broadcast": [], "list": 2}}, MessagingRights(False, False, False)),
    ],
)
def test_rights_that_are_left_out_are_granted_but_services_are_not(scope, rights):
    """Within messaging the default is true; without messaging in the ``api`` grant there is no access."""
    assert ParticipantToken("ada", (Grant("api", scope),)).messaging == rights


def test_token_without_api_grant_may_do_everything():
    """Tokens from before 0.6.0 have no such grant."""
    assert ParticipantToken("ada", (Grant("room", "lab"),)).messaging == MessagingRights(True, True, True)


@pytest.mark.parametrize(
    ("grants", "role"),
    [
        ((), "user"),
        ((Grant("role", "user"),), "user"),
        ((Grant("role", "user"), Grant("role", "tool")), "tool"),
        ((Grant("role", {}), Grant("role", "agent")), "agent"),
    ],
)
def test_role_is_the_first_that_is_not_user(grants, role):
    """Without a role grant, or with scope ``user``, the role is ``user``."""
    assert ParticipantToken("ada", grants).role == role


def test_unknown_claims_are_kept():
    """A token that is read and written again has lost nothing."""
    token = ParticipantToken("ada", extra={"aud": "x", "iat": 10**12, "jti": 5, "nested": {"a": [1]}})

    assert ParticipantToken.decode(token.encode(SECRET), SECRET, now=0) == token


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_times_are_finite(claim, value):
    """A token that expires at NaN would never expire."""
    token = jwt.encode({"name": "ada", "grants": [], claim: value}, SECRET, algorithm="HS256")

    with pytest.raises(AuthenticationFailed, match=f"'{claim}' is no number of seconds"):
        ParticipantToken.decode(token, SECRET, now=0)


@pytest.mark.parametrize(("now", "text"), [(99.9, None), (100, "expired"), (10**10, "expired"), (4, "not valid yet")])
def test_times_are_compared_with_the_clock_that_is_given(now, text):
    """The process's own clock, far beyond or before, plays no part."""
    encoded = ParticipantToken("ada", expires=100, extra={"nbf": 5}).encode(SECRET)
    if text is None:
        assert ParticipantToken.decode(encoded, SECRET, now=now).expires == 100
    else:
        with pytest.raises(AuthenticationFailed, match=text):
            ParticipantToken.decode(encoded, SECRET, now=now)


def test_wrong_secret_is_refused_without_showing_anything():
    """Neither token nor secret is in the error, its causes or its traceback."""
    encoded = ParticipantToken("ada").encode(SECRET)

    with pytest.raises(AuthenticationFailed, match="signature does not fit") as caught:
        ParticipantToken.decode(encoded, "another secret that is long enough too", now=0)

    shown = "".join(traceback.format_exception(None, caught.value, None))
    assert encoded[-20:] not in shown
    assert "another" not in shown
    assert not caught.value.retryable


def claims(**values):
    """Return a token with these claims, genuinely signed."""
    return jwt.encode({"name": "ada", **values}, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a JSON Web Token"),
        ("a.b.c", "not a JSON Web Token"),
        ("\udc00.\udc00.x", "not a JSON Web Token"),
        (jwt.encode({"name": "ada"}, None, algorithm="none"), "not signed with HS256"),
        (jwt.encode({"name": "ada"}, SECRET * 2, algorithm="HS512"), "not signed with HS256"),
        (claims(name=None), "does not name a participant"),
        (claims(name=5), "does not name a participant"),
        (claims(grants="room"), "'grants' is not a list"),
        (claims(grants=["room"]), "a grant without a name"),
        (claims(grants=[{"scope": "lab"}]), "a grant without a name"),
        (claims(exp="tomorrow"), "'exp' is no number"),
        (claims(exp=True), "'exp' is no number"),
        (claims(sub=5), "'sub' is not a text"),
        (claims(version=0.6), "'version' is not a text"),
    ],
)
def test_what_is_no_token_is_refused_with_a_reason(text, reason):
    """Each fault has its text, and the class is that of a failed sign-in."""
    with pytest.raises(AuthenticationFailed, match=reason):
        ParticipantToken.decode(text, SECRET, now=0)


@given(st.text(alphabet=st.characters(max_codepoint=127)) | st.text())
def test_any_text_is_refused_and_nothing_else_raised(text):
    """Whatever is presented, the answer is one class of error."""
    with pytest.raises(AuthenticationFailed):
        ParticipantToken.decode(text, SECRET, now=0)


def test_empty_secret_is_a_mistake_of_the_program():
    """Nothing is signed with nothing."""
    with pytest.raises(UsageError, match="the secret is empty"):
        ParticipantToken("ada").encode("")


def test_claim_that_is_not_json_is_a_mistake_of_the_program():
    """The claims of a program are blamed on the program."""
    with pytest.raises(UsageError, match="cannot sign a token"):
        ParticipantToken("ada", extra={"a": {1, 2}}).encode(SECRET)


def test_api_key_is_read_and_written():
    """A key as the official SDK 0.29.4 writes it; its secret may hold hyphens."""
    text = "ma-D4.tW9nLRp.hZXCGdyiVDg-fJ5meXQlQN6US.B_wfkK5w-s3cret-with-hyphens"

    key = ApiKey.parse(text)

    assert key == ApiKey(KEY_ID, PROJECT_ID, "s3cret-with-hyphens")
    assert str(key) == text
    assert "s3cret" not in repr(key)


@given(st.binary(min_size=16, max_size=16), st.text(min_size=1).filter(lambda text: join_lines(text) == text))
def test_api_key_survives_writing(id, secret):
    """What is written is what is read."""
    digits = id.hex()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    key = ApiKey(uuid, PROJECT_ID, secret)

    assert ApiKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begin with 'ma-'"),
        ("s3cret", "begin with 'ma-'"),
        ("ma-s3cret", "ma-KEYID-PROJECTID-SECRET"),
        ("ma-D4.tW9nLRp.hZXCGdyiVDg-fJ5meXQlQN6US.B_wfkK5w-", "ma-KEYID-PROJECTID-SECRET"),
        ("ma-D4.tW9nLRp.hZXCGdyiVD-fJ5meXQlQN6US.B_wfkK5w-s3cret", "the key id in it"),
        ("ma-D4.tW9nLRp.hZXCGdyiVDg-s3cret-s3cret", "the project id in it"),
        ("ma-!!!!-fJ5meXQlQN6US.B_wfkK5w-s3cret", "the key id in it"),
        ("ma-é-fJ5meXQlQN6US.B_wfkK5w-s3cret", "the key id in it"),
    ],
)
def test_what_is_no_api_key_is_refused_without_showing_it(text, reason):
    """The text says what is wrong, and the secret stays unseen."""
    with pytest.raises(UsageError, match=reason) as caught:
        ApiKey.parse(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    ["{0}{1}\n", "  {0}{1}\r\n", "{0}\n{1}", "{0}\r\n    {1}\n", "\ufeff{0}{1}"],
    ids=["end", "around", "within", "indented", "marked"],
)
def test_line_breaks_of_a_file_or_a_mail_are_no_part_of_a_credential(broken):
    """A key and a token that were broken into lines are read as the whole ones."""
    key = "ma-D4.tW9nLRp.hZXCGdyiVDg-fJ5meXQlQN6US.B_wfkK5w-s3cret"
    token = ParticipantToken.for_room("lab", "ada").encode(SECRET)

    assert ApiKey.parse(broken.format(key[:20], key[20:])) == ApiKey.parse(key)
    assert ParticipantToken.peek(broken.format(token[:20], token[20:])).name == "ada"


def test_secret_that_no_one_can_write_is_not_shown_in_part():
    """The error of encoding it would quote a letter and its place."""
    with pytest.raises(UsageError, match="the secret is not a text") as caught:
        ParticipantToken("ada").encode("s3cr\udc80et")
    assert "udc80" not in str(caught.value)


def test_api_key_of_ids_that_are_no_uuids_cannot_be_written():
    """Such a key would not be read by anyone."""
    with pytest.raises(UsageError, match="the key id is not a UUID"):
        str(ApiKey("key-1", PROJECT_ID, "s3cret"))
