"""Which calls keep their time limits over a connection whose peer has stopped reading, on real sockets.

    python -m tests.benchmarks.time_limits [--limit 1]

Each call meets a connection of its own: a dozen streams are open, then the room reads no more, and the client sends
until the system and its own buffer take nothing. The seconds are of this machine. They never pass or fail.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import meshsync
from meshsync import MeshsyncError, SendTimeout
from meshsync.protocol import codec
from meshsync.protocol.operations import Enable, Push, Send
from tests.support.scripted_server import SMALL, ScriptedPeer, ScriptedServer

STREAMS = 12
"""How many streams are open, to a peer that is no meshsync program."""
CHUNKS = 6
"""How many wait to be read on another stream, of a million bytes each."""
TOLERANCE = 0.3
"""Seconds over a limit that still keep it: a busy machine is late."""


class Stalled:
    """A client, its streams, and a room that has stopped reading."""

    def __init__(self, room: meshsync.RoomClient) -> None:
        self.room, self.messaging = room, room.messaging
        self.bob = self.messaging.wait_for_participant(name="bob", timeout=10)
        self.writers = [self.messaging.create_stream(self.bob, timeout=10) for _ in range(STREAMS)]
        with self.messaging.streams() as offers:
            self.messaging.send_message(self.bob, "offer", {})
            self.reader, self.offered = offers.get(10), offers.get(10)
        self.reader.accept()
        self.messaging.send_message(self.bob, "write", {})
        self.messaging.send_message_nowait(self.bob, "stop", {})
        self.writers[1].write(b"not acknowledged")
        for size in (500_000, 0):
            with suppress(SendTimeout):
                while True:
                    self.messaging.send_message_nowait(self.bob, "x", {}, bytes(size), timeout=0.3)


@contextmanager
def stalled() -> Iterator[Stalled]:
    """Join a room that stops reading once all is prepared."""
    server, end = ScriptedServer(receive_buffer=SMALL), threading.Event()
    try:
        threading.Thread(target=_serve, args=(server, end), daemon=True).start()
        room = server.connect(timeout=10)
        try:
            room.messaging.enable(timeout=10)
            yield Stalled(room)
        finally:
            room.close(0)
    finally:
        end.set()
        server.close()


def _serve(server: ScriptedServer, end: threading.Event) -> None:
    """Answer as a room and as Bob do, until told to stop; then read nothing more until the end."""
    peer = server.accept()
    peer.greet()
    while True:
        message = peer.read_message()
        request = codec.decode_request(message)
        if isinstance(request, Enable):
            peer.enable(message.id)
        elif isinstance(request, Send):
            if request.type == "stop":
                break
            peer.say(*_answers(peer, request), peer.answer(message.id))
    end.wait()


def _answers(peer: ScriptedPeer, request: Send) -> list[tuple[int, str, bytes]]:
    """Return Bob's messages after one of the client's."""
    if request.type == "stream.open":
        return [peer.push("stream.accept", {"stream_id": request.message["stream_id"]})]
    if request.type == "offer":
        known = {"version": 1, "window": 1 << 20}
        names = ("read", "offered")
        return [peer.push("stream.open", {"stream_id": name, "header": {}, "meshsync": known}) for name in names]
    if request.type == "write":
        # More than half a window in all, so that the reader owes a credit.
        chunk = Push(ScriptedServer.BOB, "stream.chunk", {"stream_id": "read", "header": {}}, bytes(1_000_000))
        return [(0, *codec.encode_push(chunk))] * CHUNKS
    return []


def _interrupted(alice: Stalled) -> None:
    """Press Ctrl-C in a ``with`` block that writes."""
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
    with suppress(KeyboardInterrupt), alice.writers[0] as writer:
        writer.write(bytes(1_000_000), timeout=30)


Call = Callable[[Stalled, Any], object]

CALLS: dict[str, Call] = {
    "send_message": lambda a, t: a.messaging.send_message(a.bob, "x", {}, timeout=t),
    "send_message_nowait": lambda a, t: a.messaging.send_message_nowait(a.bob, "x", {}, timeout=t),
    "broadcast_message": lambda a, t: a.messaging.broadcast_message("x", {}, timeout=t),
    "create_stream": lambda a, t: a.messaging.create_stream(a.bob, timeout=t),
    "create_stream(kind='duplex')": lambda a, t: a.messaging.create_stream(a.bob, timeout=t, kind="duplex"),
    "writer.write": lambda a, t: a.writers[0].write(b"x", timeout=t),
    "writer.flush": lambda a, t: a.writers[1].flush(timeout=t),
    "writer.close": lambda a, t: a.writers[1].close(timeout=t),
    "reader.read of the next chunk": lambda a, t: [a.reader.read(t) for _ in range(CHUNKS + 1)],
    "reader.read_all": lambda a, t: a.reader.read_all(t),
    "reader.read of an offer": lambda a, t: a.offered.read(t),
    "messages().get": lambda a, t: a.messaging.messages().get(t),
    "wait_for_participant": lambda a, t: a.messaging.wait_for_participant(name="nobody", timeout=t),
    "room.wait_closed": lambda a, t: a.room.wait_closed(t),
    "disable": lambda a, t: a.messaging.disable(timeout=t),
    "close": lambda a, t: a.room.close(t),
}
AT_ONCE: dict[str, Call] = {
    "reader.read(0.5), chunks there": lambda a, t: [a.reader.read(0.5) for _ in range(CHUNKS)],
    "writer.abort, all of them": lambda a, t: [writer.abort() for writer in a.writers],
    "reader.accept": lambda a, t: a.offered.accept(),
    "reader.reject": lambda a, t: a.offered.reject("no"),
    "reader.close": lambda a, t: a.reader.close(),
    "Ctrl-C after 0.2 s in a write": lambda a, t: _interrupted(a),
    "close(0)": lambda a, t: a.room.close(0),
}
"""Calls that have no time limit, or should not need theirs: the limit is 0."""


def measure(name: str, call: Call, argument: float, limit: float) -> str:
    """Return a line of the table: the call, its limit, what it took and how it ended."""
    with stalled() as alice:
        begun, outcome = perf_counter(), "returned"
        try:
            call(alice, argument)
        except MeshsyncError as error:
            outcome = type(error).__name__
        took = perf_counter() - begun
    verdict = "kept" if took <= limit + TOLERANCE else "NOT KEPT"
    return f"{name:40}{limit:8.2f}{took:8.2f}  {verdict:9} {outcome}"


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=1.0, help="seconds given to each call")
    limit = parser.parse_args().limit
    logging.getLogger("meshsync").setLevel(logging.CRITICAL)
    print(f"{'call, over a stalled connection':40}{'limit':>8}{'took':>8}  {'':9} outcome", flush=True)
    for name, call in CALLS.items():
        for given in (limit, 0.0):
            print(measure(name if given else f"{name}, polling", call, given, given), flush=True)
    for name, call in AT_ONCE.items():
        print(measure(name, call, 0.0, 0.2 if "0.2 s" in name else 0.0), flush=True)


if __name__ == "__main__":
    main()
