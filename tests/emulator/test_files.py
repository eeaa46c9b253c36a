"""Files between real processes, of which one is killed on the way and started anew."""

from __future__ import annotations

import os
import queue
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from meshsync.errors import MeshsyncError, StreamInterrupted
from meshsync.files import SentFile, receive_file, send_file
from meshsync.messaging import MessagingClient
from meshsync.room import RoomClient
from meshsync.streams.interfaces import StreamReader, StreamWriter
from simulator import Emulator
from tests.support.rooms import PATIENCE, Join, run

MIB = 2**20
SIZE = 24 * MIB
CONTENT = bytes(range(256)) * (SIZE // 256)

PROGRAM = """
import os, signal, sys
import meshsync

role, room, url, token, path = sys.argv[1:]

class Messaging(meshsync.MessagingClient):
    def create_stream(self, to, header=None, **options):
        return super().create_stream(to, header, resume_for=1, **options)  # So long is it waited for.

def progress(done, total):
    if done >= total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

with meshsync.connect(room, url=url, token=token, messaging=Messaging) as client:
    if role == "alice":
        client.messaging.enable()
        bob = client.messaging.wait_for_participant(name="bob", timeout=60)
        client.messaging.send_file(path, bob, progress=progress)
    else:
        client.messaging.enable(lambda reader: client.messaging.receive_file(reader, path, progress=progress))
        client.wait_closed()
"""
"""Sends or receives a file, and is killed when half is done."""


pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with the file to send, and an empty one."""
    (tmp_path / "film.mp4").write_bytes(CONTENT)
    (tmp_path / "inbox").mkdir()
    return tmp_path


class Hasty(MessagingClient):
    """Waits a second, and not a minute, for a peer that is gone."""

    def create_stream(self, to: Any, header: Any = None, **options: Any) -> StreamWriter:
        return super().create_stream(to, header, resume_for=1, **options)


def receive(bob: RoomClient, folder: Path) -> queue.SimpleQueue[int]:
    """Have bob store what he is sent; return how many bytes he had soon after each beginning, told at each end."""
    began: queue.SimpleQueue[int] = queue.SimpleQueue()

    def store(reader: StreamReader) -> None:
        told: list[int] = []
        with suppress(StreamInterrupted):
            receive_file(reader, folder / "inbox", progress=lambda done, total: told.append(done))
        began.put(told[1])

    bob.messaging.enable(store)
    return began


def send(alice: RoomClient, folder: Path) -> SentFile:
    """Have alice send the file to bob."""
    to_bob = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    return send_file(alice.messaging, folder / "film.mp4", to_bob, timeout=PATIENCE)


def check_whole(folder: Path) -> None:
    """Assert that the file is there, and nothing beside it."""
    assert os.listdir(folder / "inbox") == ["film.mp4"]
    assert (folder / "inbox" / "film.mp4").read_bytes() == CONTENT


def test_a_sender_that_was_killed_sends_the_rest_when_it_is_started_anew(
    emulated: Emulator, join: Join, folder: Path
) -> None:
    """Of the 12 MiB that it had written at most 8 were unacknowledged: the room had the others, and bob gets them."""
    bob = join("bob", enable=False)
    began = receive(bob, folder)
    token = emulated.token(bob.room_name, "alice")
    with run(PROGRAM, "alice", bob.room_name, emulated.url, token, os.fspath(folder / "film.mp4")) as killed:
        assert killed.wait(PATIENCE) == -signal.SIGKILL
    assert began.get(timeout=PATIENCE) <= MIB
    assert send(join("alice"), folder).is_confirmed
    assert began.get(timeout=PATIENCE) >= 4 * MIB
    check_whole(folder)


def test_a_receiver_that_was_killed_gets_the_rest_when_it_is_started_anew(
    emulated: Emulator, join: Join, folder: Path
) -> None:
    """It had stored half when the signal came."""
    alice = join("alice", messaging=Hasty)
    token = emulated.token(alice.room_name, "bob")
    with run(PROGRAM, "bob", alice.room_name, emulated.url, token, os.fspath(folder / "inbox")) as killed:
        with pytest.raises(MeshsyncError):
            send(alice, folder)
        assert killed.wait(PATIENCE) == -signal.SIGKILL
    began = receive(join("bob", enable=False), folder)
    assert send(alice, folder).is_confirmed
    assert began.get(timeout=PATIENCE) == SIZE // 2
    check_whole(folder)
