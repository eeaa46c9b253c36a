"""One participant of a benchmark, in a process of its own: it sends and measures, or receives and counts.

    python participant.py official|meshsync|pure NAME [DIALECT]

The official one runs inside the environment of an SDK release, so this file imports nothing of the project before it
is told to be meshsync; ``pure`` is meshsync without the C that the extra ``speed`` brings.

Commands and answers are JSON lines. ``{"do": "sequential", "to": NAME, "count": n, "size": b}`` sends blocking, one
after the other; ``pipelined`` starts all sends before it waits for the first; ``stream`` sends n chunks of b bytes
through one stream. All answer with seconds by the clock, seconds of CPU, and for sequential sends every latency.
``{"do": "arrived", "count": n}`` answers when n messages have come altogether; ``{"do": "streamed", "size": b}`` when b
bytes have, through streams and as attachments, with the seconds of CPU used so far. ``{"do": "slowly", "seconds": s}``
makes a reader of streams wait so long after each chunk; ``memory`` asks for the largest resident size.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import threading
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

ROOM = "bench"


def tell(**answer: Any) -> None:
    """Write one answer."""
    print(json.dumps(answer), flush=True)


class Official:
    """A participant on the official SDK."""

    async def run(self, name: str) -> None:
        """Join, and obey until the input ends."""
        from importlib.metadata import version

        sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))
        import official_sdk

        self.count = self.streamed_size = 0
        self.arrival = asyncio.Event()
        async with official_sdk.make_client(ROOM, official_sdk.make_token(ROOM, name, None)) as self.room:
            self.room.messaging.on("message", self.on_message)
            self.room.messaging.on("participant_added", lambda participant: self.arrival.set())
            self.room.messaging.on("messaging_enabled", self.arrival.set)
            self.streams = official_sdk.streams_of(self.room.messaging, self.on_stream)
            await self.streams.enable(True)
            tell(ready=f"meshagent-api {version('meshagent-api')} on Python {platform.python_version()}")
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                command = json.loads(line)
                tell(**await getattr(self, command.pop("do"))(**command))

    def on_message(self, message: Any) -> None:
        """Count it, and its bytes."""
        self.count += 1
        self.streamed_size += len(message.attachment or b"")
        self.arrival.set()

    def on_stream(self, stream: Any, header: Any, sender: str) -> None:
        """Count what comes of a stream that was accepted."""
        self.reading = asyncio.ensure_future(self.read(stream))

    async def read(self, stream: Any) -> None:
        """Count the bytes of a stream."""
        async for _, data in self.streams.read(stream):
            self.streamed_size += len(data)
            self.arrival.set()

    async def stream(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Send chunks through a stream."""
        recipient, data = await self.find(to), os.urandom(size)
        start, cpu = perf_counter(), process_time()
        stream = await self.streams.open(recipient, {})
        for _ in range(count):
            await self.streams.write(stream, {}, data)
        await stream.close()
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu}

    async def streamed(self, size: int) -> dict[str, Any]:
        """Wait until so many bytes have come."""
        while self.streamed_size < size:
            self.arrival.clear()
            await self.arrival.wait()
        return {"cpu": process_time()}

    async def arrived(self, count: int) -> dict[str, Any]:
        """Wait until that many messages have come."""
        while self.count < count:
            self.arrival.clear()
            await self.arrival.wait()
        return {"count": self.count}

    async def find(self, name: str) -> Any:
        """Return the participant of that name, once it is here."""
        while True:
            for other in self.room.messaging.remote_participants:
                if other.get_attribute("name") == name:
                    return other
            self.arrival.clear()
            await self.arrival.wait()

    async def sequential(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Await each send before the next."""
        recipient, attachment, latencies = await self.find(to), bytes(size), []
        send = self.room.messaging.send_message
        start, cpu = perf_counter(), process_time()
        for number in range(count):
            before = perf_counter()
            await send(to=recipient, type="chat", message={"number": number}, attachment=attachment)
            latencies.append(perf_counter() - before)
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu, "latencies": latencies}

    async def pipelined(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Start every send, then await them all."""
        recipient, attachment = await self.find(to), bytes(size)
        send = self.room.messaging.send_message
        start, cpu = perf_counter(), process_time()
        sends = [
            send(to=recipient, type="chat", message={"number": number}, attachment=attachment)
            for number in range(count)
        ]
        await asyncio.gather(*sends)
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu}


class Meshsync:
    """A participant on meshsync."""

    def run(self, name: str, **options: Any) -> None:
        """Join, and obey until the input ends."""
        import meshsync

        self.count = self.streamed_size = 0
        self.pause = 0.0
        self.arrival = threading.Condition()
        with meshsync.connect(ROOM, name=name, **options) as self.room:
            self.room.messaging.on("message", self.on_message)
            self.room.messaging.enable(self.on_stream)
            tell(ready=f"meshsync on Python {platform.python_version()}")
            for line in iter(sys.stdin.readline, ""):
                command = json.loads(line)
                tell(**getattr(self, command.pop("do"))(**command))

    def on_message(self, event: Any) -> None:
        """Count it, and its bytes."""
        with self.arrival:
            self.count += 1
            self.streamed_size += len(event.message.attachment)
            self.arrival.notify()

    def on_stream(self, reader: Any) -> None:
        """Count the bytes of a stream."""
        for chunk in reader:
            with self.arrival:
                self.streamed_size += len(chunk.data)
                self.arrival.notify()
            if self.pause:
                sleep(self.pause)

    def slowly(self, seconds: float) -> dict[str, Any]:
        """Wait after each chunk from now on."""
        self.pause = seconds
        return {}

    def memory(self) -> dict[str, Any]:
        """Return the largest resident size so far, in kilobytes; that of `resource` begins with the parent's."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return {"peak": int(status.partition("\nVmHWM:")[2].split()[0])}

    def stream(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Send chunks through a stream."""
        from meshsync import MessageStreamChunk

        recipient = self.room.messaging.wait_for_participant(name=to, timeout=10)
        chunk = MessageStreamChunk({}, os.urandom(size))
        start, cpu = perf_counter(), process_time()
        with self.room.messaging.create_stream(recipient, {}) as writer:
            for _ in range(count):
                writer.write(chunk)
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu}

    def streamed(self, size: int) -> dict[str, Any]:
        """Wait until so many bytes have come."""
        with self.arrival:
            self.arrival.wait_for(lambda: self.streamed_size >= size)
        return {"cpu": process_time()}

    def arrived(self, count: int) -> dict[str, Any]:
        """Wait until that many messages have come."""
        with self.arrival:
            self.arrival.wait_for(lambda: self.count >= count)
        return {"count": self.count}

    def sequential(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Block on each send."""
        recipient, attachment = self.room.messaging.wait_for_participant(name=to, timeout=10), bytes(size)
        latencies = []
        send = self.room.messaging.send_message
        start, cpu = perf_counter(), process_time()
        for number in range(count):
            before = perf_counter()
            send(to=recipient, type="chat", message={"number": number}, attachment=attachment)
            latencies.append(perf_counter() - before)
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu, "latencies": latencies}

    def pipelined(self, to: str, count: int, size: int) -> dict[str, Any]:
        """Start every send, then wait for them all."""
        recipient, attachment = self.room.messaging.wait_for_participant(name=to, timeout=10), bytes(size)
        send = self.room.messaging.send_message_nowait
        start, cpu = perf_counter(), process_time()
        deliveries = [
            send(to=recipient, type="chat", message={"number": number}, attachment=attachment)
            for number in range(count)
        ]
        for delivery in deliveries:
            delivery.wait(60)
        return {"seconds": perf_counter() - start, "cpu": process_time() - cpu}


if __name__ == "__main__":
    if sys.argv[1] == "official":
        asyncio.run(Official().run(sys.argv[2]))
    else:
        if sys.argv[1] == "pure":
            for name in ("websockets.speedups", "pybase64"):
                sys.modules[name] = None  # type: ignore[assignment]  # importing it fails, as documented
        Meshsync().run(sys.argv[2], **dict(zip(["dialect"], sys.argv[3:], strict=False)))
