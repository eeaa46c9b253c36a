"""What to write in place of names that programs try in vain at a simulation, an emulator and their rooms."""

from __future__ import annotations

from typing import ClassVar

from meshsync.hints import Hinted, each

__all__ = [
    "FAULTS",
    "LATENCY",
    "PARTICIPANTS",
    "HintedEmulator",
    "HintedMessage",
    "HintedParticipant",
    "HintedPeer",
    "HintedQuestion",
    "HintedRoom",
    "HintedSimulation",
]


LATENCY = {
    **each("normal gaussian gauss Normal", "lognormal(median, sigma), since no delay is below 0"),
    **each("fixed const static", "constant(seconds)"),
    **each("random range jitter between", "uniform(low, high)"),
    **each("expo expovariate poisson", "exponential(mean)"),
    **each("samples measured histogram trace from_samples", "empirical(samples)"),
    **each("pareto weibull gamma triangular", "empirical(samples), of samples of it"),
    **each("regions by_region places pairs", "matrix(pairs, regions=…, default=…)"),
    **each("ms milliseconds seconds", "a number of seconds: 0.04 for 40 ms"),
    **each("none zero no_latency", "0, a number of seconds"),
}
"""Of the module ``latency``."""
FAULTS = {
    **each("disconnect kick close cut abort", "reset(name), drop(name), or leave(name)"),
    **each("kill stop terminate", "crash(program), of one that sim.spawn began"),
    **each("delay lag slow_network jitter", "latency(law, name)"),
    **each("slow", "slow_program(program, factor=…), or latency(law, name) for its connections"),
    **each("split netsplit isolate network_partition disconnect_all", "partition(names)"),
    **each("freeze hang stall suspend", "pause(name, seconds), or pause_program(program, seconds)"),
    **each(
        "lose loss drop_messages drop_packets packet_loss", "block(sender, to, loses=True): connections lose nothing"
    ),
    **each("bandwidth rate_limit limit", "throttle(name, bandwidth)"),
    **each("reject refuse", "reject_streams(name), or refuse_connect(name)"),
    **each("error errors fail failure", "error_replies(name, code)"),
    **each("timeout no_reply silence", "late_replies(name, seconds), or half_open(name)"),
    **each("skew clock clock_skew", "skew_clock(program, seconds)"),
    **each("reboot restart_room restart_server", "restart(down=seconds)"),
    **each("reconnect heal repair", "nothing: clients come back by themselves; what is lasting ends with during"),
    **each("after when once schedule", "at(seconds, fault), or on(event).do(fault)"),
    **each("until between", "during(start, end, fault)"),
    **each("repeat periodically", "every(interval, fault)"),
    **each("always now", "the fault by itself, which holds from now on"),
    **each("end stop_all clear", "quiet(after=seconds)"),
}
"""Of the module ``faults``."""
PARTICIPANTS = {
    **each("Bot Agent Base BaseParticipant", "Participant, whose subclass has on_message(message)"),
    **each("Script ScriptedParticipant", "Scripted"),
    **each("EchoBot Echoer Replier Answerer", "Echo"),
    **each("Talker Broadcaster Sender Speaker", "Chatter"),
    **each("Receiver Listener Reader Collector", "Sink"),
    **each("Writer Uploader", "Streamer"),
    **each("Rejecter Rejector Refusing", "Rejecting"),
    **each("Mute Deaf Idle", "Silent"),
    **each("Guest Flapping", "Visitor"),
    **each("crowd many", "churn"),
    **each("RemoteParticipant LocalParticipant", "Peer, as a scripted participant sees others"),
    **each("MessageStreamReader MessageStreamWriter", "Stream"),
    **each("MessageStreamChunk StreamChunk", "Chunk"),
    **each("RoomMessage RoomMessageEvent", "Message"),
    **each("Client connect join", "sim.room(name).join(name), which returns a client"),
}
"""Of the module ``participants``."""


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
