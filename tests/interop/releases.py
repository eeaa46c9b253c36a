"""Published SDK releases, each in an environment of its own that is made once and found again.

The environments lie in the directory that ``MESHSYNC_RELEASES`` names, else under ``.tox``. Their names are made of
what went into them, so that a changed requirement makes a new one and nothing else does.

    python -m tests.interop.releases                 makes those of every release that `chosen` returns
    python -m tests.interop.releases 0.12.0 0.53.4   makes those of these releases, of the table or not
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tools import interpreters

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


class InterpreterMissing(Exception):
    """This machine has nothing that could run a release."""


class Streams(Enum):
    """What kind of streams a release has. Source: PROTOCOL section 1."""

    NONE = "none"
    ONE_WAY = "classic, written by the opener alone"
    BOTH_WAYS = "classic, written from both ends"
    DUPLEX = "duplex calls"


@dataclass(frozen=True, slots=True)
class Release(ABC):
    """One published release and what it takes to run it."""

    version: str

    @property
    def number(self) -> tuple[int, ...]:
        """The version, for comparing."""
        return tuple(map(int, self.version.split(".")))

    @property
    @abstractmethod
    def streams(self) -> Streams:
        """The streams that it has."""

    @property
    @abstractmethod
    def reconnects(self) -> bool:
        """Whether it comes back after its TCP connection was lost. Source: PROTOCOL section 10."""

    @property
    @abstractmethod
    def ingredients(self) -> list[str]:
        """All that its environment depends on.

        Raises:
            InterpreterMissing: If nothing here can run it.
        """

    @abstractmethod
    def install(self, environment: Path) -> None:
        """Make its environment at a path where there is nothing."""

    @abstractmethod
    def command(self, environment: Path) -> list[str]:
        """Return what starts its peer program, in an environment that was made."""

    def __str__(self) -> str:
        return self.version


@dataclass(frozen=True, slots=True)
class PythonRelease(Release):
    """A release of ``meshagent-api``."""

    python: tuple[int, int] = (3, 13)
    """The minor version it runs on."""
    undeclared: tuple[str, ...] = ()
    """Packages it imports and does not ask for."""
    relaxed: tuple[str, ...] = ()
    """Packages it asks for in a version that package indexes lack, and of which any version does."""

    @property
    def streams(self) -> Streams:
        if self.number < (0, 9, 0):
            return Streams.ONE_WAY
        if self.number < (0, 35, 7):
            return Streams.BOTH_WAYS
        return Streams.NONE if self.number < (0, 47, 1) else Streams.DUPLEX

    @property
    def reconnects(self) -> bool:
        return self.number >= (0, 38, 0)

    @property
    def interpreter(self) -> Path:
        """The Python that runs it.

        Raises:
            InterpreterMissing: If there is none here.
        """
        found = interpreters.available().get(self.python)
        if found is None:
            wanted = ".".join(map(str, self.python))
            raise InterpreterMissing(f"SDK {self} needs Python {wanted}, which is not on this machine")
        return found

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"meshagent-api=={self.version}"

    @property
    def ingredients(self) -> list[str]:
        relaxed = [f"any {package}" for package in self.relaxed]
        return [self.requirement, *self.undeclared, *relaxed, str(self.interpreter.resolve())]

    def install(self, environment: Path) -> None:
        _run([str(self.interpreter), "-m", "venv", str(environment)])
        python = str(_python_in(environment))
        pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
        if not self.relaxed:
            _run([*pip, self.requirement, *self.undeclared])
            return
        _run([*pip, "--no-deps", self.requirement])
        asked = _run([python, "-c", "import importlib.metadata as m; print(*m.requires('meshagent-api'), sep='\\n')"])
        names = {line: re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in asked.splitlines()}
        wanted = [name if name in self.relaxed else line for line, name in names.items()]
        _run([*pip, *wanted, *self.undeclared])

    def command(self, environment: Path) -> list[str]:
        return [str(_python_in(environment)), str(HERE / "official_peer.py")]


@dataclass(frozen=True, slots=True)
class TypeScriptRelease(Release):
    """A release of ``@meshagent/meshagent``, run by node."""

    @property
    def streams(self) -> Streams:
        """None: the published ones are too new for classic streams and too old for others."""
        return Streams.NONE

    @property
    def reconnects(self) -> bool:
        return self.number > (0, 37, 0)

    @property
    def ingredients(self) -> list[str]:
        if not (shutil.which("node") and shutil.which("npm")):
            raise InterpreterMissing(f"SDK {self} needs node and npm, which are not on this machine")
        return [f"@meshagent/meshagent@{self.version}", _run(["node", "--version"]).strip()]

    def install(self, environment: Path) -> None:
        environment.mkdir()
        (environment / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        _run(["npm", "install", *quiet, "--prefix", str(environment), f"@meshagent/meshagent@{self.version}"])

    def command(self, environment: Path) -> list[str]:
        return ["node", str(HERE / "official_peer.mjs"), str(environment)]

    def __str__(self) -> str:
        return f"ts-{self.version}"


_YAML = ("pyyaml",)

RELEASES: dict[str, Release] = {
    str(release): release
    for release in (
        PythonRelease("0.0.21", (3, 11)),
        PythonRelease("0.8.4"),
        PythonRelease("0.29.4", undeclared=(*_YAML, "opentelemetry-exporter-otlp")),
        PythonRelease("0.31.4", undeclared=_YAML),
        PythonRelease("0.35.6", undeclared=_YAML),
        PythonRelease("0.38.0"),
        PythonRelease("0.46.4"),
        PythonRelease("0.48.0"),
        # It asks for a certifi of 2026.10.19 or later, which was not to be had a month after that day.
        PythonRelease("0.56.0", relaxed=("certifi",)),
        TypeScriptRelease("0.39.9"),
    )
}
"""The releases that the full form of the tests runs, by name."""

SHORT = ("0.0.21", "0.35.6", "0.56.0", "ts-0.39.9")
"""Those of the short form: the oldest, one between, the newest, and the other language."""


def find(name: str) -> Release:
    """Return the release of that name, of the table or not, such as ``0.12.0`` or ``ts-0.35.8``."""
    if name in RELEASES:
        return RELEASES[name]
    if name.startswith("ts-"):
        return TypeScriptRelease(name.removeprefix("ts-"))
    # What one or another of the table needs harms none.
    return PythonRelease(name, undeclared=(*_YAML, "opentelemetry-exporter-otlp"), relaxed=("certifi",))


def chosen() -> list[str]:
    """Return the names of the releases to run, which ``MESHSYNC_INTEROP`` says.

    ``full``, which is the default, ``short``, or names with commas between.
    """
    wanted = os.environ.get("MESHSYNC_INTEROP") or "full"
    forms = {"full": tuple(RELEASES), "short": SHORT}
    return list(forms[wanted] if wanted in forms else (name.strip() for name in wanted.split(",")))


def cache_directory() -> Path:
    """Return where the environments are kept."""
    return Path(os.environ.get("MESHSYNC_RELEASES") or ROOT / ".tox" / "releases")


def environment_of(release: Release) -> Path:
    """Return the environment of a release, made now if it is not there.

    Raises:
        InterpreterMissing: If nothing on this machine can run the release; nothing was made.
        RuntimeError: If the installation failed, with the installer's output; nothing was left behind.
    """
    fingerprint = hashlib.sha256("\n".join(release.ingredients).encode()).hexdigest()[:12]
    environment = cache_directory() / f"{release}-{fingerprint}"
    if not environment.is_dir():
        _make(environment, release)
    return environment


def python_of(release: Release) -> Path:
    """Return the interpreter of a Python release's environment, made now if it is not there.

    Raises: as `environment_of`.
    """
    return _python_in(environment_of(release))


def _make(environment: Path, release: Release) -> None:
    """Make an environment beside its place and move it there complete: nobody ever finds half of one."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    unfinished = environment.with_name(f"{environment.name}.{os.getpid()}")
    try:
        release.install(unfinished)
        unfinished.rename(environment)
    except OSError:
        if not environment.is_dir():  # otherwise somebody else has made it meanwhile
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


_INSTALLING = 300.0
"""Seconds after which an installation has failed: without a network some tools try for half an hour."""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALLING)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} took longer than {_INSTALLING:g} s: is the registry there?") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _python_in(environment: Path) -> Path:
    directory, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return environment / directory / name


def main(names: list[str]) -> None:
    """Make the environments of these releases, two at a time, and say where they are."""

    def make(name: str) -> str:
        begun = time.monotonic()
        try:
            return f"{name}: {environment_of(find(name))}, after {time.monotonic() - begun:.0f} s"
        except InterpreterMissing as missing:
            return f"{name}: left out: {missing}"

    with ThreadPoolExecutor(2) as workers:
        for line in workers.map(make, names):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or chosen())
