"""A conversation to look at: a simulated room, two programs, two scripted participants, and their acts and events.

Each line is printed by the participant it names, at the instant of the event: by a program before or after a call and
in its receivers, by a scripted participant when it is called. The network's are the faults in the transcript.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TextIO

import meshsync
from meshsync import ConnectionLost, MessageStreamChunk, RoomClient, RoomMessageEvent, StreamReader, StreamRejected
from simulator import faults, latency, participants
from simulator.simulation import SimulatedRoom, Simulation

__all__ = ["run"]

_COLOURS = {"ada": 36, "ben": 35, "bot": 33, "dora": 34, "network": 31}
"""Foreground colours by their numbers. Source: ECMA-48, section 8.3.117."""

_PATIENCE = 10.0
"""Virtual seconds to wait for a participant or a message."""


def run(out: TextIO, seed: int | str) -> None:
    """Hold the conversation and print it: the same seed, the same text.

    Args:
        seed: All delays follow from it, and so how far Ben's question gets before his connection breaks.
    """
    # No limit to real time: a stopped terminal blocks the actor that prints, which is no fault.
    with Simulation(seed, latency=latency.lognormal(median=0.040, sigma=0.4), stall_after=None) as sim:
        room = sim.room("demo")
        page = _Page(out, sim, room)
        page.text(
            "A room in this process, on a virtual clock. Ada and Ben are programs, each in",
            "a thread of its own, with the client that talks to real rooms; bot and dora are",
            "scripted. Delays in transit are drawn from the seed: about 40 ms to the room, and",
            "as much from it. Nobody waits for real; the times are virtual seconds.",
            "",
        )
        room.add(_Bot(page), _Busy(page))
        ada, ben = sim.spawn(_ada, page), sim.spawn(_ben, page)
        sim.plan(faults.at(6.04, faults.reset("ben")))
        ada.join()
        ben.join()
    page.text(
        "",
        f"Seed {seed}, digest {room.transcript.digest()}.",
        "It is the same whenever this seed is run. Another one: python -m simulator demo --seed 8",
    )


class _Page:
    """The output: a line for each event, with its time in virtual seconds and its participant."""

    def __init__(self, out: TextIO, sim: Simulation, room: SimulatedRoom) -> None:
        self._out = out
        self._sim = sim
        self._transcript = room.transcript
        self._is_coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._faults = 0

    def line(self, name: str, text: str) -> None:
        """Print a participant's act or event, behind the faults that struck before."""
        struck = self._transcript.faults()
        for fault in struck[self._faults :]:
            self._write(fault.time_s, "network", f"the fault {fault.type!r} strikes {fault.recipient}")
        self._faults = len(struck)
        self._write(self._sim.now, name, text)

    def text(self, *lines: str) -> None:
        """Print lines that belong to no participant."""
        try:
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()
        except BrokenPipeError:
            # The reader, such as ``head``, has closed the pipe; the rest goes nowhere.
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), self._out.fileno())

    def _write(self, time: float, name: str, text: str) -> None:
        label = f"{name:>7}"
        if self._is_coloured:
            label = f"\x1b[{_COLOURS[name]}m{label}\x1b[0m"
        self.text(f"{time:7.3f} {label} | {text}")


# --- the programs -----------------------------------------------------------------------------------------------------


def _ada(page: _Page) -> None:
    with _join("ada", page) as room:
        bot = room.messaging.wait_for_participant(name="bot", timeout=_PATIENCE)
        meshsync.sleep(2)
        with room.messaging.messages("answer", sender=bot) as answers:
            page.line("ada", "asks bot 'how long is this?', with three bytes attached")
            begun = meshsync.monotonic()
            question = {"text": "how long is this?"}
            room.messaging.send_message(to=bot, type="question", message=question, attachment=b"\x01\x02\x03")
            page.line("ada", f"has the room's acknowledgement after {(meshsync.monotonic() - begun) * 1000:.0f} ms")
            answers.get(timeout=_PATIENCE)
        meshsync.sleep(max(0, begun + 5.2 - meshsync.monotonic()))
        for name in ("ben", "dora"):
            _stream(room, page, name)
        meshsync.sleep(1)
        page.line("ada", "leaves")


def _stream(room: RoomClient, page: _Page, name: str) -> None:
    to = room.messaging.wait_for_participant(name=name, timeout=_PATIENCE)
    page.line("ada", f"offers {name} a stream of photos")
    try:
        writer = room.messaging.create_stream(to=to, header={"what": "photos"})
    except StreamRejected as error:
        page.line("ada", f"is told StreamRejected: {error}")
        return
    with writer:
        page.line("ada", f"is told that {name} accepts, and writes three chunks of 20,000 bytes")
        for number in range(3):
            writer.write(MessageStreamChunk(header={"photo": number + 1}, data=bytes(20_000)))
            meshsync.sleep(0.1)
    page.line("ada", "has closed the stream; the room has acknowledged all of it")


def _read(reader: StreamReader, page: _Page, name: str) -> None:
    page.line(name, f"is offered a stream of {reader.header['what']} by {reader.sender.name}, and reads it")
    for chunk in reader:
        page.line(name, f"gets photo {chunk.header['photo']}, {len(chunk.data):,} bytes")
    page.line(name, "has read the stream to its end")


def _ben(page: _Page) -> None:
    begun = meshsync.monotonic()
    meshsync.sleep(1)
    room = _join("ben", page)
    meshsync.sleep(2)
    room.local_participant.set_attribute("status", "hungry")
    page.line("ben", "has set his attribute 'status' to 'hungry'")
    meshsync.sleep(1)
    page.line("ben", "broadcasts 'lunch at noon'")
    room.messaging.broadcast_message(type="announcement", message={"text": "lunch at noon"})
    meshsync.sleep(max(0, begun + 6 - meshsync.monotonic()))
    is_asked = _ask(room, page)
    if room.wait_closed(timeout=1):
        room = _join("ben", page)
    if not is_asked:
        _ask(room, page)
    meshsync.sleep(4)
    page.line("ben", "leaves")
    room.close()


def _ask(room: RoomClient, page: _Page) -> bool:
    ada = room.messaging.wait_for_participant(name="ada", timeout=_PATIENCE)
    page.line("ben", "asks ada 'are you coming?'")
    try:
        room.messaging.send_message(to=ada, type="question", message={"text": "are you coming?"})
    except ConnectionLost as error:
        page.line("ben", f"is told {type(error).__name__}: {str(error).partition(':')[0]}")
        return False
    page.line("ben", "has the room's acknowledgement")
    return True


def _join(name: str, page: _Page) -> RoomClient:
    """Connect, as everywhere else: the simulation puts its own room in the place of a real one."""
    room = meshsync.connect("demo", name=name)
    room.messaging.enable(lambda reader: _read(reader, page, name))
    here = room.messaging.remote_participants
    page.line(name, f"joins; here already: {', '.join(str(participant.name) for participant in here)}")

    def name_of(event: RoomMessageEvent) -> str:
        return str(event.participant.name) if event.participant is not None else "somebody"

    def see_arrival(event: RoomMessageEvent) -> None:
        if event.participant not in here:
            page.line(name, f"sees {name_of(event)} arrive")

    def see_departure(event: RoomMessageEvent) -> None:
        if room.is_connected:  # A client whose own connection ends sees all others leave.
            page.line(name, f"sees that {name_of(event)} has left")

    def see_change(event: RoomMessageEvent) -> None:
        changes = event.message.message["attributes"]
        page.line(name, f"sees that {name_of(event)} is now " + ", ".join(f"{k}: {v}" for k, v in changes.items()))

    def receive(event: RoomMessageEvent) -> None:
        page.line(name, f"gets {_quoted(event.message.type, event.message.message)} from {name_of(event)}")

    room.messaging.on("participant_added", see_arrival)
    room.messaging.on("participant_removed", see_departure)
    room.messaging.on("participant_attributes_updated", see_change)
    room.messaging.on("message", receive)
    room.messaging.on("disconnected", lambda event: page.line(name, f"is out: {event.message.message['reason']}"))
    return room


def _quoted(type: str, message: Mapping[str, Any]) -> str:
    return f"the {type} {message.get('text')!r}"


# --- the scripted participants ----------------------------------------------------------------------------------------


class _Bot(participants.Participant):
    """Answers questions after thinking for a while."""

    def __init__(self, page: _Page) -> None:
        super().__init__("bot")
        self._page = page

    def on_message(self, message: participants.Message) -> None:
        """Answer, if it is a question."""
        size = len(message.attachment)
        more = f", and {size} bytes" if size else ""
        self._page.line("bot", f"gets {_quoted(message.type, message.message)} from {message.sender.name}{more}")
        if message.type == "question":
            self.after(0.3, lambda: self.send(message.sender, "answer", {"text": f"{size} bytes"}))


class _Busy(participants.Rejecting):
    """Rejects streams."""

    def __init__(self, page: _Page) -> None:
        super().__init__("dora", "in a call")
        self._page = page

    def on_stream(self, offer: participants.Offer) -> None:
        """Reject it."""
        self._page.line("dora", f"is offered a stream by {offer.sender.name}, and rejects it: {self.reason}")
        super().on_stream(offer)
