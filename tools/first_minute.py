"""Do what README.md shows to a newcomer: from a clone to two agents that talk, in a fresh environment; take the time.

    python -m tools.first_minute

The commands are those of the README, but for the clone's address, which is this repository, and the tests. Exit status
1 if one fails, if the agents say anything else than is shown, or if there are more than ten lines to paste. It is to
take less than a minute; how long it takes on a machine that does other things too is told, and no fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.pages import fits, read_blocks

__all__ = ["lines_to_paste", "main"]

ROOT = Path(__file__).parents[1]
MOST_LINES = 10


def lines_to_paste(readme: str) -> tuple[list[str], str]:
    """Return the commands of the README that a newcomer pastes, the tests aside, and what is shown of their output."""
    blocks = [block for block in read_blocks(readme) if block.runs and block.language == "sh"]
    wanted = [block for block in blocks if "bin/tox" not in block.text]
    return "".join(block.text for block in wanted).splitlines(), wanted[-1].output or ""


def main() -> int:
    """Print what is done and how long it took, and return the exit status."""
    lines, shown = lines_to_paste((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [f"git clone --quiet {ROOT} meshsync && cd meshsync", *lines]
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "pasted.sh")
        script.write_text("set -eu\n" + "\n".join(lines) + "\nwait\n", encoding="utf-8")
        began = time.monotonic()
        # So that no other emulator of this machine is found.
        own = {"XDG_RUNTIME_DIR": directory, "XDG_CACHE_HOME": directory}
        done = subprocess.run(
            ["bash", str(script)],
            cwd=directory,
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        seconds = time.monotonic() - began
    print(*lines, sep="\n")
    last = "\n".join(done.stdout.splitlines()[-len(shown.splitlines()) :])
    faults = [
        fault
        for fault, is_so in {
            f"status {done.returncode}\n{done.stdout}\n{done.stderr}": done.returncode != 0,
            f"the agents say\n{last}\nand not\n{shown}": not fits(last, shown),
            f"more than {MOST_LINES} lines": len(lines) > MOST_LINES,
        }.items()
        if is_so
    ]
    print(f"{seconds:.1f} s, {len(lines)} lines", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
