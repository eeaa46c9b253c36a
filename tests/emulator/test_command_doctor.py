"""``doctor``: it names the fault in broken set-ups, each a real one on real sockets, and says what to do."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from meshsync.tokens import MessagingRights, ParticipantToken
from simulator import Emulator
from tests.support.command import of_emulator, records, run
from tests.support.rooms import own_port
from tests.support.rooms import start as in_thread
from tests.support.scripted_server import ScriptedServer

SECRET = "a-secret-of-more-than-32-bytes-for-this-test"


def examine(*arguments: str, status: int, **environ: str) -> list[dict[str, Any]]:
    """Return what the doctor found, which ended with this status; nothing of a credential is in it."""
    result = run("doctor", "--timeout", "5", *arguments, environ=environ)
    assert (result.exit_code, result.stderr) == (status, ""), result.output
    for name in ("MESHAGENT_TOKEN", "MESHAGENT_API_KEY", "MESHAGENT_SECRET"):
        assert environ.get(name, "") == "" or environ[name] not in result.output
    found = records(result)
    assert all(set(line) == {"step", "outcome", "detail", "advice", "seconds", "facts"} for line in found)
    return found


def fault(found: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Return step, detail and advice of the one failure among findings."""
    ((step, detail, advice),) = [
        (line["step"], line["detail"], line["advice"]) for line in found if line["outcome"] == "failed"
    ]
    return step, detail, advice


def outcome(found: list[dict[str, Any]], step: str) -> str | None:
    """Return how a step ended, None if it was not made."""
    return next((line["outcome"] for line in found if line["step"] == step), None)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server that only obeys the test."""
    with ScriptedServer() as server:
        yield server


def token(room: str = "lab", secret: str = SECRET, **options: Any) -> str:
    """Return a participant token."""
    return ParticipantToken.for_room(room, "ada", **options).encode(secret)


def test_a_sound_set_up_passes_every_step(emulated: Emulator) -> None:
    """In order, with the time of each that takes any; what gives the credential is named, and not shown."""
    found = examine("lab", status=0, **of_emulator(emulated))
    steps = [line["step"] for line in found if line["step"] != "setting"]
    token_steps = ["token", "token expiry", "token room", "token rights"]
    assert steps == ["address", *token_steps, "lookup", "tcp", "http", "greeting", "enable"]
    assert {line["outcome"] for line in found} == {"ok"}
    timed = [line["step"] for line in found if line["seconds"] is not None]
    assert timed == ["lookup", "tcp", "http", "greeting", "enable"]
    used = {line["facts"]["name"]: line["facts"]["is_used"] for line in found if line["step"] == "setting"}
    assert used == {
        "--room": True,
        "MESHAGENT_API_URL": True,
        "MESHAGENT_API_KEY": True,
        "MESHAGENT_SECRET": False,
        "MESHAGENT_PROJECT_ID": True,
        "MESHAGENT_KEY_ID": True,
    }


def test_people_read_a_line_for_each_step_and_what_to_do(emulated: Emulator) -> None:
    """The outcome first; the advice below a failure, and at the end of a sound one a sentence."""
    result = run("doctor", "lab", "--text", environ=of_emulator(emulated))
    lines = result.stdout.splitlines()
    assert lines[-1] == "nothing is wrong"
    assert lines[-2].split()[:2] == ["ok", "enable"]
    broken = run("doctor", "lab", "--text", "--url", f"ws://127.0.0.1:{own_port()}", "--token", token())
    step, advice = broken.stdout.splitlines()[-2:]
    assert step.split()[:2] == ["FAILED", "tcp"]
    assert advice.strip().startswith("do:")


# --- what is configured -----------------------------------------------------------------------------------------------


def test_nothing_configured() -> None:
    """No room: there is no address either, status 2."""
    step, _, advice = fault(examine(status=2))
    assert (step, "MESHAGENT_ROOM" in advice) == ("address", True)


def test_no_credential(emulated: Emulator) -> None:
    """What was looked for is listed, and the network is examined all the same."""
    found = examine("lab", "--url", emulated.url, status=4)
    step, detail, advice = fault(found)
    assert (step, "MESHAGENT_API_KEY" in detail, "--emulator" in advice) == ("credential", True, True)
    assert [outcome(found, step) for step in ("lookup", "tcp", "http", "greeting")] == ["ok", "ok", "ok", None]


def test_an_address_that_is_none() -> None:
    """The variable is named; a password in it is not shown."""
    found = examine("lab", status=2, MESHAGENT_API_URL="ftp://me:hunter22@host/?token=abcdefgh")
    step, _, advice = fault(found)
    assert (step, advice) == ("address", "correct MESHAGENT_API_URL")
    assert not any(secret in json.dumps(found) for secret in ("hunter22", "abcdefgh"))


def test_a_token_and_a_key(emulated: Emulator) -> None:
    """The token wins, which is said; whether it was signed with the key's secret is said too."""
    both = of_emulator(emulated) | {"MESHAGENT_TOKEN": emulated.token("lab", "ada")}
    found = examine("lab", status=0, **both)
    assert outcome(found, "token signature") == "ok"
    (warning,) = [line for line in found if line["facts"].get("name") == "MESHAGENT_API_KEY"]
    assert (warning["outcome"], warning["facts"]["is_used"]) == ("warning", False)
    assert "not used: MESHAGENT_TOKEN comes first" in warning["detail"]
    foreign = examine("lab", status=4, **both | {"MESHAGENT_TOKEN": token()})
    assert outcome(foreign, "token signature") == "warning"
    assert fault(foreign)[0] == "http"


# --- the token --------------------------------------------------------------------------------------------------------


def test_a_token_that_is_none(emulated: Emulator) -> None:
    """Nothing of it is shown, and the network is examined all the same."""
    found = examine("lab", "--url", emulated.url, status=4, MESHAGENT_TOKEN="hush-this-is-no-token")
    step, detail, advice = fault(found)
    assert (step, detail) == ("credential", "what was presented is not a JSON Web Token")
    assert advice.startswith("MESHAGENT_TOKEN has to hold")
    assert outcome(found, "http") == "ok"


def test_an_expired_token(emulated: Emulator) -> None:
    """Since when, and what this machine's clock says; the service's own answer follows."""
    expired = emulated.token("lab", "ada", expires=time.time() - 7200)
    found = examine("lab", "--url", emulated.url, status=4, MESHAGENT_TOKEN=expired)
    failed = [line for line in found if line["outcome"] == "failed"]
    assert [line["step"] for line in failed] == ["token expiry", "http"]
    assert "expired 2 hours ago" in failed[0]["detail"]
    assert "clock" in failed[0]["advice"]


def test_a_token_from_the_future(emulated: Emulator) -> None:
    """One of both clocks is wrong."""
    made = ParticipantToken.for_room("lab", "ada")
    early = ParticipantToken(made.name, made.grants, extra={"iat": time.time() + 3600}).encode(emulated.secret)
    found = examine("lab", "--url", emulated.url, status=0, MESHAGENT_TOKEN=early)
    (clock,) = [line for line in found if line["step"] == "clock"]
    assert (clock["outcome"], "in the future" in clock["detail"]) == ("warning", True)


def test_a_token_for_another_room(emulated: Emulator) -> None:
    """Both are named."""
    found = examine("lab", "--url", emulated.url, status=4, MESHAGENT_TOKEN=emulated.token("shop", "ada"))
    failed = [line for line in found if line["outcome"] == "failed"]
    assert [line["step"] for line in failed] == ["token room", "http"]
    assert failed[0]["detail"] == "the token is for the room 'shop', not for 'lab'"


def test_a_wrong_secret(emulated: Emulator) -> None:
    """A token made here from it is sound, and the service rejects it: the variable is named."""
    wrong = of_emulator(emulated) | {"MESHAGENT_SECRET": SECRET}
    del wrong["MESHAGENT_API_KEY"]
    found = examine("lab", status=4, **wrong)
    step, detail, advice = fault(found)
    assert (step, "401" in detail, "MESHAGENT_SECRET" in advice) == ("http", True, True)


def test_a_key_that_is_none(emulated: Emulator) -> None:
    """Why, and which variable holds it."""
    step, detail, advice = fault(examine("lab", "--url", emulated.url, status=4, MESHAGENT_API_KEY="ma-oops"))
    assert (step, "not an API key" in detail, advice) == ("credential", True, "correct MESHAGENT_API_KEY")


def test_rights_that_are_missing(emulated: Emulator) -> None:
    """Without any to messaging the token says so and the room refuses; without one of them it is a warning."""
    none = emulated.token("lab", "ada", messaging=False)
    found = examine("lab", "--url", emulated.url, status=4, MESHAGENT_TOKEN=none)
    assert [line["step"] for line in found if line["outcome"] == "failed"] == ["token rights", "enable"]
    some = emulated.token("lab", "ada", messaging=MessagingRights(broadcast=False))
    found = examine("lab", "--url", emulated.url, status=0, MESHAGENT_TOKEN=some)
    assert outcome(found, "token rights") == "warning"


# --- the network ------------------------------------------------------------------------------------------------------


def test_a_host_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name cannot be found."""

    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = examine("lab", status=3, MESHAGENT_API_URL="wss://rooms.example", MESHAGENT_TOKEN=token())
    step, detail, advice = fault(found)
    assert (step, "rooms.example" in detail, "MESHAGENT_API_URL" in advice) == ("lookup", True, True)


def test_a_port_where_nothing_listens() -> None:
    """The connection is refused."""
    found = examine("lab", "--url", f"ws://127.0.0.1:{own_port()}", status=3, MESHAGENT_TOKEN=token())
    step, _, advice = fault(found)
    assert (step, "nothing listens there" in advice, "--url" in advice) == ("tcp", True, True)
    assert outcome(found, "lookup") == "ok"


def test_a_port_that_is_silent(server: ScriptedServer) -> None:
    """It takes connections and says nothing: a time-out."""
    found = examine("demo", "--url", server.url, "--timeout", "1", status=5, MESHAGENT_TOKEN=token("demo"))
    step, _, advice = fault(found)
    assert (step, "silent" in advice, outcome(found, "tcp")) == ("http", True, "ok")


def test_tls_to_a_plain_port(emulated: Emulator) -> None:
    """The other way to write the address is what to try."""
    found = examine("lab", "--url", emulated.url.replace("ws:", "wss:"), status=3, MESHAGENT_TOKEN=token())
    step, _, advice = fault(found)
    assert (step, "ws://" in advice, outcome(found, "tcp")) == ("tls", True, "ok")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that no system trusts."""
    return trustme.CA()


def tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Return a server's context with a certificate for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_plain_to_a_tls_port(authority: trustme.CA) -> None:
    """Likewise the other way round."""
    with ScriptedServer(tls(authority, "localhost")) as server:
        accepting = in_thread(server.accept_raw)
        url = server.url.replace("wss:", "ws:")
        step, _, advice = fault(examine("demo", "--url", url, status=3, MESHAGENT_TOKEN=token("demo")))
        assert accepting.exception(30) is not None
    assert (step, "wss://" in advice) == ("http", True)


def test_a_certificate_that_is_not_trusted(authority: trustme.CA) -> None:
    """The variable for one's own authority is named."""
    with ScriptedServer(tls(authority, "localhost")) as server:
        in_thread(server.accept_raw)
        step, _, advice = fault(examine("demo", "--url", server.url, status=3, MESHAGENT_TOKEN=token("demo")))
    assert (step, "MESHAGENT_EXTRA_CA_FILE" in advice) == ("tls", True)


def test_a_certificate_for_another_name(authority: trustme.CA, tmp_path: Path) -> None:
    """Its authority is trusted; the name does not fit."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ScriptedServer(tls(authority, "rooms.example")) as server:
        in_thread(server.accept_raw)
        step, _, advice = fault(
            examine(
                *["demo", "--url", server.url],
                status=3,
                MESHAGENT_TOKEN=token("demo"),
                MESHAGENT_EXTRA_CA_FILE=str(tmp_path / "ca.pem"),
            )
        )
    assert (step, "another name" in advice) == ("tls", True)


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    """It is no fault of the network."""
    missing = str(tmp_path / "ca.pem")
    environ = {"MESHAGENT_EXTRA_CA_FILE": missing, "MESHAGENT_TOKEN": token("demo")}
    found = examine("demo", "--url", "wss://rooms.example", status=3, **environ)
    step, detail, advice = fault(found)
    assert (step, missing in detail, "MESHAGENT_EXTRA_CA_FILE" in advice) == ("certificates", True, True)


def test_tls_that_is_trusted_has_its_step(authority: trustme.CA, tmp_path: Path) -> None:
    """With its version, before the handshake of the WebSocket."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    environ = {"MESHAGENT_EXTRA_CA_FILE": str(tmp_path / "ca.pem"), "MESHAGENT_TOKEN": token("demo")}
    with ScriptedServer(tls(authority, "localhost")) as server:
        in_thread(server.serve)
        found = examine("demo", "--url", server.url, status=0, **environ)
    (secured,) = [line for line in found if line["step"] == "tls"]
    assert secured["detail"].startswith("TLSv1.")


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "room's name"), (302, "redirects"), (500, "who runs the service"), (401, "of that service")],
)
def test_an_answer_that_is_no_websocket(server: ScriptedServer, status: int, words: str) -> None:
    """Its status is in the text, and each kind has advice of its own."""
    in_thread(server.refuse, status)
    code = 4 if status == 401 else 3
    found = examine("demo", "--url", server.url, status=code, MESHAGENT_TOKEN=token("demo"))
    step, detail, advice = fault(found)
    assert (step, f"({status})" in detail, words in advice) == ("http", True, True)


def test_another_program_on_that_port(server: ScriptedServer) -> None:
    """It does not even speak HTTP."""

    def banner() -> None:
        server.accept_raw().sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    in_thread(banner)
    step, _, advice = fault(examine("demo", "--url", server.url, status=3, MESHAGENT_TOKEN=token("demo")))
    assert (step, "wss://" in advice, "another program" in advice) == ("http", True, True)


def test_a_proxy_that_refuses(server: ScriptedServer) -> None:
    """It is named among the settings, and its password nowhere."""

    def refuse() -> None:
        server.accept_raw().sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    in_thread(refuse)
    proxy = f"http://me:hunter22@127.0.0.1:{server.port}"
    environ = {"http_proxy": proxy, "MESHAGENT_TOKEN": token()}
    found = examine("lab", "--url", "ws://rooms.example", status=3, **environ)
    step, detail, advice = fault(found)
    assert (step, "403" in detail, "no_proxy" in advice) == ("proxy", True, True)
    assert any(line["detail"] == f"proxy: 127.0.0.1:{server.port}" for line in found)
    assert "hunter22" not in json.dumps(found)


def test_a_proxy_that_cannot_be_used() -> None:
    """Its kind is named."""
    environ = {"http_proxy": "socks5://127.0.0.1:1080", "MESHAGENT_TOKEN": token()}
    step, detail, _ = fault(examine("lab", "--url", "ws://rooms.example", status=3, **environ))
    assert (step, "socks5://" in detail) == ("proxy", True)


def test_a_room_that_never_greets(server: ScriptedServer) -> None:
    """A WebSocket is there, and nothing on it."""
    server.begin_to_accept()
    found = examine("demo", "--url", server.url, "--timeout", "1", status=5, MESHAGENT_TOKEN=token("demo"))
    step, _, advice = fault(found)
    assert (step, "no room behind it" in advice, outcome(found, "http")) == ("greeting", True, "ok")


def test_a_room_that_does_not_enable(server: ScriptedServer) -> None:
    """It greets, and answers no request."""
    accepting = server.begin_to_accept()
    in_thread(lambda: accepting.result(30).greet())
    found = examine("demo", "--url", server.url, "--timeout", "1", status=5, MESHAGENT_TOKEN=token("demo"))
    step, _, advice = fault(found)
    assert (step, "does not answer" in advice, outcome(found, "greeting")) == ("enable", True, "ok")
