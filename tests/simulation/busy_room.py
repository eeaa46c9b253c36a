"""A room in which everything happens: latency, every kind of fault, churn, five agents with threads of their own.

``python -m tests.simulation.busy_room [times]`` prints the digest of its transcript, as often as asked for.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk, RoomMessageEvent
from meshsync.streams.interfaces import StreamReader
from simulator import Simulation, Transcript, faults, latency, participants
from simulator.faults.plans import Planned

__all__ = ["AGENTS", "PLAN", "run"]

AGENTS = ("ada", "ben", "cyd", "dan", "eve")
LASTS = 120.0
"""Seconds."""

PLAN: tuple[Planned, ...] = (
    faults.at(5, faults.reset("ada")),
    faults.at(12, faults.half_open("ben")),
    faults.at(15, faults.pause("cyd", 4)),
    faults.at(22, faults.restart(down=2)),
    faults.at(30, faults.malformed_push("dan")),
    faults.at(32, faults.oversized_push("eve", 100_000)),
    faults.at(34, faults.leave("echo")),
    faults.at(40, faults.join("echo")),
    faults.at(41, faults.join("passer-by")),
    faults.during(45, 50, faults.partition({"ada", "echo"})),
    faults.during(23, 26, faults.refuse_connect("eve")),
    faults.during(20, 35, faults.delay_connect("dan", latency.uniform(0.1, 0.5))),
    faults.during(52, 60, faults.latency(latency.exponential(0.3), "ben")),
    faults.during(52, 60, faults.throttle("cyd", 20_000)),
    faults.during(55, 70, faults.reject_streams("sink", "out of order", rate=0.5)),
    faults.during(55, 90, faults.delay_accept("sink", 0.7)),
    faults.during(62, 66, faults.error_replies("dan", 1011, rate=0.3)),
    faults.during(72, 80, faults.late_replies("eve", 3)),
    faults.during(82, 86, faults.partition({"cyd"}, direction="up")),
    faults.during(88, 96, faults.block("ada", {"ben", "echo"})),
    faults.at(94, faults.drop("eve")),
    faults.every(latency.exponential(25), faults.reset("ben")),
    faults.on("message", sender="cyd", nth=30).do(faults.pause("dan", 1)),
    faults.quiet(after=100),
)


def run(seed: int | str = 7, *, median: float = 0.04, payload: bytes = b"payload") -> Transcript:
    """Let it happen, and return the transcript.

    Args:
        median: Of the law of delays, in seconds.
        payload: What is attached to each question.
    """
    with Simulation(seed, latency=latency.lognormal(median, 0.5), failing_receivers="log") as sim:
        room = sim.room("busy")
        room.add(
            participants.Echo("echo", latency.exponential(0.1)),
            participants.Chatter("chatter", latency.uniform(2, 6)),
            participants.Sink("sink"),
            participants.Sink("slow", rate=1000, window=4000),
            participants.Rejecting("rejecting", "in a call"),
            participants.Streamer("hopeless", "rejecting", [b"never"]),
            *(participants.Streamer(f"streamer-{n}", "sink", [bytes(500)] * 3, 0.2) for n in range(4)),
            *participants.churn(4, stay=latency.exponential(15), away=latency.exponential(5), greeting="hello"),
        )
        tasks = [sim.spawn(_agent, name, payload, name=name) for name in AGENTS]
        sim.plan(*PLAN)
        sim.sleep(57)
        room.add(*(participants.Streamer(f"late-{n}", "sink", [b"x"], 0.1) for n in range(4)))
        sim.sleep(LASTS)
        assert all(task.is_done and task.error is None for task in tasks)
    return room.transcript


def _agent(name: str, payload: bytes) -> None:
    """Take part until it is late: the client comes back after a loss, the program after what is final to the client.

    That is a push that no client can read.
    """
    number = 0
    while meshsync.monotonic() < LASTS:
        with meshsync.connect("busy", name=name, role="agent", default_timeout=8, retry=True) as room:
            room.messaging.on_message("question", partial(_answer, room))
            room.local_participant.set_attribute("number", number)
            room.messaging.enable(_read)
            while meshsync.monotonic() < LASTS and room.state != "lost":
                number += 1
                with suppress(MeshsyncError):
                    _speak(room, number, payload)
                meshsync.sleep(0.7)


def _speak(room: meshsync.RoomClient, number: int, payload: bytes) -> None:
    others = room.messaging.remote_participants
    if number % 10 == 0:
        room.messaging.broadcast_message("news", {"number": number}, bytes(3000))
    elif number % 10 == 5:
        room.local_participant.set_attribute("number", number)
    elif number % 10 == 7:
        _stream(room, number, payload)
    elif others:
        room.messaging.send_message_nowait(others[number % len(others)], "question", {"number": number}, payload)


def _stream(room: meshsync.RoomClient, number: int, payload: bytes) -> None:
    """Offer a stream to one after the other, and write to it if it is wanted."""
    name = (*AGENTS, "sink", "slow", "rejecting")[number // 10 % 8]
    to = room.messaging.get_participant_by_name(name)
    if to is None:
        return
    with room.messaging.create_stream(to, {"number": number}) as writer:
        for part in range(4):
            writer.write(MessageStreamChunk({"part": part}, payload * 200))


def _read(reader: StreamReader) -> None:
    """Read a stream, or of every third one no more than its first chunk."""
    for chunk in reader:
        reader.writer.write(MessageStreamChunk(chunk.header, b"seen"))
        if reader.header.get("number", 0) % 3 == 0:
            reader.close("enough")
            break


def _answer(room: meshsync.RoomClient, event: RoomMessageEvent) -> None:
    if event.participant is not None and event.participant.name in AGENTS:
        room.messaging.send_message_nowait(event.participant, "answer", dict(event.message.message))


if __name__ == "__main__":
    for _ in range(int((sys.argv[1:] or ["1"])[0])):
        print(run().digest())
