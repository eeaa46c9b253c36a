"""docs/emulator-faults.md, run as it is: its program, and its command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "emulator-faults.md").read_text(encoding="utf-8")
AGENT = """
import meshsync

with meshsync.connect("lab", name="ada") as room:
    room.messaging.enable()
    bot = room.messaging.wait_for_participant(name="bot", timeout=20)
    joe = room.messaging.wait_for_participant(name="joe", timeout=20)
    with room.messaging.messages(sender=bot) as answers:
        for number in range(3):
            room.messaging.send_message(bot, "ask", {"n": number}, timeout=20)
            print(answers.get(timeout=20).message)
    while joe.online:
        meshsync.sleep(0.01)
    try:
        room.messaging.create_stream(bot, {})
    except meshsync.StreamRejected as error:
        print("rejected:", error)
"""


def block(language: str) -> str:
    """Return the only block of code in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def run(*command: str, cwd: Path) -> str:
    """Run a command of the page and return what it prints; its errors fail the test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESHAGENT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        cwd=cwd,
        env=environment | {"PYTHONPATH": str(ROOT), "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    """It prints the bot's answer, the room, and both participants."""
    out = run(sys.executable, "-c", block("python"), cwd=tmp_path)
    assert out.startswith("{'text': 'are you there?'} ('lab',) (Occupant(")
    assert "name='bot', role='agent'" in out and "name='ada', role='user'" in out


def test_the_command_of_the_page_runs(tmp_path: Path) -> None:
    """An agent under its plan: three answers, joe has left after the second question, and a stream is rejected."""
    (tmp_path / "agent.py").write_text(AGENT)
    out = run("sh", "-c", block("sh"), cwd=tmp_path)
    assert out.splitlines() == ["{'n': 0}", "{'n': 1}", "{'n': 2}", "rejected: rejected"]
