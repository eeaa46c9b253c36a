"""``ask`` against an emulator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync import Refuse, RoomMessageEvent
from simulator import Emulator
from tests.support.command import PATIENCE, of_emulator, records, run

ROOM = "asking"


@pytest.fixture
def bot(emulated: Emulator) -> Iterator[meshsync.RoomClient]:
    """Return a client that answers, whose answers depend on the question."""

    def answer(event: RoomMessageEvent) -> Any:
        body = event.message.message
        if body.get("refuse"):
            raise Refuse("not today")
        if body.get("fail"):
            raise ValueError("a secret")
        if body.get("wait"):
            meshsync.sleep(body["wait"])
        return {"got": dict(body), "size": len(event.message.attachment)}, b"\x01\x02"

    with meshsync.connect(ROOM, url=emulated.url, token=emulated.token(ROOM, "bot", role="agent")) as client:
        client.messaging.on_request("ask", answer)
        client.messaging.on_message(
            "plain", lambda event: client.messaging.send_message(event.participant, "reply", {"ok": True})
        )
        client.messaging.enable()
        yield client


@pytest.fixture
def here(emulated: Emulator, bot: meshsync.RoomClient) -> dict[str, str]:
    """Return the variables that lead a command into the room."""
    return of_emulator(emulated, ROOM)


def test_the_answer_is_printed(bot: meshsync.RoomClient, here: dict[str, str], tmp_path: Path) -> None:
    """As a message that arrived, with its attachment in a file; by name, by id, from a file, from standard input."""
    (tmp_path / "body.json").write_text('{"n": 2}', encoding="utf-8")
    (tmp_path / "data").write_bytes(b"abc")
    inbox = tmp_path / "new" / "inbox"
    digest = hashlib.sha256(b"\x01\x02").hexdigest()
    options = ["--attach", str(tmp_path / "data"), "--save-attachments", str(inbox), "--name", "ada", "--create-dirs"]
    result = run("ask", ROOM, "bot", "ask", '{"n": 1}', *options, environ=here)
    (record,) = records(result)
    assert result.exit_code == 0
    assert record.pop("time")
    assert record == {
        "type": "ask",
        "from": "bot",
        "from_id": bot.local_participant.id,
        "message": {"got": {"n": 1}, "size": 3},
        "attachment": {"size": 2, "sha256": digest, "path": str(inbox / digest)},
    }
    assert (inbox / digest).read_bytes() == b"\x01\x02"
    for arguments, given in [
        ([bot.local_participant.id, "ask", f"@{tmp_path / 'body.json'}"], None),
        (["bot", "ask", "-"], '{"n": 2}\n'),
        (["ask", '{"n": 2}', "--to", "bot"], None),
    ]:
        result = run("ask", *arguments, "--wait-for", "bot", environ=here, input=given)
        assert [record["message"]["got"] for record in records(result)] == [{"n": 2}]
    result = run("ask", "bot", "ask", "{}", "--text", environ=here)
    assert result.stdout == 'ask  {"got": {}, "size": 0}  + 2 bytes\n'
    result = run("ask", "bot", "plain", "{}", "--reply-type", "reply", environ=here)
    assert [record["message"] for record in records(result)] == [{"ok": True}]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["bot", "ask", '{"refuse": true}'], 1, "meshsync: not today"),
        (["bot", "ask", '{"fail": true}'], 1, "meshsync: 'bot' failed at the question 'ask': its log has the reason"),
        (["bot", "other", "{}"], 1, "no handler for questions of type 'other'; its handlers are for 'ask'"),
        (["eve", "ask", "{}"], 1, "there is no 'eve'; in 'asking' there are bot (agent)"),
        (["bot", "ask", '{"wait": 60}', "--timeout", "0.5"], 5, "was not answered within 0.5 s: it has it"),
        (["bot", "ask", '{"wait": 60}', "--timeout", "500ms"], 5, "give a longer --timeout if the answer takes longer"),
    ],
)
def test_a_question_without_an_answer_has_a_status(
    here: dict[str, str], arguments: list[str], status: int, text: str
) -> None:
    """And a sentence; what the handler failed of is not told."""
    result = run("ask", *arguments, environ=here)
    assert (result.exit_code, result.stdout) == (status, "")
    assert text in result.stderr
    assert "secret" not in result.stderr


def test_a_participant_that_is_no_client_of_ours_needs_a_type_of_answer(emulated: Emulator) -> None:
    """Status 2, and what to give."""
    from simulator.participants import Echo

    echo = Echo("echo")
    echo.confirms = False
    emulated.add("echoing", echo)
    here = of_emulator(emulated, "echoing")
    result = run("ask", "echo", "ask", "{}", "--wait-for", "echo", environ=here)
    assert result.exit_code == 2
    assert "'echo' is no client of this package" in result.stderr
    assert result.stderr.endswith("tell which one by --reply-type\n")
    result = run("ask", "echo", "ask", '{"n": 1}', "--reply-type", "ask", "--timeout", str(PATIENCE), environ=here)
    assert [record["message"] for record in records(result)] == [{"n": 1}]


def test_participants_of_the_emulator_answer(emulated: Emulator) -> None:
    """Those without a thread, on real sockets."""
    from simulator.participants import Echo

    emulated.add("echoes", Echo("echo", delay=0.01))
    result = run("ask", "echo", "any", '{"n": 1}', "--wait-for", "echo", environ=of_emulator(emulated, "echoes"))
    assert [(record["type"], record["message"]) for record in records(result)] == [("any", {"n": 1})]
