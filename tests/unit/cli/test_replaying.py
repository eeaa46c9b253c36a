"""The commands diff, replay-room and as-test: their words, what they print, their statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Transcript
from simulator.cli.main import main
from simulator.record.records import Record

S = 1_000_000_000

PROGRAM = """
import meshsync

def answer():
    with meshsync.connect("lab", name="bot", role="agent") as room, room.messaging.messages("ask") as asks:
        room.messaging.enable()
        ask = asks.get(10)
        room.messaging.send_message(ask.from_participant_id, "reply", {"n": ask.message["n"] + 1})
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with a program, and the records of it and of another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bot.py").write_text(PROGRAM)
    record(2).save("a.jsonl")
    record(3).save("b.jsonl")
    return tmp_path


def record(reply: int) -> Transcript:
    """Return the record of a question and its answer."""
    made = Transcript("lab")
    for name, role in (("bot", "agent"), ("ada", "user")):
        made.add(Record(0, "connected", name, detail={"role": role}))
        made.add(Record(0, "enabled", name))
    made.add(Record(S, "message", "ada", "bot", "ask", latency_ns=0, outcome="delivered", detail={"n": 1}))
    made.add(Record(2 * S, "message", "bot", "ada", "reply", latency_ns=0, outcome="delivered", detail={"n": reply}))
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return the status of a command, and what it printed."""
    try:
        status = main(arguments)
    except SystemExit as error:
        status = int(str(error.code))
    out, errors = capsys.readouterr()
    return status, out, errors


def test_diff_shows_the_first_difference(capsys):
    """Status 1; 0 where what differs is ignored, or is of another participant."""
    status, out, errors = run(capsys, "diff", "a.jsonl", "b.jsonl")
    assert (status, errors) == (1, "")
    assert out.startswith("bot -> ada, number 1: message 'reply': message.n: 2 versus 3\n1 of 4 routes differs:\n")
    equal = (0, "equal: 6 events on 4 routes\n", "")
    assert run(capsys, "diff", "a.jsonl", "b.jsonl", "--ignore", "message.n") == equal
    assert run(capsys, "diff", "a.jsonl", "a.jsonl") == equal
    assert run(capsys, "diff", "a.jsonl", "b.jsonl", "--sender", "ada") == (0, "equal: 3 events on 2 routes\n", "")


def test_replay_room_says_it_again(capsys):
    """It prints a chart and saves the new record if it is asked to."""
    assert run(capsys, "replay-room", "b.jsonl") == (0, "replayed as it was: equal: 6 events on 4 routes\n", "")
    status, out, _ = run(capsys, "replay-room", "b.jsonl", "--chart", "--transcript", "again.jsonl")
    assert status == 0 and out.startswith("lab (seed 0): 2 participants, 2 messages\n")
    assert run(capsys, "diff", "b.jsonl", "again.jsonl")[0] == 0


def test_replay_room_tells_what_it_lacks(capsys):
    """Status 1 if it was not the same."""
    made = record(2)
    made.add(Record(3 * S, "message", "ada", "bot", "file", 0, 0, "delivered", attachment="ab" * 32))
    made.save("c.jsonl")
    status, out, errors = run(capsys, "replay-room", "c.jsonl")
    assert (status, errors) == (1, "")
    assert out.splitlines()[:2] == [
        f"the record lacks the attachment of 'file' from ada to bot at 3.000 s: SHA-256 {'ab' * 32}",
        "replayed, and differs from its record: ada -> bot, number 2: message 'file': attachment "
        f"{'ab' * 32} versus none",
    ]


def test_replay_room_that_gets_stuck_says_who_waits(capsys):
    """Status 1."""
    made = record(2)
    made.add(Record(3 * S, "disabled", "bot"))
    made.add(Record(4 * S, "message", "bot", "ada", "late", latency_ns=0, outcome="delivered"))
    made.save("c.jsonl")
    text = "simulator: nothing has happened for 1 s: ada waits for 'late' from bot, which the record has at 4 s\n"
    assert run(capsys, "replay-room", "c.jsonl", "--stall", "1") == (1, "", text)
    status, out, errors = run(capsys, "replay-room", "c.jsonl", "--stall", "1", "--chart")
    assert (status, errors) == (1, text)
    assert out.startswith("lab (seed 0): 2 participants, 2 messages\n")


def test_as_test_writes_a_test(capsys, folder):
    """Its name is the participant's, or the one that is given; a note says where the program is no longer the same."""
    written = (0, "test_bot.py: masked nothing\n", "")
    assert run(capsys, "as-test", "a.jsonl", "--subject", "bot", "--program", "bot.py:answer") == written
    arguments = ("--subject", "bot", "--program", "bot.py:answer", "--in", "simulation", "-o", "test_it.py")
    status, out, _ = run(capsys, "as-test", "b.jsonl", *arguments)
    assert (status, out.splitlines()) == (
        0,
        [
            "test_it.py: masked nothing",
            "bot no longer does what the record has; the test expects what it does now: "
            "bot -> ada, number 1: message 'reply': message.n: 3 versus 2",
        ],
    )
    assert {path.name for path in folder.glob("test_*.py")} == {"test_bot.py", "test_it.py"}


def test_as_test_of_a_program_that_fails_writes_none(capsys, folder):
    """Status 1, with the error."""
    (folder / "bot.py").write_text(PROGRAM.replace('["n"]', '["m"]'))
    result = run(capsys, "as-test", "a.jsonl", "--subject", "bot", "--program", "bot.py:answer")
    assert result == (1, "", "simulator: the program of bot failed: KeyError: 'm'\n")
    assert list(folder.glob("test_*.py")) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["diff", "a.jsonl"], "Missing argument 'B'"),
        (["diff", "a.jsonl", "none.jsonl"], "simulator: none.jsonl: No such file or directory"),
        (["diff", "a.jsonl", "bot.py"], "simulator: bot.py is no transcript"),
        (["diff", "a.jsonl", "b.jsonl", "--ignore", "tiem"], "simulator: 'tiem' cannot be ignored"),
        (["replay-room", "bot.py"], "simulator: bot.py is no transcript"),
        (["replay-room", "a.jsonl", "--in", "moon"], "'moon' is not one of 'simulation', 'emulator'"),
        (["replay-room", "a.jsonl", "--stall", "0"], "0.0 is not in the range x>0"),
        (["as-test", "a.jsonl"], "Missing option '--subject'"),
        (["as-test", "a.jsonl", "--subject", "bot"], "simulator: either a program, as FILE.py:FUNCTION, or a command"),
        (
            ["as-test", "a.jsonl", "--subject", "bob", "--program", "bot.py:answer"],
            "simulator: in the record of room 'lab' there is no 'bob'; these are: 'bot', 'ada'",
        ),
        (
            ["as-test", "a.jsonl", "--subject", "bot", "--program", "bot.py:anser"],
            "bot.py has no 'anser'; is 'answer' meant?",
        ),
        (
            ["as-test", "a.jsonl", "--subject", "bot", "--command", "python bot.py", "--in", "simulation"],
            "simulator: a command cannot run in a simulation",
        ),
        (["as-test", "a.jsonl", "--subject", "bot", "--command", "'"], "--command: "),
    ],
)
def test_what_cannot_be_used_has_status_2(capsys, arguments, text):
    """And one line says what is wrong."""
    status, out, errors = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert text in errors


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("diff", ["--ignore", "--sender", "A B", "Exit status 0"]),
        ("replay-room", ["--in", "--stall", "--transcript", "--chart", "RECORD", "Exit status 0"]),
        ("as-test", ["--subject", "--program", "--command", "--in", "-o", "--stall", "RECORD", "Exit status 0"]),
    ],
)
def test_each_has_a_help(capsys, command, words):
    """With its options, and what its statuses mean."""
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert [word for word in words if word not in " ".join(out.split())] == []
