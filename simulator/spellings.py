"""What to write in place of names that programs try in vain at a simulation, an emulator and their rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NoReturn

from meshsync.hints import Hinted, each, module_error

__all__ = [
    "HintedEmulator",
    "HintedMessage",
    "HintedParticipant",
    "HintedPeer",
    "HintedQuestion",
    "HintedRoom",
    "HintedSimulation",
    "answered",
    "each",
]


def answered(module: str, spellings: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """Return the ``__getattr__`` of a module that answers names which it has not.

    Args:
        spellings: By a name that programs try, what it is there.
    """

    def missing(name: str) -> NoReturn:
        raise module_error(module, name, spellings)

    return missing


class HintedSimulation(Hinted):
    """A simulation."""

    _spellings: ClassVar[dict[str, str]] = {
        "connect": "meshsync.connect, in a program that sim.spawn or sim.run runs, or in the with block",
        "room_client": "meshsync.connect, in a program that sim.spawn runs, or in the with block",
        "client": "meshsync.connect, in a program that sim.spawn runs, or in the with block",
        "participant": "sim.room(name).add(Participant(name)), or a program for sim.spawn",
        "add": "sim.room(name).add",
        "add_participant": "sim.room(name).add",
        "join": "sim.room(name).join",
        **each("ask on_request messaging", "that of a client: sim.room(name).join(…).messaging"),
        "partition": "plan(faults.at(…, faults.partition(…))), see simulator.faults",
        **each("elapsed current_time", "now"),
        **each("execute run_until_complete run_forever", "run"),
        **each("create_task start_soon thread process", "spawn"),
        "start": "spawn for a program, and run, sleep or advance to let time pass",
        "wait": "sleep, or run until nothing is left to do",
        "time": "now",
        "clock": "now",
        "stop": "close, or the end of the with block",
        "kick": "plan(faults.Leave(…)), see simulator.faults",
        "fault": "plan",
        "inject": "plan",
        "add_fault": "plan",
        "faults": "plan; what there is lies in simulator.faults",
        "transcript": "sim.room(name).transcript",
        "plot": "sim.room(name).transcript.plot",
        "invariant": "always, never or eventually",
    }


class HintedRoom(Hinted):
    """A room of a simulation."""

    _spellings: ClassVar[dict[str, str]] = {
        "connect": "meshsync.connect(room.name, name=…)",
        "participant": "add",
        "messages": "transcript.records",
        "plot": "transcript.plot",
        "timeline": "transcript.timeline",
    }


class HintedEmulator(Hinted):
    """An emulator."""

    _spellings: ClassVar[dict[str, str]] = {
        **each("join client connect_client", "connect(room, name)"),
        "messages": "transcript(room), of an Emulator(record=True)",
        "stop": "close, or the end of the with block",
        "shutdown": "close, or the end of the with block",
        "kick": "drop",
        "disconnect": "drop",
        "run": "start; from a shell, python -m simulator serve",
        "serve": "start; from a shell, python -m simulator serve",
        "serve_forever": "start; from a shell, python -m simulator serve",
        "environ": "env",
        "environment": "env",
        "address": "url",
        "room": "rooms, participants(room) and transcript(room)",
        "fault": "plan",
        "inject": "plan",
    }


class HintedParticipant(Hinted):
    """A scripted participant."""

    _spellings: ClassVar[dict[str, str]] = {
        "send_message": "send",
        "broadcast_message": "broadcast",
        "create_stream": "open_stream",
        "write": "that of the stream, which open_stream and accept return",
        "reply": "question.reply, in on_request(question)",
        "refuse": "question.refuse, in on_request(question)",
        "ask": "send, and on_message for the answer; a client asks: sim.room(name).join(…).messaging.ask",
        "sleep": "after(seconds, callback): a scripted participant never waits",
        "wait": "after(seconds, callback): a scripted participant never waits",
        "call_later": "after",
        "time": "now",
        "stop": "leave",
        "close": "leave",
        "get_participant_by_name": "peer",
        "remote_participants": "peer, by name",
        "messaging": "send, broadcast and open_stream of this participant itself",
    }


class HintedPeer(Hinted):
    """A participant as a scripted one sees it."""

    __slots__ = ()
    _spellings: ClassVar[dict[str, str]] = {
        "get_attribute": "attributes.get",
        "display_name": "name",
        "participant_id": "id",
        "send": "send(peer, …) of the participant",
        "send_message": "send(peer, …) of the participant",
    }


class HintedMessage(Hinted):
    """A message as a scripted participant gets it."""

    __slots__ = ()
    _spellings: ClassVar[dict[str, str]] = {
        "participant": "sender",
        "from_participant": "sender",
        "from_participant_id": "sender.id",
        "text": "message.message['text']: what was sent is the dict .message",
        **each("body data content payload", "message.message, the dict that was sent"),
        "get": "message.message.get: what was sent is the dict .message",
        **each(
            "reply answer respond",
            "send(message.sender, …) of the participant; what on_request gets has reply",
        ),
    }


class HintedQuestion(HintedMessage):
    """A question as a scripted participant gets it."""

    __slots__ = ()
    _spellings: ClassVar[dict[str, str]] = {
        **{name: there for name, there in HintedMessage._spellings.items() if name != "reply"},
        **each("answer respond", "reply"),
        **each("reject decline", "refuse"),
    }
