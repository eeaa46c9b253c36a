"""The command as a process: signals, broken pipes, terminals, ``chat``, and the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

import meshsync
from simulator import Emulator
from tests.support.command import PATIENCE, of_emulator, run, start
from tests.support.rooms import Ears, own_port

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

_rooms = count(1)


@pytest.fixture
def here(emulated: Emulator) -> dict[str, str]:
    """Return the variables that lead a command into a room where no participant is."""
    return of_emulator(emulated, f"process-{next(_rooms)}")


def finish(process: subprocess.Popen[str], input: str | None = None) -> tuple[int, str, str]:
    """Return exit status, output and errors of a command that ends by itself."""
    try:
        out, errors = process.communicate(input, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, errors


def enter(environ: dict[str, str], emulated: Emulator, name: str) -> meshsync.RoomClient:
    """Return a client in the room of these variables."""
    room = environ["MESHAGENT_ROOM"]
    client = meshsync.connect(room, url=emulated.url, token=emulated.token(room, name))
    client.messaging.enable()
    return client


# --- Ctrl-C and SIGTERM -----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_listen_says_what_was_received(here: dict[str, str], emulated: Emulator, number: int, status: int) -> None:
    """One sentence, no traceback, and the others see it leave at once."""
    with enter(here, emulated, "ada") as ada:
        process = start("listen", "--name", "cli", environ=here)
        cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        ada.messaging.send_message(cli, "chat", {"a": 1})
        assert json.loads(process.stdout.readline())["message"] == {"a": 1}
        left = Ears()
        ada.messaging.on("participant_removed", left)
        process.send_signal(number)
        code, out, errors = finish(process)
        assert left.next().participant.name == "cli"
    assert (code, out) == (status, "")
    assert errors.splitlines()[1:] == ["meshsync: received 1 message"]


@posix
def test_send_says_how_many_of_how_many_were_sent(here: dict[str, str], emulated: Emulator) -> None:
    """While it waits for more on standard input; where the number is not known, those that were."""
    with enter(here, emulated, "ada") as ada:
        process = start("send", "--to", "ada", "-", environ=here)
        for number in range(3):
            process.stdin.write(json.dumps({"n": number}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["number"] == number + 1
        process.send_signal(signal.SIGINT)
        assert finish(process) == (130, "", "meshsync: 3 messages sent to ada\n")
        waiting = start("send", "--name", "cli", "--to", "eve", "--wait-for", "eve", "{}", "{}", environ=here)
        ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        waiting.send_signal(signal.SIGINT)
        code, _, errors = finish(waiting)
    assert code == 130
    assert errors.endswith("meshsync: 0 of 2 messages sent to eve\n")


# --- pipes and terminals ----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("options", [[], ["--count", "9"]])
def test_a_reader_that_has_enough_ends_the_command_quietly(
    here: dict[str, str], emulated: Emulator, options: list[str]
) -> None:
    """As ``| head -1``: no word, status 0, and it does not wait for another message."""
    with enter(here, emulated, "ada") as ada:
        process = start("listen", "--name", "cli", *options, environ=here)
        cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        ada.messaging.send_message(cli, "chat", {})
        assert process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read().splitlines()[1:] == []
        process.stderr.close()


@posix
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_terminal_gets_a_table_and_a_pipe_json(here: dict[str, str], emulated: Emulator, options: list[str]) -> None:
    """Unless --json is given."""
    pty = pytest.importorskip("pty")
    with enter(here, emulated, "ada"):
        ours, theirs = pty.openpty()
        process = start("who", *options, environ=here, stdout=theirs)
        assert process.wait(PATIENCE) == 0
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        for pipe in (process.stdin, process.stderr):
            pipe.close()
    assert ("attributes" in shown.splitlines()[0], shown.startswith("{")) == (True, bool(options))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_output_cannot_encode_is_escaped(here: dict[str, str], emulated: Emulator, encoding: str) -> None:
    """Rather than a traceback."""
    with enter(here, emulated, "Ω"):
        code, out, errors = finish(start("who", "--text", environ=here | {"PYTHONIOENCODING": encoding}))
    assert (code, errors) == (0, "")
    assert "\\u03a9" in out


def test_verbose_logs_on_standard_error_without_secrets(here: dict[str, str], emulated: Emulator) -> None:
    """Once for what happens, twice for more."""
    assert finish(start("who", environ=here)) == (0, "", "")
    for option, name in (("-v", "meshsync.client"), ("-vv", "meshsync.traffic")):
        code, out, errors = finish(start("who", option, environ=here))
        assert (code, out, name in errors) == (0, "", True)
        assert here["MESHAGENT_SECRET"] not in errors
        assert ("Traceback" in errors, "meshsync.traffic" in errors) == (False, option == "-vv")


# --- chat -------------------------------------------------------------------------------------------------------------


def test_chat_says_lines_to_all_or_to_one(here: dict[str, str], emulated: Emulator) -> None:
    """Text or JSON, one line each; what goes wrong with one is a sentence, and the next goes on."""
    with enter(here, emulated, "ada") as ada, enter(here, emulated, "bob") as bob:
        ears, sizes = {"ada": Ears(), "bob": Ears()}, {"ada": 2, "bob": 3}
        ada.messaging.on("message", ears["ada"])
        bob.messaging.on("message", ears["bob"])
        process = start("chat", "--text", "--name", "cli", environ=here)
        lines = ["hello", "", "@bob only you", '{"a": 1}', "@eve hi", "/dance", "/who", "/help", "/quit", "unread"]
        code, out, errors = finish(process, "\n".join(lines) + "\n")
        got = {name: [ears[name].next().message.message for _ in range(size)] for name, size in sizes.items()}
        assert (ears["ada"].is_silent, ears["bob"].is_silent) == (True, True)
    assert code == 0
    assert got == {"ada": [{"text": "hello"}, {"a": 1}], "bob": [{"text": "hello"}, {"text": "only you"}, {"a": 1}]}
    assert "there is no 'eve'" in errors
    assert "no such command: /dance" in errors
    assert "others: ada, bob" in errors
    assert out.count("ada") == 1
    assert "/quit, Ctrl-D" in out


def test_chat_shows_what_others_write(here: dict[str, str], emulated: Emulator) -> None:
    """A text as it is, anything else with its type; arrivals too. Standard input that ends is leaving."""
    process = start("chat", "--text", "--name", "cli", environ=here)
    assert "in 'process-" in process.stderr.readline()
    with enter(here, emulated, "ada") as ada:
        assert process.stdout.readline() == "* ada is here\n"
        cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        ada.messaging.send_message(cli, "chat", {"text": "hi\x07"})
        assert process.stdout.readline() == "ada: hi\\x07\n"
        ada.messaging.send_message(cli, "order", {"item": "tea"}, b"xy")
        assert process.stdout.readline() == 'ada: order {"item": "tea"}  + 2 bytes\n'
    assert process.stdout.readline() == "* ada has left\n"
    assert finish(process) == (0, "", "")


@posix
def test_chat_whose_reader_has_gone_ends_quietly(here: dict[str, str], emulated: Emulator) -> None:
    """With the next line that is typed; what comes before it has no place to be printed."""
    with enter(here, emulated, "ada") as ada:
        process = start("chat", "--name", "cli", environ=here)
        assert "others: ada" in process.stderr.readline()
        process.stdout.close()
        cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        ada.messaging.send_message(cli, "chat", {"text": "to nothing"}, confirm=True)
        process.stdin.write("one\ntwo\n")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
        process.stderr.close()


@posix
def test_chat_has_a_prompt_with_a_history_on_a_terminal(
    here: dict[str, str], emulated: Emulator, tmp_path: Path
) -> None:
    """What comes is shown above the line being typed; the history is a file of its user's own, unless it is refused."""
    pty = pytest.importorskip("pty")
    kept = tmp_path / "state" / "meshsync" / "chat_history"
    for options, is_kept in ((["--no-history"], False), ([], True)):
        ours, theirs = pty.openpty()
        environ = here | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "xterm"}
        process = start("chat", "--name", "cli", *options, environ=environ, stdin=theirs, stdout=theirs)
        os.close(theirs)
        with enter(here, emulated, "ada") as ada:
            ears = Ears()
            ada.messaging.on("message", ears)
            cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
            until(ours, "> ")
            os.write(ours, b"hello\n")
            assert ears.next().message.message == {"text": "hello"}
            until(ours, "> ", until(ours, "\n"))
            os.write(ours, b"half a li")
            until(ours, "half a li")
            ada.messaging.send_message(cli, "chat", {"text": "interrupting"})
            shown = until(ours, "ada: interrupting")
            until(ours, "> half a li", shown)
            os.write(ours, b"ne\n")
            shown = until(ours, "\n")
            assert ears.next().message.message == {"text": "half a line"}
            until(ours, "> ", shown)  # Before it the terminal is not readline's, and would keep the next letter.
            os.write(ours, b"\x04")
            assert process.wait(PATIENCE) == 0
        process.stderr.close()
        os.close(ours)
        assert kept.exists() is is_kept
    assert kept.read_text().splitlines()[-2:] == ["hello", "half a line"]
    assert kept.stat().st_mode & 0o077 == 0


def until(terminal: int, wanted: str, shown: str = "") -> str:
    """Return what a terminal shows, up to and with a text."""
    while True:
        if wanted in shown:
            return shown[shown.index(wanted) + len(wanted) :]
        shown += os.read(terminal, 4096).decode()


# --- emulator and demo ------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_emulator_serves_until_a_signal_that_is_passed_on(number: int) -> None:
    """With the remaining arguments; a command then joins it by --emulator."""
    port = own_port()
    process = start("emulator", "--json", "--port", str(port))
    line = json.loads(process.stdout.readline())
    assert line["url"] == f"ws://127.0.0.1:{port}"
    result = run("broadcast", "lab", "{}", environ=line["env"])
    assert result.exit_code == 0, result.output
    process.send_signal(number)
    assert finish(process)[0] == 0


def test_arguments_and_exit_status_are_passed_on() -> None:
    """Help and errors are the other program's own."""
    code, out, _ = finish(start("emulator", "--help"))
    assert (code, "--max-participants" in out) == (0, True)
    code, _, errors = finish(start("emulator", "--port", "no-port"))
    assert (code, "--port" in errors) == (2, True)
    code, out, _ = finish(start("demo", "--seed", "3"))
    assert (code, out) == (0, finish(start("demo", "--seed=3"))[1])
    assert "Ada and Ben" in out


def test_a_missing_simulator_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install; status 2."""
    finders = [finder for finder in sys.meta_path if not finder.find_spec("simulator", None)]
    monkeypatch.setattr(sys, "meta_path", finders)
    result = run("demo")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "pip install 'meshsync-client[emulator]'" in result.stderr


# --- the whole --------------------------------------------------------------------------------------------------------


def test_completion_is_as_click_gives_it() -> None:
    """For bash: a function, and what it asks for."""
    script = finish(start(environ={"_MESHSYNC_COMPLETE": "bash_source"}))[1]
    assert "complete -o nosort" in script
    asked = {"_MESHSYNC_COMPLETE": "bash_complete", "COMP_WORDS": "meshsync se", "COMP_CWORD": "1"}
    assert finish(start(environ=asked))[1].split() == ["plain,send", "plain,send-file"]


def test_the_version_is_printed() -> None:
    """By the module as by the script."""
    code, out, _ = finish(start("--version"))
    assert code == 0
    assert out == f"meshsync {meshsync.__version__}\n"
