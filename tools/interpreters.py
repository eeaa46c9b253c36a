"""Find the Python interpreters of this machine, on PATH or under a version manager.

Version managers put shims on PATH, small programs named ``python3.12`` that may refuse to start one. So no name is
trusted: each candidate is run and prints its version. Used by ``.ci/run``, for tox, and by the interop tests.

    python -m tools.interpreters        prints a value for TOX_DISCOVER: paths, separated by commas
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

NAME = re.compile(r"python3\.(\d+)(\.exe)?")
"""An executable whose name has its minor version."""
OLDEST = (3, 10)
"""The oldest version this project supports."""
QUESTION = "import sys; print(sys.implementation.name, *sys.version_info[:3])"


def directories(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the directories in which interpreters may lie: version managers first, then PATH."""
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    roots = [
        (Path(environ.get("PYENV_ROOT") or home / ".pyenv"), "versions/*/bin"),
        (Path(environ.get("ASDF_DATA_DIR") or home / ".asdf"), "installs/python/*/bin"),
        (Path(environ.get("MISE_DATA_DIR") or data / "mise"), "installs/python/*/bin"),
        (Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"), "*/bin"),
    ]
    for root, pattern in roots:
        yield from sorted(root.glob(pattern), key=_natural, reverse=True)
    yield from (Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry)


def candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield every executable that might be an interpreter of a supported version, the likeliest first."""
    for entry in environ.get("TOX_DISCOVER", "").split(","):
        if entry.strip():
            yield Path(entry.strip())
    for directory in directories(environ):
        if directory.is_dir():
            names = (entry for entry in directory.iterdir() if NAME.fullmatch(entry.name))
            yield from sorted(names, key=_natural)


def ask(executable: Path) -> tuple[int, int, int] | None:
    """Return the version of a CPython that starts, or None for any other file, such as a shim that refuses."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", QUESTION], capture_output=True, text=True, timeout=20, check=True
        ).stdout.split()
        implementation, *numbers = answer
        major, minor, micro = map(int, numbers)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return (major, minor, micro) if implementation == "cpython" else None


def find(executables: Iterable[Path]) -> dict[tuple[int, int], Path]:
    """Return one working interpreter for each supported minor version: the first candidate that keeps its name."""
    found: dict[tuple[int, int], Path] = {}
    for executable in executables:
        named = NAME.fullmatch(executable.name)
        if named and ((3, int(named[1])) in found or int(named[1]) < OLDEST[1]):
            continue  # not even started: this version is here, or too old
        version = ask(executable)
        if version is not None and version >= OLDEST:
            found.setdefault(version[:2], executable)
    return dict(sorted(found.items()))


@functools.cache
def available() -> dict[tuple[int, int], Path]:
    """Return the interpreters of this machine by minor version; looked for once in a process."""
    return find([*candidates(os.environ), Path(sys.executable)])


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Return a sort key that puts 3.9 before 3.10, and is total."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


if __name__ == "__main__":
    print(",".join(str(path) for path in available().values()))
