"""Published SDK releases, each in a virtual environment of its own that is made once and found again.

The environments lie in the directory that ``MESHSYNC_RELEASES`` names, else under ``.tox``. Their names are made of
what went into them, so that a changed requirement makes a new one and nothing else does.

    python -m tests.interop.releases        makes those of every release of the table
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import interpreters

ROOT = Path(__file__).parents[2]


class InterpreterMissing(Exception):
    """This machine has no interpreter of the version that a release is run on."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release of ``meshagent-api`` and what it takes to run it."""

    version: str
    python: tuple[int, int]
    """The minor version it runs on."""
    undeclared: tuple[str, ...] = ()
    """Packages it imports and does not ask for."""

    @property
    def requirements(self) -> list[str]:
        """Return what pip has to install."""
        return [f"meshagent-api=={self.version}", *self.undeclared]

    def __str__(self) -> str:
        return self.version


RELEASES = {
    release.version: release
    for release in (
        Release("0.0.21", (3, 11)),
        Release("0.29.4", (3, 13), undeclared=("pyyaml", "opentelemetry-exporter-otlp")),
    )
}
"""The releases that the tests run, by version."""


def cache_directory() -> Path:
    """Return where the environments are kept."""
    return Path(os.environ.get("MESHSYNC_RELEASES") or ROOT / ".tox" / "releases")


def python_of(release: Release) -> Path:
    """Return the interpreter of a release's environment, made now if it is not there.

    Raises:
        InterpreterMissing: If the release's Python is not on this machine; nothing was made.
        RuntimeError: If the installation failed, with pip's output; nothing was left behind.
    """
    interpreter = interpreters.available().get(release.python)
    if interpreter is None:
        wanted = ".".join(map(str, release.python))
        raise InterpreterMissing(f"SDK {release} needs Python {wanted}, which is not on this machine")
    ingredients = [*release.requirements, str(interpreter.resolve())]
    fingerprint = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:12]
    environment = cache_directory() / f"{release}-{fingerprint}"
    if not environment.is_dir():
        _make(environment, interpreter, release.requirements)
    return _python_in(environment)


def _make(environment: Path, interpreter: Path, requirements: list[str]) -> None:
    """Make an environment beside its place and move it there complete: nobody ever finds half of one."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    unfinished = environment.with_name(f"{environment.name}.{os.getpid()}")
    try:
        _run([str(interpreter), "-m", "venv", str(unfinished)])
        _run([str(_python_in(unfinished)), "-m", "pip", "install", "--quiet", *requirements])
        unfinished.rename(environment)
    except OSError:
        if not environment.is_dir():  # otherwise somebody else has made it meanwhile
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _python_in(environment: Path) -> Path:
    directory, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return environment / directory / name


if __name__ == "__main__":
    for each in RELEASES.values():
        print(each, python_of(each), flush=True)
