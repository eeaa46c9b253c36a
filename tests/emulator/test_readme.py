"""What README.md has on two agents, as it stands there but for the installation, which is for tools/first_minute.py."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.finding import places
from tests.support.pages import Step, read_blocks, run_steps

__all__ = ["places"]

ROOT = Path(__file__).parents[2]
BLOCKS = read_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
INSTALLED = ". .venv/bin/activate\n"


@pytest.mark.parametrize("name", ["examples/bot.py", "examples/alice.py"])
def test_the_examples_are_those_that_are_shown(name: str) -> None:
    """A docstring is all that they have besides."""
    (shown,) = [block.text for block in BLOCKS if block.file == name]
    docstring, _, program = (ROOT / name).read_text(encoding="utf-8").partition("\n\n")
    assert docstring.startswith('"""')
    assert program == shown


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="numbers of jobs, as bash has them")
@pytest.mark.usefixtures("places")
def test_two_agents_talk(tmp_path: Path) -> None:
    """Alice is told what she said, and both the bot and the service end as they are told to."""
    (block,) = [block for block in BLOCKS if INSTALLED in block.text]
    files = "".join(
        f"mkdir -p examples && cp {ROOT / name} {name}\n" for name in ("examples/bot.py", "examples/alice.py")
    )
    script = block.text.replace(INSTALLED, files).replace("'", "'\\''")
    (printed,) = run_steps([Step(f"bash -euc '{script}wait'", block.output)], tmp_path / "checkout")
    assert printed.strip() == str(block.output).strip()
