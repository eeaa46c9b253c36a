"""A running emulator is found, by programs, shells and commands; and joined with nothing but its own credentials."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest

import meshsync
from meshsync import AuthenticationFailed, RoomUnavailable, UsageError
from meshsync.discovery import System, find_emulators
from meshsync.tokens import ApiKey, ParticipantToken
from simulator import Emulator, Simulation
from tests.support.finding import places, run_simulator, serving
from tests.support.scripted import PATIENCE
from tests.support.scripted_server import start

__all__ = ["places"]

OTHER = "another secret, with which the hosted service signs tokens"
HOSTED = {
    "MESHAGENT_API_URL": "https://hosted.invalid",
    "MESHAGENT_ROOM_URL": "wss://hosted.invalid/rooms/lab",
    "MESHAGENT_PROFILE_API_URL": "https://profile.invalid",
    "MESHAGENT_TOKEN": ParticipantToken.for_room("lab", "hosted").encode(OTHER),
    "MESHAGENT_API_KEY": str(ApiKey(str(UUID(int=1)), str(UUID(int=2)), OTHER)),
    "MESHAGENT_SECRET": OTHER,
    "MESHAGENT_PROJECT_ID": "hosted-project",
    "MESHAGENT_KEY_ID": "hosted-key",
}
"""Variables of a user of the hosted service. ``.invalid`` is nowhere (RFC 2606)."""

JOIN = """
import meshsync, sys
with meshsync.connect("lab", name="ada", url=sys.argv[1] if sys.argv[1:] else None) as room:
    print(room.local_participant.name, room.room_url)
"""
"""A program that joins a room and prints as whom, and where."""


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process, and those that it starts, the variables of a user of the hosted service."""
    for name, value in HOSTED.items():
        monkeypatch.setenv(name, value)


# --- from a program ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("places", "hosted")
def test_program_joins_the_emulator_that_runs_whatever_the_environment_says() -> None:
    """A token of another service would be refused there, and name another participant."""
    with serving() as served, meshsync.connect("lab", url="emulator", name="ada") as room:
        assert (room.local_participant.name, room.room_url) == ("ada", f"{served.url}/rooms/lab")


@pytest.mark.usefixtures("places")
def test_secret_of_its_own_is_found_too() -> None:
    """Nothing has to be copied."""
    with serving("--secret", "a secret of one's own, with 'quotes'") as served:
        with meshsync.connect("lab", url=f"emulator:{served.port}", name="ada") as room:
            assert room.is_connected


@pytest.mark.usefixtures("places")
def test_error_without_anything_to_join_with_names_the_emulator() -> None:
    """And how to join it."""
    with serving() as served:
        with pytest.raises(AuthenticationFailed) as caught:
            meshsync.connect("lab", name="ada")
    assert str(caught.value).endswith(f'; an emulator runs at {served.url}: connect(url="emulator")')


@pytest.mark.usefixtures("places")
def test_several_are_listed_and_one_can_be_chosen() -> None:
    """With address and process of each, the oldest first."""
    with serving() as first, serving() as second:
        with pytest.raises(UsageError) as caught:
            meshsync.connect("lab", url="emulator", name="ada")
        text = str(caught.value)
        assert text.index(f"{first.url} (process {first.process.pid}, ") < text.index(
            f"{second.url} (process {second.process.pid}, "
        )
        with meshsync.connect("lab", url=f"emulator:{second.port}", name="ada") as room:
            assert room.room_url == f"{second.url}/rooms/lab"


@pytest.mark.usefixtures("places")
def test_client_comes_back_to_an_emulator_that_was_restarted_elsewhere() -> None:
    """On another port, with another secret: what is found is found anew at each attempt."""
    offline, online = threading.Event(), threading.Event()
    with serving("--secret", "the first of two secrets, long enough") as first:
        room = meshsync.connect("lab", url="emulator", name="ada")
        room.messaging.on("disconnected", lambda event: offline.set())
        room.messaging.on("reconnected", lambda event: online.set())
        room.messaging.enable()
        first.stop()
        assert offline.wait(PATIENCE)
    with room, serving("--secret", "the second of two secrets, long enough") as second:
        room.reconnect_now()
        assert online.wait(PATIENCE)
        assert (second.port != first.port, room.room_url) == (True, f"{second.url}/rooms/lab")


def test_simulation_says_that_it_has_no_emulator() -> None:
    """A run would depend on what runs beside it."""
    with Simulation(7), pytest.raises(UsageError, match="which a simulation does not reach"):
        meshsync.connect("lab", url="emulator", name="ada")


# --- what serve leaves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_of_an_emulator_that_was_ended(places: Path, number: int) -> None:
    """By Ctrl-C, by a service manager, with its terminal."""
    with serving() as served:
        assert len(find_emulators()) == 1
        assert served.stop(number) == ""
        assert find_emulators() == ()
    assert list(places.iterdir()) == []


def test_killed_emulator_is_found_no_more_and_the_next_removes_its_file(places: Path) -> None:
    """Neither is in the way of the next one."""
    with serving() as killed:
        killed.stop(signal.SIGKILL)
    (left,) = places.iterdir()
    with pytest.raises(RoomUnavailable, match="there is none"):
        meshsync.connect("lab", url="emulator", name="ada")
    with serving() as served:
        assert [found.url for found in find_emulators()] == [served.url]
        assert not left.exists()


def test_without_a_place_serve_goes_on_with_one_warning(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runtime directory, no home, and another user's directory among the temporary files."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/nowhere")
    (places.parent / f"{places.name}-{os.geteuid()}").touch()
    with serving("--log-level", "warning") as served:
        token = ParticipantToken.for_room("lab", "ada").encode(served.line["secret"])
        with meshsync.connect("lab", url=served.url, token=token) as room:
            assert room.is_connected
        errors = served.stop()
    warning = f'the emulator at {served.url} serves, but is not found by url="emulator": /nowhere/{places.name}: '
    assert (errors.count("\n"), warning in errors) == (1, True)
    assert f"{places.name}-{os.geteuid()}: it is no directory" in errors


# --- from a shell -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("places", "hosted")
def test_shell_gets_the_variables_of_the_emulator_that_runs() -> None:
    """Its programs join there without knowing of it, whatever was set before."""
    with serving("--secret", "it's a secret with $blanks and more than 32 bytes") as served:
        done = subprocess.run(
            ["sh", "-c", 'set -eu; eval "$("$0" -m simulator env)"; exec "$0" -c "$1"', sys.executable, JOIN],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=os.environ | {"SHELL": "/bin/sh"},
        )
    assert (done.stdout, done.stderr) == (f"ada {served.url}/rooms/lab\n", "")


@pytest.mark.usefixtures("places")
def test_language_follows_the_users_shell_and_can_be_chosen() -> None:
    """The first line of each tells it."""
    with serving():
        assert run_simulator("env", SHELL="/bin/bash")[1].startswith("unset MESHAGENT_TOKEN\n")
        assert run_simulator("env", SHELL="/usr/bin/fish")[1].startswith("set -e MESHAGENT_TOKEN;\n")
        assert run_simulator("env", "--shell", "powershell")[1].startswith("Remove-Item Env:MESHAGENT_TOKEN ")


@pytest.mark.usefixtures("places")
def test_shell_without_an_emulator_gets_a_sentence_and_no_lines() -> None:
    """``eval`` of nothing does nothing."""
    status, out, errors = run_simulator("env")
    assert (status, out) == (1, "")
    assert errors == (
        "simulator: no emulator of this user runs on this machine: start one with 'python -m simulator serve'\n"
    )


@pytest.mark.usefixtures("places")
def test_shell_waits_for_an_emulator_that_is_being_started() -> None:
    """As a script has to that starts it in the background."""
    waiting = start(run_simulator, "env", "--shell", "posix", "--wait", "30")
    with serving() as served:
        status, out, errors = waiting.result(PATIENCE)
    assert (status, f"http://127.0.0.1:{served.port}\n" in out, errors) == (0, True, "")
    assert run_simulator("env", "--wait", "0.01")[0] == 1


@pytest.mark.usefixtures("places")
def test_one_of_several_is_chosen_for_a_shell_by_its_port() -> None:
    """Without one, the error lists them."""
    with serving() as first, serving() as second:
        status, out, errors = run_simulator("env", "--shell", "posix")
        assert (status, out, f"(--port {first.port})" in errors) == (1, "", True)
        out = run_simulator("env", "--shell", "posix", "--port", str(second.port))[1]
    assert f"export MESHAGENT_API_URL=http://127.0.0.1:{second.port}\n" in out


# --- one command ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("places", "hosted")
def test_command_joins_the_emulator_that_runs() -> None:
    """With the command's exit status and output, and none of the user's variables for another service."""
    with serving() as served:
        status, out, errors = run_simulator("exec", "--join", "--", sys.executable, "-c", f"{JOIN}\nsys.exit(3)")
    assert (status, out, errors) == (3, f"ada {served.url}/rooms/lab\n", "")


@pytest.mark.usefixtures("places")
def test_command_joins_the_one_at_a_port() -> None:
    """Before the command and its ``--``, among which ``--join`` and ``--port`` are the command's own."""
    show = "import os, sys; print(os.environ['MESHAGENT_API_URL'], *sys.argv[1:])"
    with serving(), serving() as second:
        port = str(second.port)
        done = run_simulator("exec", "--join", "--port", port, "--", sys.executable, "-c", show, "--", "--join")
    assert done == (0, f"http://127.0.0.1:{port} -- --join\n", "")


@pytest.mark.parametrize("options", [["--secret", "x"], ["--host", "127.0.0.1"], ["-v"], ["--max-rooms", "1"]])
def test_options_of_an_emulator_make_no_sense_for_one_that_runs(options: list[str]) -> None:
    """Status 2; the option is named, in its long form. An emulator is not looked for."""
    status, out, errors = run_simulator("exec", "--join", *options, "--", "true")
    assert (status, out) == (2, "")
    name = {"-v": "--verbose"}.get(options[0], options[0])
    assert f'Error: {name}: the emulator that --join joins has its own; give it to "serve"\n' in errors


@pytest.mark.usefixtures("places")
def test_without_an_emulator_the_command_is_not_run() -> None:
    """One sentence, and status 1."""
    status, out, errors = run_simulator("exec", "--join", "--", sys.executable, "-c", "print('ran')")
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("simulator: no emulator of this user runs on this machine")


def test_emulator_of_a_command_is_found_by_the_command_alone(places: Path) -> None:
    """Even if another runs; so a program that asks for a running one can be run in rooms of its own."""
    with serving() as served:
        status, out, errors = run_simulator("exec", "--", sys.executable, "-c", JOIN, "emulator")
        assert len(list(places.iterdir())) == 1
    assert (status, out.startswith("ada ws://127.0.0.1:"), served.url in out, errors) == (0, True, False, "")


@pytest.mark.usefixtures("places")
def test_program_under_test_finds_the_emulator_of_its_test_alone(emulator: Emulator) -> None:
    """Though its author has another one running."""
    with serving(), meshsync.connect("lab", url="emulator", name="ada") as room:
        assert room.room_url == f"{emulator.url}/rooms/lab"


def test_emulators_of_programs_are_found_by_no_others(places: Path) -> None:
    """They leave no file."""
    with Emulator():
        assert find_emulators() == ()
    assert not places.exists()


# --- whether it answers -----------------------------------------------------------------------------------------------


def test_answer_tells_an_emulator_from_what_else_listens() -> None:
    """Where nothing listens is none; where something else does, or nothing answers, it is not known."""
    system = System()
    with Emulator() as emulator:
        url = emulator.url
        assert system.answers(url) is True
    assert system.answers(url) is False
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = start(system.answers, f"ws://127.0.0.1:{other.getsockname()[1]}")
        connection, _ = other.accept()
        with connection:
            connection.sendall(b"SSH-2.0-something\r\n")
            assert found.result(PATIENCE) is None
