"""The command line, run as a user runs it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from io import StringIO
from pathlib import Path

import pytest

import simulator.cli.demo
from simulator.cli.main import COMMANDS
from simulator.emulator import CLEARED, DEVELOPMENT_SECRET, Emulator

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 30.0
"""Seconds."""

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Run ``python -m simulator`` with these arguments."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESHAGENT_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit status, output and errors of a command that ends by itself."""
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, errors


def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    return finish(start(*arguments, **variables))


# --- serve ------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_one_line_of_json_and_ends_cleanly(number):
    """The line has what a program needs; Ctrl-C ends it with status 0 and without a traceback."""
    process = start("serve", "--json", "--port", "0")
    line = json.loads(process.stdout.readline())
    port = line["url"].rpartition(":")[2]

    process.send_signal(number)

    assert finish(process) == (0, "", "")
    assert set(line) == {"url", "room_url_template", "secret", "env"}
    assert line["url"] == f"ws://127.0.0.1:{port}"
    assert line["room_url_template"].format(room="lab") == f"ws://127.0.0.1:{port}/rooms/lab"
    assert line["env"]["MESHAGENT_API_URL"] == f"http://127.0.0.1:{port}"
    assert line["env"]["MESHAGENT_SECRET"] == line["secret"] == DEVELOPMENT_SECRET


@posix
def test_serve_prints_lines_for_a_shell():
    """What is printed between the address and the prompt can be given to a shell as it is, quotes included."""
    secret = "it's a secret with $blanks and more than 32 bytes"
    process = start("serve", "--port", "0", "--secret", secret)
    lines = [process.stdout.readline() for _ in range(10)]
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0

    assert lines[0].startswith("Rooms at ws://127.0.0.1:")
    script = "".join(line for line in lines if line.startswith(("export ", "unset ")))
    shown = subprocess.run(
        ["sh", "-c", script + 'printf %s "$MESHAGENT_SECRET|${MESHAGENT_TOKEN-none}"'],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env={"MESHAGENT_TOKEN": "of another service", "PATH": os.environ["PATH"]},
    )
    assert shown.stdout == f"{secret}|none"
    assert script.count("export ") == 5
    assert script.endswith(f"unset {' '.join(CLEARED)}\n")


def test_serve_on_a_taken_port_is_one_sentence():
    """No traceback: what is wrong, and what to do."""
    with Emulator() as emulator:
        status, out, errors = run("serve", "--port", str(emulator.port))

    assert (status, out) == (1, "")
    assert errors.startswith("simulator: cannot listen on 127.0.0.1")
    assert errors.endswith("; --port 0 picks a free one\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_port_that_is_none_is_a_usage_error(port):
    """Status 2, with the argument named."""
    status, _, errors = run("serve", f"--port={port}")
    assert (status, "--port" in errors) == (2, True)


@pytest.mark.parametrize("command", [["serve"], ["exec", "--", "true"]])
def test_missing_aiohttp_is_one_sentence(tmp_path, command):
    """It says what to install, for every command that needs it."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['aiohttp'] = None")
    status, _, errors = run(*command, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")

    assert (status, errors) == (1, "the emulator needs aiohttp: pip install 'meshsync-client[emulator]'\n")


def test_simulator_can_be_imported_without_aiohttp(tmp_path):
    """Only who asks for the emulator needs it."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['aiohttp'] = None")
    program = textwrap.dedent(
        """
        import simulator, meshsync.pytest_plugin, simulator.cli.main
        try:
            from simulator import Emulator
        except ImportError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert done.stdout == "the emulator needs aiohttp: pip install 'meshsync-client[emulator]'\n"


@pytest.mark.parametrize("arguments", [[], ["srve"]])
def test_no_command_is_a_usage_error(arguments):
    """Status 2 and the list of commands."""
    status, out, errors = run(*arguments)
    assert (status, out) == (2, "")
    assert ", ".join(COMMANDS) in errors


def test_every_command_has_help():
    """That of all has a line for each; each has its own, under the name by which it is called, as -h too."""
    status, out, _ = run("--help")
    assert status == 0
    assert re.findall(r"^  ([a-z-]+)  +[A-Z].+[.]$", out.partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)
    for name in COMMANDS:
        status, out, errors = run(name, "-h")
        assert (status, errors) == (0, "")
        assert out.startswith(f"Usage: python -m simulator {name} ")


def test_a_command_does_not_wait_for_what_another_one_needs(tmp_path):
    """To serve, nothing is imported that explores or simulates; the help of all imports neither nor aiohttp."""
    heavy = ["simulator.exploring", "simulator.simulation", "simulator.cli.programs"]
    program = f"""
        import sys
        from simulator.cli.main import main
        try:
            main(sys.argv[1:])
        except SystemExit:
            pass
        print([name for name in {heavy} if name in sys.modules], "aiohttp" in sys.modules)
    """
    seen = []
    for arguments in (["serve", "--max-message", "64KiB", "--max-rooms", "0"], ["--help"]):
        command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment)
        seen.append(done.stdout.splitlines()[-1])
    assert seen == ["[] True", "['simulator.cli.programs'] False"]


@posix
def test_ctrl_c_is_status_130(tmp_path):
    """Without a traceback and an empty line."""
    (tmp_path / "endless.py").write_text(
        "def program(sim):\n    print('begun', flush=True)\n    while True: sim.sleep(1)\n"
    )
    process = start("run", f"{tmp_path}/endless.py:program")
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "", "")


@posix
def test_serve_beyond_the_loopback_makes_a_secret_and_prints_it():
    """Among the lines for a shell, with a line that says so; another one for each run."""
    secrets = set()
    for _ in range(2):
        process = start("serve", "--port", "0", "--host", "0.0.0.0")
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGTERM)
        status, rest, errors = finish(process)
        assert (status, rest.strip(), errors) == (0, "", "")
        assert "secret was made for this run" in lines[-1]
        secrets.add(next(line for line in lines if line.startswith("export MESHAGENT_SECRET=")))
    assert len(secrets) == 2
    assert not any(DEVELOPMENT_SECRET in line for line in secrets)


@posix
def test_serve_to_everybody_with_the_secret_that_everybody_knows_is_warned_of():
    """Refused in one sentence; with --insecure it is done, and a warning printed."""
    status, _, errors = run("serve", "--port", "0", "--host", "0.0.0.0", "--secret", DEVELOPMENT_SECRET)
    assert (status, errors.count("\n"), "--insecure" in errors) == (1, 1, True)

    process = start("serve", "--json", "--port", "0", "--host", "0.0.0.0", "--insecure")
    assert json.loads(process.stdout.readline())["secret"] == DEVELOPMENT_SECRET
    process.send_signal(signal.SIGTERM)
    status, out, errors = finish(process)
    assert (status, out, errors.count("\n")) == (0, "", 1)
    assert errors.endswith("WARNING whoever can reach 0.0.0.0 may join every room: everybody knows the secret\n")


@posix
def test_serve_takes_limits_and_names_of_strangers():
    """Each reaches the emulator: a host that is let in, and one participant where two would like to be."""
    process = start(
        *["serve", "--json", "--port", "0", "--allow-host", "box", "--allow-origin", "https://app.example"],
        *["--max-connections", "1", "--max-rooms", "9", "--max-participants", "9", "--max-message", "64KiB"],
        *["--max-rate", "100", "--max-joins", "100", "--max-queue", "1MB", "--max-waiting", "9", "--memory", "1GiB"],
        *["--handshake", "5"],
    )
    url = json.loads(process.stdout.readline())["url"]
    assert status_of(url, Host="box", Origin="https://app.example") == 200
    assert status_of(url, Host="box", Origin="https://other.example") == 403
    assert status_of(url, Host="other") == 403
    process.send_signal(signal.SIGTERM)
    status, out, errors = finish(process)
    assert (status, out, errors.count("refused with status 403")) == (0, "", 2)


def status_of(url, **headers):
    """Return the status of the health of an emulator, asked with these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=PATIENCE)
    try:
        connection.request("GET", "/health", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@posix
def test_serve_logs_refusals():
    """Every kind has a line on standard error, unless only warnings are wanted."""
    for options, lines in (([], 1), (["--log-level", "warning"], 0), (["--log-level", "warning", "-v"], 0)):
        process = start("serve", "--json", "--port", "0", *options)
        assert status_of(json.loads(process.stdout.readline())["url"], Origin="http://evil.example") == 403
        process.send_signal(signal.SIGTERM)
        _, _, errors = finish(process)
        assert (errors.count("\n"), "http://evil.example" in errors) == (lines, lines > 0)


@pytest.mark.parametrize(
    ("option", "value", "status"),
    [
        ("--max-message", "5 loaves", 2),
        ("--memory", "lots", 2),
        ("--port", "http", 2),
        ("--max-rooms", "0", 1),
        ("--handshake", "-1", 1),
        ("--allow-origin", "app", 1),
        ("--allow-host", "a/b", 1),
        ("--secret", "", 1),
    ],
)
def test_option_that_makes_no_sense_is_named_as_typed(option, value, status):
    """Status 2 where it cannot be read, 1 where the emulator refuses it, in one sentence."""
    given, out, errors = run("serve", "--port", "0", option, value)
    assert (given, out, "Traceback" in errors) == (status, "", False)
    assert errors.splitlines()[-1].startswith(
        (f"Error: Invalid value for '{option}': ", f"simulator: {option}: ")[2 - status]
    )


@posix
@pytest.mark.parametrize("is_ignored", [False, True], ids=["terminal", "nohup"])
def test_serve_ends_with_its_terminal_unless_it_was_told_to_stay(is_ignored):
    """SIGHUP is as SIGTERM, and nothing under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        process = start("serve", "--json", "--port", "0")
    finally:
        signal.signal(signal.SIGHUP, before)
    url = json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGHUP)
    if is_ignored:
        assert status_of(url) == 200
        process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "", "")


# --- exec -------------------------------------------------------------------------------------------------------------


def python(program: str) -> list[str]:
    """Return a command that runs a program."""
    return ["--", sys.executable, "-c", textwrap.dedent(program)]


def test_exec_sets_the_environment_and_passes_on_the_status():
    """The command finds an emulator that listens; what would lead elsewhere is gone, the rest is left."""
    program = """
        import json, os, socket, sys
        port = int(os.environ["MESHAGENT_API_URL"].rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
        print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(("MESHAGENT_", "OTHER_"))}))
        sys.exit(7)
    """
    status, out, errors = run("exec", *python(program), MESHAGENT_TOKEN="x", MESHAGENT_ROOM="lab", OTHER_THING="kept")

    assert (status, errors) == (7, "")
    seen = json.loads(out)
    assert (seen.get("MESHAGENT_TOKEN"), seen["MESHAGENT_ROOM"], seen["OTHER_THING"]) == (None, "lab", "kept")
    assert seen["MESHAGENT_SECRET"] == DEVELOPMENT_SECRET


def test_exec_leaves_the_commands_arguments_alone():
    """Options, a second ``--`` and blanks are the command's, also where they look like ours."""
    status, out, _ = run("exec", "--port", "0", *python("import sys; print(sys.argv[1:])"), "--port", "x", "--", "a b")

    assert (status, out) == (0, "['--port', 'x', '--', 'a b']\n")


def test_exec_has_no_option_that_takes_the_border_for_its_value():
    """An option without its value is a usage error, and the command is not run."""
    status, out, errors = run("exec", "--secret", *python("print('run')"))
    assert (status, out, "--secret" in errors) == (2, "", True)


def test_exec_takes_a_secret():
    """Tokens of the command are signed with it."""
    secret = "a-secret-of-more-than-32-bytes-for-this-test"
    status, out, _ = run("exec", "--secret", secret, *python("import os; print(os.environ['MESHAGENT_API_KEY'])"))
    assert (status, out.strip().endswith(f"-{secret}")) == (0, True)


@posix
def test_exec_passes_signals_on():
    """A signal to us reaches the command, which decides what to do with it."""
    program = """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), sys.exit(3)))
        print("ready", flush=True)
        signal.pause()
    """
    process = start("exec", *python(program))
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)

    assert finish(process) == (3, "told\n", "")


@posix
def test_exec_tells_what_signal_ended_the_command():
    """128 and its number, as shells do, and no traceback of ours."""
    program = """
        import signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("ready", flush=True)
        signal.pause()
    """
    process = start("exec", *python(program))
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGINT)

    assert finish(process) == (128 + signal.SIGINT, "", "")


def test_exec_of_what_cannot_be_run_is_one_sentence(tmp_path):
    """Status 127 for what is not there, 126 for what is no program, as shells do."""
    (tmp_path / "file").write_text("")
    missing, plain = run("exec", "--", str(tmp_path / "missing")), run("exec", "--", str(tmp_path / "file"))

    assert [missing[0], plain[0]] == [127, 126]
    for _, _, errors in (missing, plain):
        assert (errors.startswith("simulator: cannot run "), errors.count("\n")) == (True, 1)


def test_exec_of_nothing_is_a_usage_error():
    """It asks which command."""
    status, _, errors = run("exec")
    assert (status, "which command?" in errors) == (2, True)


# --- demo -------------------------------------------------------------------------------------------------------------


def test_demo_shows_a_conversation(tmp_path):
    """Messages, an attachment, two streams, a fault and leaving; without aiohttp, plain text if it is no terminal."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['aiohttp'] = None")
    status, out, errors = run("demo", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")

    assert (status, errors) == (0, "")
    lines = [line[8:].strip() for line in out.splitlines()]
    for line in (
        "ada | joins; here already: bot, dora",
        "bot | gets the question 'how long is this?' from ada, and 3 bytes",
        "ada | gets the answer '3 bytes' from bot",
        "ada | sees that ben is now status: hungry",
        "bot | gets the announcement 'lunch at noon' from ben",
        "ben | is offered a stream of photos by ada, and reads it",
        "ben | gets photo 3, 20,000 bytes",
        "ben | has read the stream to its end",
        "ada | has closed the stream; the room has acknowledged all of it",
        "dora | is offered a stream by ada, and rejects it: in a call",
        "ada | is told StreamRejected: in a call",
        "network | the fault 'reset' strikes ben",
        "ben | is out: the connection broke: Connection reset by peer",
        "ada | sees that ben has left",
        "ben | sees that ada has left",
    ):
        assert lines.count(line) == 1, line
    assert "\x1b" not in out


def test_demo_is_the_same_whenever_a_seed_is_run():
    """Byte for byte, in any process and under any hash seed; the default is a seed like others, and seeds differ."""
    outputs = [run("demo", PYTHONHASHSEED=seed) for seed in ("0", "1")]
    outputs.append(run("demo", "--seed", "7", PYTHONHASHSEED="2"))
    other = run("demo", "--seed", "8")

    assert outputs[0] == outputs[1] == outputs[2]
    assert other[0] == 0
    assert other[1] != outputs[0][1]


def test_demo_ends_with_seed_and_digest():
    """And with the command that shows another run."""
    _, out, _ = run("demo", "--seed", "12")

    *_, summary, more = out.splitlines()
    assert re.fullmatch("Seed 12, digest [0-9a-f]{64}[.]", summary)
    assert more.endswith("python -m simulator demo --seed 8")


def test_demo_ends_quietly_when_nobody_reads_on():
    """As under ``head``: a pipe that is closed is no failure of an actor."""
    command = [sys.executable, "-m", "simulator", "demo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert (demo.stderr.read(), demo.wait()) == ("", 0)


@pytest.mark.parametrize("seed", range(5))
def test_times_of_the_demo_never_go_back(seed):
    """Whoever prints them, lines stand in the order of time."""
    out = StringIO()
    simulator.cli.demo.run(out, seed)

    times = [float(line[:7]) for line in out.getvalue().splitlines() if " | " in line]
    assert len(times) > 20
    assert times == sorted(times)
