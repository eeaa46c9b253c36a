"""A record is replayed in an emulator; what a program does there and in a simulation is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import Emulator, Transcript, diff, latency, replay_room
from simulator.errors import ReplayFailed, ReplayStalled
from simulator.replaying.making import MadeTest, make_test
from tests.simulation.test_made_tests import test_of as imported
from tests.support.conversations import ROOM, hold
from tests.support.worlds import simulated

ROOT = Path(__file__).resolve().parents[2]

BOT = """
    import time
    import meshsync

    def answer():
        with meshsync.connect("lab", name="bot", role="agent") as room:
            @room.messaging.on_message("ask")
            def reply(event):
                body = {"double": event.message.message["number"] * 2, "time": time.time()}
                room.messaging.send_message(event.participant, "reply", body)

            @room.messaging.on_message("bye")
            def bye(event):
                room.messaging.broadcast_message("over", {})

            room.messaging.enable()
            room.run_forever()

    if __name__ == "__main__":
        answer()
"""


@contextmanager
def environment(emulator: Emulator) -> Iterator[None]:
    """Have programs of this process connect to an emulator."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.env.items():
            patch.setenv(name, value)
        yield


def recorded(program: Callable[[], object] = hold) -> Transcript:
    """Return the record of a conversation in an emulator, from before its end."""
    with Emulator(record=True) as emulator, environment(emulator):
        program()
    return emulator.transcript(ROOM)


def test_two_records_of_one_conversation_in_the_emulator_are_equal() -> None:
    """Several rounds, threads and streams, on real sockets."""
    one = recorded()
    for _ in range(3):
        other = recorded()
        assert not diff(one, other), diff(one, other)
    assert diff(one, other, ignore=("id",)) and diff(one, other, ignore=("time",))


def test_a_record_of_the_emulator_is_said_again_in_both_worlds() -> None:
    """And one of a simulation in the emulator."""
    real = recorded()
    with simulated(latency=latency.lognormal(0.02, 0.5)) as sim:
        hold()
        sim.sleep(1)
        virtual = sim.room(ROOM).transcript.copy()
    for record in (real, virtual):
        for into in ("emulator", "simulation"):
            replayed = replay_room(record, into=into)  # type: ignore[arg-type]
            assert not replayed.difference, f"{into}: {replayed.difference}"


@pytest.mark.parametrize("name", ["ada", "ben", "bot", "sink"])
def test_what_a_program_sends_is_the_same_in_the_emulator_and_replayed_in_a_simulation(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of four is a program among three that are scripted, which draws on neither clock nor chance."""
    monkeypatch.chdir(tmp_path)
    call = {"ada": '_ask("ada", 3)', "ben": '_ask("ben", 3)', "bot": "_answer(3)", "sink": "_listen(3)"}[name]
    source = f"from tests.support import conversations\n\ndef program():\n    conversations.{call}\n"
    Path("program.py").write_text(source, encoding="utf-8")
    real = recorded()
    for world in ("simulation", "emulator"):
        made = make_test(real, name, program="program.py:program", world=world)  # type: ignore[arg-type]
        assert (made.masked, made.notes) == ((), ())
        imported(made)()


# --- tests that are made ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record() -> Transcript:
    """Return the record of the program and two that ask it."""

    def ask() -> None:
        with meshsync.connect("lab", name="alice") as room, meshsync.connect("lab", name="carol") as other:
            room.messaging.enable()
            other.messaging.enable()
            bot = room.messaging.wait_for_participant(name="bot", timeout=10)
            with room.messaging.messages("reply") as replies, room.messaging.messages("over") as ends:
                for number in range(3):
                    room.messaging.send_message(bot, "ask", {"number": number}, bytes([number]))
                    replies.get(10)
                other.messaging.send_message(bot.id, "bye", {})
                ends.get(10)

    def talk() -> None:
        # It leaves when the others have left, so that none of them sees it leave.
        namespace: dict[str, Any] = {"__name__": "bot", "asked": threading.Event()}
        exec(textwrap.dedent(BOT).replace("room.run_forever()", "asked.wait(20)"), namespace)
        bot = meshsync.spawn(namespace["answer"])
        ask()
        namespace["asked"].set()
        assert bot.join(10)

    return recorded(talk)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Transcript) -> Path:
    """Work in a directory of its own, with a program and its record."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    write(tmp_path, BOT)
    record.save("record.jsonl")
    return tmp_path


def write(folder: Path, text: str) -> None:
    """Write the program; its bytecode would be taken for that of the last one."""
    (folder / "bot.py").write_text(textwrap.dedent(text), encoding="utf-8")
    for file in folder.glob("__pycache__/*"):
        os.remove(file)


@pytest.fixture(scope="module")
def made_before(record: Transcript, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the text of the test that is made of the record."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(ROOT))
        write(folder, BOT)
        made = make_test(record, "bot", command=["python", "bot.py"], stall=6.0)
        return made.path.read_text(encoding="utf-8")


def made(folder: Path, **options: Any) -> MadeTest:
    """Return the test that is made of the record."""
    return make_test(folder / "record.jsonl", "bot", **{"command": ["python", "bot.py"], **options})


@pytest.mark.parametrize("options", [{}, {"command": None, "program": "bot.py:answer", "world": "emulator"}])
def test_a_made_test_passes_at_once(folder: Path, options: dict[str, Any]) -> None:
    """A command, or a function in a process of its own."""
    test = made(folder, **options)
    assert test.masked == (("reply", "message", "time"),)
    assert test.notes == ()
    imported(test)()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('["number"] * 2', '["number"] * 3', "number 2: message 'reply': message.double: 2 versus 3"),
        ('room.messaging.send_message(event.participant, "reply", body)', "pass", "alice waits for 'reply' from bot"),
        (
            'room.messaging.broadcast_message("over", {})',
            'room.messaging.send_message(event.participant, "more", {}); room.messaging.broadcast_message("over", {})',
            "bot -> carol, number 1: message 'over' versus message 'more'",
        ),
        ("    import time", "    import time\n    import nothing_of_that_name", "ModuleNotFoundError: "),
        ("            room.run_forever()", '            raise SystemExit("so be it")', "\nso be it"),
        ("            room.run_forever()", "            return", "nothing has happened for 1 s: "),
        (
            "            room.messaging.enable()",
            "            time.sleep(60)",
            "for bot to enable messaging",
        ),
        (
            "            room.messaging.enable()",
            "            while True: pass",
            "for bot to enable messaging",
        ),
    ],
)
def test_a_broken_program_fails_its_test(folder: Path, made_before: str, old: str, new: str, text: str) -> None:
    """Whatever is broken, and the text says what; the process is ended."""
    path = folder / "test_bot.py"
    path.write_text(made_before, encoding="utf-8")
    test = imported(MadeTest(path, (), ()))
    assert BOT.count(old) == 1, old
    write(folder, BOT.replace(old, new))
    with pytest.raises(AssertionError) as caught:
        test()
    assert text in str(caught.value)


def test_a_program_that_ran_twice_is_started_twice(folder: Path) -> None:
    """In a process of its own each time."""
    script = """
        import meshsync

        with meshsync.connect("lab", name="asker") as room:
            room.messaging.enable()
            bot = room.messaging.wait_for_participant(name="bot", timeout=10)
            with room.messaging.messages("reply") as replies:
                room.messaging.send_message(bot, "ask", {"number": 1})
                replies.get(10)
    """
    (folder / "ask.py").write_text(textwrap.dedent(script), encoding="utf-8")

    def talk() -> None:
        with meshsync.connect("lab", name="bot") as room:
            room.messaging.on_message(
                "ask", lambda event: room.messaging.send_message(event.participant, "reply", {"n": 2})
            )
            room.messaging.enable()
            for _ in range(2):
                subprocess.run([sys.executable, "ask.py"], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    made = make_test(recorded(talk), "asker", command=["python", "ask.py"])
    assert (made.masked, made.notes) == ((), ())
    imported(made)()


def test_a_program_that_refuses_to_end_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its test passes all the same: what it does when it is told to end is not what is recorded."""
    monkeypatch.setattr("simulator.replaying.subjects.PATIENCE", 0.2)
    write(
        folder,
        BOT.replace(
            "    def answer", "    import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    def answer"
        ),
    )
    imported(made(folder))()


def test_a_command_that_does_not_exist_is_refused(folder: Path) -> None:
    """No test is made."""
    with pytest.raises(UsageError, match=r"cannot run 'no-such-command' in .*: No such file"):
        made(folder, command=["no-such-command"])


def test_a_program_that_fails_gets_no_test(folder: Path) -> None:
    """The error has its last words."""
    write(folder, BOT.replace("    import time", "    1 / 0"))
    with pytest.raises(ReplayFailed, match=r"ended with status 1\n(.*\n)*ZeroDivisionError"):
        made(folder)
    write(folder, BOT.replace("            room.messaging.enable()", "            time.sleep(60)"))
    with pytest.raises(ReplayStalled):
        made(folder, stall=3.0)
    assert not Path("test_bot.py").exists()


def test_a_function_beside_an_emulator_takes_nothing(folder: Path) -> None:
    """There is no simulation to give to it."""
    write(folder, BOT.replace("def answer():", "def answer(simulation):"))
    with pytest.raises(ReplayFailed, match="beside an emulator there is no simulation"):
        made(folder, command=None, program="bot.py:answer", world="emulator")


def test_nothing_of_this_process_leads_the_program_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a token nor an address for the hosted service."""
    monkeypatch.setenv("MESHAGENT_TOKEN", "secret")
    monkeypatch.setenv("MESHAGENT_ROOM_URL", "wss://example.org")
    imported(made(folder))()
