"""``--record`` and its options, run as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import Transcript

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
"""Seconds."""

PROGRAM = """
import meshsync

with meshsync.connect("lab", name="ada") as ada:
    ada.messaging.enable()
    ada.messaging.send_message(ada.local_participant, "note", {"text": "hi", "password": "SWORDFISH"}, b"x" * 2000)
"""


def run(*arguments: str) -> tuple[int, str, str]:
    """Run ``python -m simulator`` with these arguments to its end."""
    command = [sys.executable, "-m", "simulator", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


def test_exec_records_what_its_command_says(tmp_path: Path) -> None:
    """A file for each room, without what was to be taken out, and attachments up to a size."""
    options = ["--record", str(tmp_path / "records"), "--redact", "message.password", "--record-attachments", "1KiB"]
    status, _, errors = run("exec", *options, "--", sys.executable, "-c", PROGRAM)
    assert (status, errors) == (0, "")
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["lab.jsonl"]
    loaded = Transcript.load(tmp_path / "records" / "lab.jsonl")
    (note,) = loaded.messages()
    assert note.detail == {"text": "hi", "password": "[redacted]"}
    assert note.attachment and not loaded.attachments
    assert loaded.is_complete


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_serve_says_where_it_records(tmp_path: Path) -> None:
    """And that it is everything."""
    command = [sys.executable, "-um", "simulator", "serve", "--port", "0", "--record", str(tmp_path / "records")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = next(line for line in lines if "written" in line)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert said == f"What happens in each room is written to {tmp_path / 'records'}, everything said included.\n"


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["--redact", "message.x"], 1, "simulator: --redact: it is about what --record DIR writes"),
        (["--record-attachments", "1KiB"], 1, "simulator: --record-attachments: it is about what --record DIR writes"),
        (["--record", "records", "--redact", "password"], 1, "simulator: --redact: a path begins with message, "),
        (["--record", "file"], 1, "simulator: --record: the directory file cannot be made: "),
        (["--record", "records", "--record-attachments", "big"], 2, "Error: Invalid value for '--record-attachments'"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], status: int, text: str
) -> None:
    """Named as typed, and nothing is served."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    given, out, errors = run("serve", "--port", "0", *options)
    assert (given, out, "Traceback" in errors) == (status, "", False)
    assert errors.splitlines()[-1].startswith(text)
