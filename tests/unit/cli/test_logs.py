"""The log of serve and exec as it is printed, and docs/logging.md, whose examples are what is printed."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.cli.logs import JsonFormatter, Printer, TextFormatter, has_colours
from tests.unit.cli.test_main import PATIENCE, ROOT, finish, python, run, start, status_of

posix = pytest.mark.skipif(os.name != "posix", reason="descriptors and terminals of POSIX")

PAGE = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")


def record(text: str, level: int = logging.INFO, *values: object, **members: Any) -> logging.LogRecord:
    """Return a record of noon on the first day of 1970, UTC."""
    made = logging.LogRecord("simulator.emulator", level, __file__, 1, text, values, None)
    made.created, made.msecs = 43200.25, 250.0
    vars(made).update(members)
    return made


# --- the form of a line -----------------------------------------------------------------------------------------------


def test_a_line_for_people() -> None:
    """Date, time, level and sentence; what would break the line, or colour it, is escaped."""
    line = TextFormatter(has_colours=False).format(record("lab: %s arrives", logging.INFO, "a\nb\x1b[31m"))
    assert re.fullmatch(r"1970-01-0[12] \d\d:\d\d:00\.250 INFO    lab: a\\nb\\x1b\[31m arrives", line)


@pytest.mark.parametrize(
    ("level", "event", "colour"),
    [
        (logging.INFO, "arrived", "\x1b[32m"),
        (logging.INFO, "refused", "\x1b[33m"),
        (logging.WARNING, "refused", "\x1b[33m"),
        (logging.ERROR, "arrived", "\x1b[31m"),
        (logging.INFO, "other", ""),
    ],
)
def test_a_line_in_colours(level: int, event: str, colour: str) -> None:
    """By the event, or by the level where that is more than INFO."""
    line = TextFormatter(has_colours=True).format(record("text", level, event=event))
    assert line.endswith(f"{colour}text\x1b[0m")


def test_a_failure_has_its_traceback() -> None:
    """In lines of its own, each escaped; in JSON as one member."""
    try:
        raise ValueError("a\x1bb")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    lines = TextFormatter(has_colours=False).format(failed).splitlines()
    assert (lines[1], lines[-1]) == ("Traceback (most recent call last):", r"ValueError: a\x1bb")
    assert json.loads(JsonFormatter().format(failed))["trace"].splitlines()[-1] == "ValueError: a\x1bb"


def test_a_line_for_programs() -> None:
    """Time in UTC, level, event, its members as they are, and the sentence; what is no JSON is shown as text."""
    line = JsonFormatter().format(
        record("%s", logging.INFO, "a\nb", event="left", participant="a\nb\ud800", x=Path("y"))
    )
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T12:00:00.250Z",
        "level": "info",
        "event": "left",
        "participant": "a\nb\ud800",
        "x": "y",
        "text": r"a\nb",
    }
    assert json.loads(JsonFormatter().format(record("text")))["event"] == "other"


@pytest.mark.parametrize(
    ("is_terminal", "environment", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": ""}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_who_gets_colours(is_terminal: bool, environment: dict[str, str], expected: bool) -> None:
    """A terminal, unless NO_COLOR says no; FORCE_COLOR is for pipes."""
    assert has_colours(is_terminal, environment) is expected


# --- the way out ------------------------------------------------------------------------------------------------------


class Pipe:
    """A pipe in the place of standard error, of which as much is read as a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reading, writing = os.pipe()
        self.file = os.fdopen(writing, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", self.file)

    def read_all(self) -> list[str]:
        """Return the lines that are written until the other end is closed."""
        with os.fdopen(self.reading, encoding="utf-8") as file:
            return file.read().splitlines()


def printer(capacity: int = 10_000) -> Printer:
    """Return a printer of bare sentences."""
    made = Printer(is_coloured=False, capacity=capacity)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


@posix
def test_a_pipe_that_is_not_read_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte into a pipe of 64 KiB: `emit` returns, and what is missing is counted once there is room."""
    pipe, prints, found = Pipe(monkeypatch), printer(capacity=100), list[str]()
    for number in range(1000):
        prints.emit(record(f"{number} {'x' * 1024}"))
    reader = threading.Thread(target=lambda: found.extend(pipe.read_all()))
    reader.start()
    while not prints._lines.empty():
        pass
    prints.emit(record("end"))
    prints.close()
    pipe.file.close()
    reader.join(PATIENCE)

    assert found[-1] == "end"
    notes = [int(line.split()[0]) for line in found if line.endswith("standard error was not read")]
    numbers = [int(line.split()[0]) for line in found if line.endswith("xxx")]
    assert notes
    assert numbers == sorted(set(numbers))
    assert len(numbers) + sum(notes) == 1000


@posix
def test_a_pipe_that_is_closed_ends_the_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception reaches the emulator, and nothing is printed any more."""
    pipe = Pipe(monkeypatch)
    os.close(pipe.reading)
    prints = printer()
    for _ in range(10):
        prints.emit(record("lost"))
    prints.close()
    with pytest.raises(BrokenPipeError):
        os.write(pipe.file.fileno(), b"as it was")


@posix
def test_a_pipe_that_does_not_block_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a parent may leave it: 200 KiB through 64 KiB of buffer, in order."""
    pipe = Pipe(monkeypatch)
    os.set_blocking(pipe.file.fileno(), False)
    with pytest.raises(BlockingIOError):  # It does not, indeed.
        for _ in range(1000):
            os.write(pipe.file.fileno(), bytes(65536))
    prints = printer()
    for number in range(200):
        prints.emit(record(f"{number:4} {'x' * 1019}"))
    wanted, found = 200 * 1025, b""
    while len(found.replace(b"\0", b"")) < wanted:
        found += os.read(pipe.reading, 65536)
    lines = found.replace(b"\0", b"").splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(200))
    prints.close()


# --- as a user runs it ------------------------------------------------------------------------------------------------


@posix
def test_a_log_under_head_ends_quietly() -> None:
    """`serve 2>&1 | head -1`: rooms are served on, the status is 0, and nothing complains."""
    process = start("serve", "--json", "--port", "0", "--log-level", "debug")
    assert process.stdout is not None and process.stderr is not None
    url = json.loads(process.stdout.readline())["url"]
    process.stderr.close()
    for _ in range(3):
        assert status_of(url, Origin="http://evil.example") == 403
    assert status_of(url) == 200
    process.send_signal(signal.SIGTERM)
    assert (process.wait(PATIENCE), process.stdout.read()) == (0, "")
    process.stdout.close()


@posix
def test_a_closed_standard_error_is_no_failure() -> None:
    """`serve 2>&-`, and what would be printed there is nowhere else either."""
    command = [sys.executable, "-m", "simulator", "serve", "--json", "--port", "0"]
    script = " ".join(f"'{part}'" for part in command) + " 2>&-"
    with subprocess.Popen(["sh", "-c", f"exec {script}"], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert status_of(url, Origin="http://evil.example") == 403
        process.send_signal(signal.SIGTERM)
        assert (process.wait(PATIENCE), process.stdout.read()) == (0, "")


@posix
@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours(variables: dict[str, str], is_coloured: bool) -> None:
    """A real one, with serve behind it."""
    import pty

    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | variables
    environment.pop("NO_COLOR" if is_coloured else "FORCE_COLOR", None)
    command = [sys.executable, "-m", "simulator", "serve", "--json", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        assert process.stdout is not None
        assert status_of(json.loads(process.stdout.readline())["url"], Origin="http://evil.example") == 403
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    shown = "".join(drained(ours))
    assert "evil.example" in shown
    assert ("\x1b[33m" in shown) is is_coloured


def drained(descriptor: int) -> Iterator[str]:
    """Yield what a terminal was sent until its other end was closed, and close it."""
    try:
        while data := os.read(descriptor, 4096):
            yield data.decode()
    except OSError as error:
        if error.errno != errno.EIO:  # Linux's word for the end.
            raise
    finally:
        os.close(descriptor)


JOIN = """
    import os, meshsync
    with meshsync.connect("lab", name="ada\\n\\x1b[31m") as ada:
        ada.messaging.enable()
        ada.messaging.broadcast_message("news", {"x": 1})
        print(os.environ["MESHAGENT_API_URL"])
"""


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ([], []),
        (["--log-level", "error"], []),
        (["-v"], ["INFO"]),
        (["--log-level", "info"], ["INFO"]),
        (["--log-level", "debug"], ["DEBUG", "INFO"]),
        (["--log-level", "warning", "-v"], []),
    ],
    ids=" ".join,
)
def test_levels_of_exec(options: list[str], levels: list[str]) -> None:
    """Nothing but warnings, of which there are none, unless it is asked for; one line a record, whatever the names."""
    status, _, errors = run("exec", *options, *python(JOIN))
    assert status == 0
    assert sorted({line.split()[2] for line in errors.splitlines()}) == levels
    assert "\x1b" not in errors


def test_json_log_is_json_and_has_no_token() -> None:
    """Each line; standard output has nothing of it, and no line has a token or the secret."""
    program = JOIN + "    print(json.dumps(dict(os.environ)))\n".replace("json", "__import__('json')")
    status, out, errors = run("exec", "--json-log", "--log-level", "debug", *python(program))
    assert status == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["event"] for line in lines] == ["arrived", "request", "request", "message", "left"]
    assert {line["participant"] for line in lines} == {"ada\n\x1b[31m"}
    assert "eyJ" not in errors
    assert json.loads(out.splitlines()[1])["MESHAGENT_SECRET"] not in errors


def test_there_is_no_such_level() -> None:
    """A usage error, with the option and the levels that there are."""
    status, _, errors = run("serve", "--log-level", "loud")
    assert status == 2
    assert "'--log-level'" in errors
    assert all(level in errors for level in ("debug", "info", "warning", "error"))


# --- docs/logging.md --------------------------------------------------------------------------------------------------

VARIES = [
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"stream [0-9a-f]{8}\b", "stream ID"),
    (r"\b\d+ bytes", "SIZE bytes"),
    (r"request \d+", "request N"),
]


def masked(text: str) -> list[str]:
    """Return the lines with a word in the place of all that differs between two runs."""
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text.splitlines()


def blocks(kind: str) -> list[str]:
    """Return the page's blocks of code of a language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """Return the command that runs the page's first program."""
    path = tmp_path / "program.py"
    path.write_text(blocks("python")[0], encoding="utf-8")
    return ["--", sys.executable, str(path)]


def test_the_page_shows_what_is_printed(program: list[str]) -> None:
    """At DEBUG the line of the message; and the objects among those of --json-log. What INFO shows is run as a page."""
    debug = blocks("text")[1]
    assert masked(debug)[0] in masked(run("exec", "--log-level", "debug", *program)[2])
    objects = masked(run("exec", "--json-log", "-v", *program)[2])
    assert [line for line in masked(blocks("json")[0]) if line not in objects] == []


def test_the_page_shows_a_refusal() -> None:
    """Of a page that may not connect."""
    process = start("serve", "--json", "--port", "0")
    assert process.stdout is not None
    assert status_of(json.loads(process.stdout.readline())["url"], Origin="http://evil.example") == 403
    process.terminate()
    assert masked(finish(process)[2]) == masked(blocks("text")[2])


def test_the_page_names_the_events_and_members_that_there_are() -> None:
    """Those of the emulator's sources, each in the table."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "simulator" / "emulator").glob("*.py"))
    events = set(re.findall(r'"event": "(\w+)"|_write\("(\w+)"|write\("(\w+)"|\("(stream_\w+)", "', text))
    named = {name for names in events for name in names if name} | {"other"}
    table = PAGE.partition("| `event` | level |")[2].partition("\n\n")[0]
    listed = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == listed
