"""Clients that join the emulator, or cannot, on real sockets."""

from __future__ import annotations

import threading

import pytest

import meshsync
from simulator import Emulator


@pytest.mark.parametrize("room", ["a;b", "a;", "a,b", "schön"])
def test_room_of_an_unusual_name_is_asked_for_and_no_other(room: str) -> None:
    """The emulator has no room of such a name, and lets nobody into the one whose name that begins with."""
    with Emulator() as emulator:
        for admitted in (room, "a"):
            with pytest.raises(meshsync.RoomNotFound):
                meshsync.connect(room, url=emulator.url, token=emulator.token(admitted, "ada"))


@pytest.mark.parametrize("task", ["handshake", "dispatcher", "reader"])
def test_system_without_threads_makes_the_room_unavailable(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread of a client it refuses, the error is one of ours."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(f"meshsync {task}"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with Emulator() as emulator:
        monkeypatch.setattr("meshsync.runtime.threads._start_thread", refuse)
        with pytest.raises(meshsync.RoomUnavailable, match="no more threads"):
            meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "ada"))
