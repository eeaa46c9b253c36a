"""Participants that tests can tell what to do and ask what happened.

``OfficialPeer`` drives a process that runs an unchanged SDK release, the other end of ``official_peer.py`` and
``official_peer.mjs``. ``meshsync_peer.py`` gives meshsync the same two verbs, ``do`` and ``expect``, so that one test
suits every pairing.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from tests.interop.releases import Release, environment_of

Event = dict[str, Any]


class PeerFailed(Exception):
    """What a peer was told to do raised: its error's class and text."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(f"{error}: {text}")
        self.error = error
        self.text = text


class Peer(ABC):
    """A participant that keeps what it is told until a test asks for it; a context manager."""

    description: str
    """What it runs on, in its own words, as ``0.29.4 on 3.13.0``."""
    own: Event
    """Its own participant, as it was when it entered a room."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._ended = False
        self._told = threading.Condition()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @abstractmethod
    def do(self, do: str, timeout: float = 30, **arguments: Any) -> Event:
        """Do one thing that ``official_peer.py`` lists, wait until it is done, and return the answer.

        Raises:
            PeerFailed: If the client raised.
        """

    @abstractmethod
    def end(self) -> None:
        """Leave, and let go of everything."""

    def expect(self, event: str, timeout: float = 30, **details: Any) -> Event:
        """Return, and take away, the earliest event of that name with those details; wait for it if need be."""
        wanted = {"event": event, **details}
        return self._take(lambda told: wanted.items() <= told.items(), str(wanted), timeout)

    def has(self, event: str) -> bool:
        """Return whether it has been told such an event that nobody asked for yet."""
        with self._told:
            return any(told["event"] == event for told in self._events)

    def forget(self) -> None:
        """Drop what was told and not asked for."""
        with self._told:
            self._events.clear()

    def log(self) -> str:
        """Return what may explain a failure."""
        return ""

    def _tell(self, event: Event) -> None:
        with self._told:
            self._events.append(event)
            self._told.notify_all()

    def _take(self, matches: Callable[[Event], bool], wanted: str, timeout: float) -> Event:
        deadline = time.monotonic() + timeout
        with self._told:
            while True:
                for place, event in enumerate(self._events):
                    if matches(event):
                        return self._events.pop(place)
                if self._ended or not self._told.wait(deadline - time.monotonic()):
                    state = "its process has ended" if self._ended else f"nothing for {timeout} s"
                    raise AssertionError(f"{state}, waiting for {wanted}; told: {self._events}\n{self.log()}")


class OfficialPeer(Peer):
    """A participant on an official release.

    Args:
        release: The release to run; its environment is made if it is not there.
    Raises:
        InterpreterMissing: If this machine cannot run that release.
    """

    environ: Mapping[str, str]
    """``MESHAGENT_*`` variables that tell it, when it connects, where rooms are and who signs; as ``Emulator.env``."""

    def __init__(self, release: Release) -> None:
        super().__init__()
        command = release.command(environment_of(release))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MESHAGENT_", "PYTHON"))}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=inherited,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._refs = 0
        self._unfinished: set[int] = set()
        self._reader = threading.Thread(target=self._read, name=f"SDK {release}", daemon=True)
        self._reader.start()
        hello = self.expect("hello", timeout=60)
        self.description = f"{hello['release']} on {hello['runs_on']}"

    @property
    def is_running(self) -> bool:
        """Whether the process can still be told something."""
        return self._process.poll() is None

    @property
    def is_idle(self) -> bool:
        """Whether it has done all that it was told, as far as somebody asked."""
        return not self._unfinished

    def begin(self, do: str, **arguments: Any) -> int:
        """Give a command and return its number at once."""
        if do == "connect":
            arguments["environ"] = dict(self.environ)
        self._refs += 1
        self._unfinished.add(self._refs)
        self._input.write(json.dumps({"ref": self._refs, "do": do, **arguments}) + "\n")
        self._input.flush()
        return self._refs

    def finish(self, ref: int, timeout: float = 30) -> Event:
        """Wait until the command of that number is done, and return its answer."""
        answer = self._take(lambda event: event.get("ref") == ref, f"the end of command {ref}", timeout)
        self._unfinished.discard(ref)
        if answer["event"] == "failed":
            raise PeerFailed(answer["error"], answer["text"])
        return answer

    def do(self, do: str, timeout: float = 30, **arguments: Any) -> Event:
        """Give a command, wait until it is done, and return its answer."""
        return self.finish(self.begin(do, **arguments), timeout)

    def wait_end(self, timeout: float) -> None:
        """Wait until the process has ended by itself, so many seconds at most."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        """End the process as a crash would: no farewell."""
        self._process.kill()
        self.end()

    def log(self) -> str:
        """Return the end of what the process wrote to standard error."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return self._log.read()[-3000:]

    def end(self) -> None:
        """Let the process leave and end; one that does not is killed."""
        if self._input.closed:
            return
        try:
            self._input.close()
            self._process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(30)
        self._output.close()
        self._log.close()

    def _read(self) -> None:
        for line in self._output:
            self._tell(json.loads(line))
        with self._told:
            self._ended = True
            self._told.notify_all()
