"""Finding the emulators that run on this machine for this user, by the files that they leave in a private directory.

An emulator that serves writes down where it listens and what clients need to join it, a secret included. So only this
user may read the file, and what another user could have written is not believed. A file is

- *stale* if its process is gone: it is ignored, and the next emulator removes it;
- *foreign* if it, or its directory, belongs to another user or gives others any right, if it is no regular file, leads
  to another machine, or is not written as here: it is ignored and left alone.

Processes are told from later ones with the same id by their start times, where the system tells (``/proc``); else an
emulator has to answer at its address. Not the business of this module: connecting.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import platform
import re
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from meshsync.errors import UsageError

__all__ = ["RunningEmulator", "announce", "find_emulator", "find_emulators", "only"]

_log = logging.getLogger("meshsync.discovery")

ONLY = "MESHSYNC_EMULATOR"
"""The environment variable with the one emulator that a program may find."""
FORMAT = 1
"""The version of a file; others are ignored."""
_LARGEST = 65_536
"""Bytes; a larger file is none of an emulator."""
_UNFINISHED = 60.0
"""Seconds after which a file that was not finished belongs to an emulator that was killed while it wrote it."""
_PATIENCE = 3.0
"""Seconds that an emulator may take to answer; Windows needs two to notice that nothing listens at a port."""
_LARGEST_PID = 2**31 - 1
_YEAR_3000 = 32_503_680_000
"""Seconds since the Unix epoch; Windows shows no later times."""


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """An emulator that runs on this machine."""

    url: str
    """Its address, without a room, as ``ws://127.0.0.1:6374``."""
    pid: int
    """The id of its process."""
    started: float
    """When it began to serve, in seconds since the Unix epoch."""
    env: Mapping[str, str] = field(repr=False)
    """The environment variables that make clients connect to it: a secret is among them."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 0

    def __str__(self) -> str:
        """Return what tells it from others, without its secret."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started))
        return f"{self.url} (process {self.pid}, since {since})"


def find_emulators() -> tuple[RunningEmulator, ...]:
    """Return the emulators of this user that run on this machine, the oldest first."""
    return Registry(System()).find()


def find_emulator(port: int | None = None) -> RunningEmulator:
    """Return the emulator of this user that runs on this machine.

    Args:
        port: Of the one to choose; None if there is but one.
    Raises:
        UsageError: If there is none, or several, which it lists.
    """
    return choose(find_emulators(), port)


@contextmanager
def announce(url: str, env: Mapping[str, str]) -> Iterator[None]:
    """Let this user's programs find an emulator of this process, until the end of the ``with`` block.

    Where that cannot be, a warning says why, and the block runs nevertheless.

    Args:
        url: Its address on this machine, without a room.
        env: The environment variables that make clients connect to it.
    """
    registry = Registry(System())
    path = registry.announce(RunningEmulator(url, os.getpid(), time.time(), env))
    owner = os.getpid()
    try:
        yield
    finally:
        if path is not None and os.getpid() == owner:  # A child process did not announce it.
            with suppress(OSError):
                path.unlink()


def only(url: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variable with which a program finds this emulator of this process and no other.

    It is for an emulator that belongs to that program: of ``exec``, or of a test.

    Args:
        url: Its address on this machine, without a room.
        env: The environment variables that make clients connect to it.
    """
    return {ONLY: _compose(_Entry(RunningEmulator(url, os.getpid(), time.time(), env)))}


def choose(running: tuple[RunningEmulator, ...], port: int | None = None) -> RunningEmulator:
    """Return the emulator that listens on a port, or without one the only one there is.

    Raises:
        UsageError: If there is none, or several; it lists those there are, and says how to choose.
    """
    matching = [emulator for emulator in running if port in (None, emulator.port)]
    if len(matching) == 1:
        return matching[0]
    if not running:
        raise UsageError("no emulator of this user runs on this machine: start one with 'python -m simulator serve'")
    listed = ", ".join(map(str, running))
    if not matching:
        raise UsageError(f"no emulator of this user listens on port {port} of this machine; there is {listed}")
    raise UsageError(
        f"{len(matching)} emulators of this user run on this machine: {listed}; choose one by its port, as "
        f'url="emulator:{matching[0].port}" (--port {matching[0].port})'
    )


# --- the files --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """The content of a file."""

    emulator: RunningEmulator
    process: str = ""
    """See `System.process`."""
    host: str = ""
    """The name of the machine: a home may be shared with others."""


class Registry:
    """The directories in which emulators leave their files."""

    def __init__(self, system: System) -> None:
        self._system = system

    def find(self) -> tuple[RunningEmulator, ...]:
        """Return the emulators that run, the oldest first; or the only one that is to be found."""
        entry = _parse(self._system.environ.get(ONLY, "").encode("utf-8", "replace"))
        if entry is not None and self._is_here(entry.emulator.url):
            return (entry.emulator,)
        entries = [entry for _, entry in self._entries() if self._is_running(entry)]
        found = {(entry.emulator.url, entry.emulator.pid): entry.emulator for entry in entries}
        return tuple(sorted(found.values(), key=lambda emulator: (emulator.started, emulator.pid, emulator.url)))

    def announce(self, emulator: RunningEmulator) -> Path | None:
        """Write an emulator's file, and remove those of emulators that are gone.

        Returns:
            The file; None if there is no place for it, which was logged as a warning.
        """
        problems = []
        self._remove_stale()
        if self._is_here(emulator.url):
            for directory in self._directories():
                try:
                    self._prepare(directory)
                    return self._write(directory, emulator)
                except OSError as error:
                    problems.append(f"{directory}: {error.strerror or error}")
        else:
            problems.append(f"{emulator.url} is no address of this machine")
        _log.warning(
            'the emulator at %s serves, but is not found by url="emulator": %s',
            emulator.url,
            "; ".join(problems) or "this user has no directory of its own",
        )
        return None

    # --- where they lie -----------------------------------------------------------------------------------------------

    def _directories(self) -> Iterator[Path]:
        """Yield where files may lie, the best place first."""
        system, environ, name = self._system, self._system.environ, "meshsync-emulators"
        if system.user is None:
            local = environ.get("LOCALAPPDATA", "")
            if os.path.isabs(local):
                yield Path(local, name)
        else:
            run = environ.get("XDG_RUNTIME_DIR", "")
            if os.path.isabs(run):
                yield Path(run, name)
            cache = environ.get("XDG_CACHE_HOME", "")
            if not os.path.isabs(cache):
                cache = os.path.join(system.home, ".cache")
            if os.path.isabs(cache):
                yield Path(cache, name)
            name = f"{name}-{system.user}"
        if os.path.isabs(system.temporary):
            yield Path(system.temporary, name)

    def _prepare(self, directory: Path) -> None:
        """Make a directory of this user alone.

        Raises:
            OSError: If it is not there, or others might read or write in it.
        """
        base = directory.parent
        if base != Path(self._system.temporary):
            # Not in the home of another user, which HOME may still name with sudo; and a home is not made.
            if base.name == ".cache" and not base.exists():
                self._check(os.stat(base.parent), 0o022)
                base.mkdir(0o700, exist_ok=True)
            self._check(os.stat(base), 0o022)
        with suppress(FileExistsError):
            directory.mkdir(0o700)
        self._check(os.lstat(directory), 0o077)

    def _check(self, status: os.stat_result, forbidden: int) -> None:
        """Raise `OSError` unless it is a directory of this user, without the forbidden rights of others."""
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError("it is no directory")
        if self._system.user is not None and status.st_uid != self._system.user:
            raise PermissionError("it belongs to another user")
        if self._system.user is not None and status.st_mode & forbidden:
            raise PermissionError("other users have rights in it")

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, directory: Path, emulator: RunningEmulator) -> Path:
        entry = _Entry(emulator, self._system.process(emulator.pid) or "", self._system.host)
        name = f"{emulator.pid}-{secrets.token_hex(4)}"
        unfinished, path = directory / f"{name}.tmp", directory / f"{name}.json"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(_compose(entry))
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
        return path

    def _remove_stale(self) -> None:
        """Remove the files of emulators of this machine that are gone."""
        for path, entry in self._entries():
            if entry.host == self._system.host and self._is_running(entry) is False:
                with suppress(OSError):
                    path.unlink()
        for directory in self._trusted():
            for path in directory.glob("*.tmp"):
                with suppress(OSError):
                    if time.time() - os.lstat(path).st_mtime > _UNFINISHED:
                        path.unlink()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _trusted(self) -> Iterator[Path]:
        """Yield the directories that are there and of this user alone."""
        for directory in self._directories():
            with suppress(OSError):
                self._check(os.lstat(directory), 0o077)
                yield directory

    def _entries(self) -> Iterator[tuple[Path, _Entry]]:
        """Yield the files that are not foreign, with their contents."""
        for directory in self._trusted():
            for path in sorted(directory.glob("*.json")):
                entry = _parse(self._read(path))
                if entry is not None and self._is_here(entry.emulator.url):
                    yield path, entry

    def _read(self, path: Path) -> bytes:
        """Return a file's content; nothing if it is foreign."""
        # Neither a link is followed nor a named pipe waited for, where the system has such.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with suppress(OSError):
            descriptor = os.open(path, flags)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                    return b""
                user = self._system.user
                if user is not None and (status.st_uid != user or status.st_mode & 0o077):
                    return b""
                return os.read(descriptor, _LARGEST)
            finally:
                os.close(descriptor)
        return b""

    def _is_running(self, entry: _Entry) -> bool | None:
        """Return whether an emulator runs; None if it cannot be known, so that its file stays."""
        process = self._system.process(entry.emulator.pid)
        if process is None:
            return False
        if process and entry.process:
            return process == entry.process
        return self._system.answers(entry.emulator.url)

    def _is_here(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.hostname is not None and self._system.has_address(parts.hostname)


def _compose(entry: _Entry) -> str:
    """Return the content of a file."""
    found = entry.emulator
    data = {"format": FORMAT, "url": found.url, "pid": found.pid, "started": found.started, "env": dict(found.env)}
    return json.dumps(data | {"process": entry.process, "host": entry.host})


def _parse(content: bytes) -> _Entry | None:
    """Return the content of a file; None if it is not written as `_compose` writes it."""
    try:
        data: Any = json.loads(content)
        if data["format"] != FORMAT:
            return None
        url, pid, started, env = data["url"], data["pid"], data["started"], data["env"]
        parts = urlsplit(url)
        is_sound = (
            (parts.scheme, parts.path, parts.query, parts.username) == ("ws", "", "", None)
            and bool(parts.hostname and parts.port)
            and type(pid) is int
            and 0 < pid <= _LARGEST_PID
            and 0 <= started < _YEAR_3000
            and all(re.fullmatch(r"MESHAGENT_[A-Z_]+", name) and _is_text(value) for name, value in env.items())
            and isinstance(data["process"], str)
            and isinstance(data["host"], str)
        )
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None
    if not is_sound:
        return None
    emulator = RunningEmulator(url, pid, float(started), MappingProxyType(dict(env)))
    return _Entry(emulator, data["process"], data["host"])


def _is_text(value: object) -> bool:
    """Return whether a value can be that of an environment variable."""
    return isinstance(value, str) and "\0" not in value


# --- the system -------------------------------------------------------------------------------------------------------


class System:
    """The answers of this machine; a test's double gives those of another one."""

    def __init__(self) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.user: int | None = os.geteuid() if hasattr(os, "geteuid") else None
        """The number of this user, or None on Windows, whose users have theirs alone by other means."""
        self.host: str = platform.node()
        self.home: str = os.path.expanduser("~")
        """The user's directory; not absolute if there is none."""
        self.temporary: str = ""
        """The directory for temporary files; likewise."""
        with suppress(OSError):
            self.temporary = tempfile.gettempdir()

    def process(self, pid: int) -> str | None:
        """Return what tells a process from every other, "" if it is unknown; None if there is no such process.

        Source: ``proc(5)``: the state is the third field of ``/proc/PID/stat``, the start time the 22nd, in ticks since
        the machine was started.
        """
        if self.user is None:
            return ""  # On Windows ``os.kill`` ends processes instead.
        with suppress(OSError, LookupError):
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = status.rpartition(")")[2].split()  # The name before may hold anything.
            if fields[0] in "ZX":
                return None
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {fields[19]}"
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):  # The latter's belongs to another user.
            return None
        return ""

    def answers(self, url: str) -> bool | None:
        """Return whether an emulator answers at an address; None if that is not known in time."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            return True if answer.status == 200 and "status" in json.loads(answer.read(_LARGEST)) else None
        except ConnectionRefusedError:
            return False
        except (OSError, http.client.HTTPException, ValueError, TypeError, RecursionError):
            return None
        finally:
            connection.close()

    def has_address(self, host: str) -> bool:
        """Return whether an address, or all addresses of a name, are this machine's: only those can be listened on."""
        try:
            found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
            for family, kind, protocol, _, address in found:
                with socket.socket(family, kind, protocol) as listener:
                    listener.bind(address)
        except (OSError, ValueError):  # The latter for a name that cannot be one.
            return False
        return bool(found)
