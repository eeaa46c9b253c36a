"""Small mistakes of newcomers, and what each is told: the source of docs/mistakes.md, and of a test.

Before each, ``emulator`` is running, ``bob`` and ``room`` have joined ``lab``, ``messaging`` is the room's, and ``peer``
is Bob as ``messaging`` knows him.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MISTAKES", "Mistake", "mistakes"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake: code, and the last line of what it prints."""

    chapter: str
    title: str
    code: str
    sees: str
    """The error as Python prints it, class first; ``warning:`` or ``log:`` where it is told so. ``…`` stands for ids."""


# ruff: noqa: E501
MISTAKES = """
# asyncio where there is none

## Awaiting a client
import asyncio

async def main():
    room = await meshsync.connect("lab", name="ada")

asyncio.run(main())
> TypeError: meshsync is synchronous: what returned this RoomClient is done; leave 'await' out

## async with
import asyncio

async def main():
    async with meshsync.connect("lab", name="ada") as room:
        ...

asyncio.run(main())
> TypeError: meshsync is synchronous: write 'with' in place of 'async with' for a RoomClient

## async for over messages
import asyncio

async def main():
    async for message in messaging.messages():
        print(message)

asyncio.run(main())
> TypeError: meshsync is synchronous: write 'for' in place of 'async for' over a Subscription

## async for over the chunks of a stream
import asyncio

streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
writer = messaging.create_stream(peer)

async def main():
    async for chunk in writer.reader:
        print(chunk)

asyncio.run(main())
> TypeError: meshsync is synchronous: write 'for' in place of 'async for' over a MessageStreamReader

## Sending in a coroutine
import asyncio

async def main():
    messaging.send_message(peer, "chat", {"text": "hi"})

asyncio.run(main())
> warning: send_message() is called in a coroutine: meshsync is synchronous, so the event loop stands still until the call is done, and there is nothing to await; call it by asyncio.to_thread, or in a function that is not async

## A receiver that is a coroutine function
@messaging.on_message("chat")
async def show(event):
    print(event.message)
> TypeError: <function show at …> is a coroutine function, which nothing here would await; give a plain one

## A receiver that returns a coroutine
async def show(event):
    print(event.message)

messaging.on_message("chat", lambda event: show(event))
bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …<lambda> raised TypeError: it did nothing but return 'coroutine', which nothing here would run: give a plain one

# Names of others

## Camel case
messaging.sendMessage(peer, "chat", {})
> AttributeError: 'MessagingClient' object has no attribute 'sendMessage': it is send_message

## get_participants
messaging.get_participants()
> AttributeError: 'MessagingClient' object has no attribute 'get_participants': it is remote_participants

## read_chunks
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
messaging.create_stream(peer).reader.read_chunks()
> AttributeError: 'MessageStreamReader' object has no attribute 'read_chunks': it is iteration: for chunk in reader

## stop
messaging.stop()
> AttributeError: 'MessagingClient' object has no attribute 'stop': it is disable

## Sending by the room
room.send_message(peer, "chat", {})
> AttributeError: 'RoomClient' object has no attribute 'send_message': it is room.messaging.send_message

## Sending by the participant
peer.send_message("chat", {})
> AttributeError: 'RemoteParticipant' object has no attribute 'send_message': it is room.messaging.send_message(participant, …)

## Participants of the room
room.participants
> AttributeError: 'RoomClient' object has no attribute 'participants': it is room.messaging.remote_participants

## Disconnecting
room.disconnect()
> AttributeError: 'RoomClient' object has no attribute 'disconnect': it is room.close

## Setting an attribute of the room
room.set_attribute("mood", "calm")
> AttributeError: 'RoomClient' object has no attribute 'set_attribute': it is room.local_participant.set_attribute

## Setting an attribute of another
peer.set_attribute("mood", "calm")
> AttributeError: 'RemoteParticipant' object has no attribute 'set_attribute': it is nothing: only a participant itself sets its attributes

## Writing by send
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
messaging.create_stream(peer).send(b"data")
> AttributeError: 'MessageStreamWriter' object has no attribute 'send': it is write

## A subscription like a queue
messaging.messages().get_nowait()
> AttributeError: 'Subscription' object has no attribute 'get_nowait': it is get(timeout=0)

## A typing error
messaging.broadcast_mesage("chat", {})
> AttributeError: 'MessagingClient' object has no attribute 'broadcast_mesage': did you mean broadcast_message?

# Messages and events

## A message as a dict
messages = messaging.messages()
bob.messaging.broadcast_message("chat", {"text": "hi"})
messages.get(timeout=10)["text"]
> TypeError: a RoomMessage is no dict: what was sent is the dict message.message

## An event as a dict
@messaging.on_message("chat")
def show(event):
    print(event["text"])

bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …show raised TypeError: a RoomMessageEvent is no dict: what was sent is the dict event.message.message

## The message's text
@messaging.on_message("chat")
def show(event):
    print(event.message.text)

bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …show raised AttributeError: 'RoomMessage' object has no attribute 'text': it is message.message['text']: what was sent is the dict .message

## The sender of an event
@messaging.on_message("chat")
def show(event):
    print(event.sender)

bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …show raised AttributeError: 'RoomMessageEvent' object has no attribute 'sender': it is participant

## Iterating over the client
for message in messaging:
    print(message)
> TypeError: a MessagingClient is no iterator: write 'for message in messaging.messages()'

## Iterating over the room
for message in room:
    print(message)
> TypeError: a RoomClient is no iterator: write 'for message in room.messaging.messages()'

## with the client
with messaging:
    ...
> TypeError: it is the room that is closed: write 'with meshsync.connect(…) as room'

# Receivers that would never be called

## No type
@messaging.on_message
def show(event):
    print(event.message)
> TypeError: the type of a message is a str, not <function show at …>; as a decorator, write @on_message("a type")

## Called instead of passed
messaging.on("message", print("hello"))
> TypeError: a receiver is called with a RoomMessageEvent; None cannot be called

## Several types at once
messaging.on_message(["chat", "reply"], print)
> TypeError: the type of a message is a str, not ['chat', 'reply']

## No such event
messaging.on("mesage", print)
> ValueError: no event 'mesage'; there are message, participant_added, participant_removed, participant_attributes_updated, stream_opened, stream_closed, messaging_enabled, messaging_disabled, disconnected, reconnected, receiver_failed, messages_dropped, messages_missed

## Too few parameters
@messaging.on_message("chat")
def show():
    print("a message")
> TypeError: a receiver is called with a RoomMessageEvent, which …show() does not take: too many positional arguments

## Too many parameters
@messaging.on_message("chat")
def show(sender, message):
    print(message)
> TypeError: a receiver is called with a RoomMessageEvent, which …show(sender, message) does not take: missing a required argument: 'message'

## A method without its object
class Bot:
    def show(self, event):
        print(event)

messaging.on_message("chat", Bot.show)
> TypeError: a receiver is called with a RoomMessageEvent, which …Bot.show(self, event) does not take: missing a required argument: 'event'

## A signal's receiver without event
@meshsync.signals.message.connect
def show(message):
    print(message)
> TypeError: a receiver is called with a sender and event=, which …show(message) does not take: got an unexpected keyword argument 'event'

## No such signal
meshsync.signals.mesage.connect(print)
> AttributeError: module 'meshsync.signals' has no attribute 'mesage'

## An accept callback without a parameter
bob.messaging.enable(lambda: None)
> TypeError: the accept callback is called with a MessageStreamReader, which …<lambda>() does not take: too many positional arguments

## Undoing what was not done
messaging.on_message("chat", lambda event: print(event))
messaging.off("message", lambda event: print(event))
> ValueError: …<lambda> is not registered for 'message'

## Registering at a closed client
room.close()
messaging.on_message("chat", print)
> ClientClosed: the client was closed by this program

# Waiting in vain

## Messages, before messaging is enabled
messaging.disable()
for message in messaging.messages():
    print(message)
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## A message, before messaging is enabled
messaging.disable()
messaging.wait_for_message("reply")
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## A participant, before messaging is enabled
messaging.disable()
messaging.wait_for_participant(name="bob")
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## Streams, before messaging is enabled
messaging.disable()
for reader in messaging.streams():
    print(reader.header)
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## Waiting while messaging is disabled
threading.Timer(0.1, messaging.disable).start()
messaging.wait_for_message("reply")
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## run_forever, before messaging is enabled
messaging.disable()
room.run_forever()
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## wait_closed with a receiver, before messaging is enabled
messaging.disable()
messaging.on_message("chat", print)
room.wait_closed()
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## Who is here, before messaging is enabled
with meshsync.connect("lab", name="eve") as eve:
    print(eve.messaging.remote_participants)
> warning: remote_participants knows no one until messaging is enabled: call room.messaging.enable() first

## Messages of a name
messaging.messages(sender="bob")
> ParticipantNotFound: 'bob' is a name and no id: give get_participant_by_name('bob'), or its id '…'

## Messages of a closed client
room.close()
for message in messaging.messages():
    print(message)
> ClientClosed: the client was closed by this program

## A time limit in the wrong place
messaging.wait_for_participant("bob", 5)
> TypeError: the role of a participant is a str, not 5

## A time limit as text
messaging.wait_for_message("reply", timeout="5")
> TypeError: timeout is a number of seconds, not '5'

## A time limit as timedelta
import datetime

messaging.wait_for_message("reply", timeout=datetime.timedelta(seconds=5))
> TypeError: timeout is a number of seconds, not datetime.timedelta(seconds=5)

## An answer that came before the question for it
early = messaging.messages()
bob.messaging.broadcast_message("reply", {})
print(early.get())
messaging.wait_for_message("reply", timeout=0.1)
> ReceiveTimeout: no message of type 'reply' came within 0.1 s

# Sending

## To a name
messaging.send_message("bob", "chat", {})
> ParticipantNotFound: 'bob' is a name and no id: give get_participant_by_name('bob'), or its id '…'

## To a name that is not there
messaging.send_message("eve", "chat", {})
> ParticipantNotFound: the message 'chat' to eve: the participant was not found

## To None
messaging.send_message(messaging.get_participant_by_name("eve"), "chat", {})
> TypeError: give a participant or the id of one, not None: a lookup such as get_participant_by_name gives None where none is found; wait_for_participant waits

## To several
messaging.send_message([peer, peer], "chat", {})
> TypeError: give a participant or the id of one, not […: send to one after the other, or to all by broadcast_message

## To a room
messaging.send_message(room, "chat", {})
> TypeError: a RoomClient is no participant: give its .local_participant

## A text as message
messaging.send_message(peer, "chat", "hi")
> InvalidMessage: message: str is not a JSON object; give a dict

## Bytes in a message
messaging.send_message(peer, "chat", {"picture": b"GIF89a"})
> InvalidMessage: message['picture']: bytes is not JSON; bytes are sent as the attachment, or as a text such as base64

## A date in a message
import datetime

messaging.send_message(peer, "chat", {"when": datetime.date(2026, 1, 1)})
> InvalidMessage: message['when']: datetime.date is not JSON; send its isoformat()

## A set in a message
messaging.send_message(peer, "chat", {"tags": {"a"}})
> InvalidMessage: message['tags']: set is not JSON; send a list of it

## Keys that are numbers
messaging.send_message(peer, "chat", {1: "one"})
> InvalidMessage: message: the key 1 is int; keys of JSON objects are str

## A text as attachment
messaging.send_message(peer, "chat", {}, "text")
> InvalidMessage: attachment: str does not hold bytes; give text.encode()

## A path as attachment
import pathlib

messaging.send_message(peer, "chat", {}, pathlib.Path("picture.png"))
> InvalidMessage: attachment: PosixPath does not hold bytes; give path.read_bytes(), or use send_file()

## Sending before messaging is enabled
messaging.disable()
messaging.broadcast_message("chat", {})
> NotEnabled: messaging is not enabled on this client: call room.messaging.enable() first

## Sending after the end
room.close()
messaging.broadcast_message("chat", {})
> ClientClosed: the client was closed by this program; connect again

## To one who has left
left = threading.Event()
messaging.on("participant_removed", lambda event: left.set())
bob.close()
left.wait()
messaging.send_message(peer, "chat", {})
> ParticipantNotFound: 'bob' has left the room's messaging

## Changing attributes in place
room.local_participant.attributes["mood"] = "calm"
> TypeError: attributes are read-only; this client's own are set by local_participant.set_attribute

# Streams and files

## A stream that Bob's program does not take
messaging.create_stream(peer)
> StreamRejected: Streams are not allowed by this client

## A text as chunk
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
messaging.create_stream(peer).write("text")
> InvalidMessage: chunk: str does not hold bytes; give text.encode()

## Writing to a closed stream
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
writer = messaging.create_stream(peer)
writer.close()
writer.write(b"data")
> UsageError: stream … to bob cannot be written to: this program closed it

## A stream to oneself
messaging.create_stream(room.local_participant)
> UsageError: a stream to oneself would need both ends in one client: use a queue

## A file that is not there
messaging.send_file("no-such-file", peer)
> FileNotFoundError: [Errno 2] No such file or directory: 'no-such-file'

# Joining

## No name
meshsync.connect("lab")
> UsageError: no name to join with: give name=, which goes into the token that is made from the key

## No room
meshsync.connect(name="ada")
> UsageError: no room to join: give room=, or set MESHAGENT_ROOM or MESHAGENT_ROOM_URL

## An address as room
meshsync.connect("ws://127.0.0.1:6374", name="ada")
> RoomNotFound: 'ws://127.0.0.1:6374' cannot be the name of a room: use a to z, 0 to 9 and hyphens; an address is given as url=

## An address without its scheme
meshsync.connect("lab", name="ada", url="127.0.0.1:6374")
> UsageError: not an address of a room service: '127.0.0.1:6374'; did you mean 'ws://127.0.0.1:6374'?

## A number as name
meshsync.connect("lab", name=7)
> TypeError: name= is a text, not 7

## A role that is none
meshsync.connect("lab", name="ada", role=None)
> UsageError: role= is empty: give user, agent or another

## No service there
meshsync.connect("lab", name="ada", url="ws://127.0.0.1:1")
> RoomUnavailable: cannot reach 127.0.0.1:1: Connection refused; nothing listens there: python -m simulator serve opens rooms on this machine

## A token that is none
meshsync.connect("lab", token="secret")
> AuthenticationFailed: what was presented is not a JSON Web Token: it has to be the whole text of one, eyJ… with two dots in it

## A token for another room
meshsync.connect("den", token=emulator.token("lab", "ada"))
> PermissionDenied: 127.0.0.1:… does not admit this token to the room (403): the token is for another room

## A key that is none
meshsync.connect("lab", name="ada", api_key="secret")
> UsageError: not an API key: it has to begin with 'ma-'

# Emulators

## Asking before the start
simulator.Emulator(port=0).url
> UsageError: the emulator is not running: use it as a context manager, or call start()

## A port that is taken
simulator.Emulator(port=emulator.port).start()
> UsageError: cannot listen on 127.0.0.1 port …: Address already in use; port=0 picks a free one

## A port as text
simulator.Emulator(port="0").start()
> UsageError: port: a port is a number from 0 to 65535, not '0'

## Stopping it
emulator.stop()
> AttributeError: 'Emulator' object has no attribute 'stop': it is close, or the end of the with block

## Dropping one who is not there
emulator.drop("eve")
> UsageError: no participant 'eve' is connected

# Simulations

## A seed that is no number
simulator.Simulation(seed=1.5)
> TypeError: a seed is an int or a text, not 1.5

## A delay as text
simulator.Simulation(latency="40ms")
> TypeError: a delay is a law of simulator.latency, or a number of seconds (0.04 for 40 ms), not '40ms'

## Two at once
with simulator.Simulation(seed=1):
    simulator.Simulation(seed=2)
> SimulationNested: another simulation is open in this process, since …: close it first, by the end of its with block or by its close()

## Connecting by the simulation
with simulator.Simulation(seed=1) as sim:
    sim.connect("lab", name="ada")
> AttributeError: 'Simulation' object has no attribute 'connect': it is meshsync.connect, in a program that sim.spawn or sim.run runs, or in the with block

## Sleeping for real
with simulator.Simulation(seed=1) as sim:
    sim.spawn(lambda: time.sleep(2))
    sim.run()
> BlockingRefused: time.sleep of 2 s by '<lambda>' takes real time, and none of the simulation's: …; the spelling for simulations and real threads alike is meshsync.sleep, see docs/virtual-time.md

## Calling instead of passing
with simulator.Simulation(seed=1) as sim:
    sim.spawn(print("hello"))
> TypeError: a task's target is called with the arguments given; None cannot be called

## Spawning, and letting no time pass
with simulator.Simulation(seed=1) as sim:
    sim.spawn(print, "hello")
> warning: 'print' never ran: nothing let time pass since it was spawned; call sim.run(), sim.sleep() or another call that waits

## Nothing to try
simulator.explore(lambda sim: None, seeds=range(0))
> UsageError: there is no seed to try: seeds is empty

## A schedule that there is not
simulator.explore(lambda sim: None, seeds=range(3), schedule="lates")
> ValueError: no schedule is named 'lates': there are …

## A claim that is a value
with simulator.Simulation(seed=1) as sim:
    sim.always(True)
> UsageError: a predicate is a function, which is asked again and again, not True
"""


def mistakes(text: str = MISTAKES) -> list[Mistake]:
    """Return the mistakes of a text like `MISTAKES`."""
    found = []
    for chapter in text.split("\n# ")[1:]:
        name, *entries = chapter.split("\n## ")
        for entry in entries:
            title, _, rest = entry.partition("\n")
            code, _, sees = rest.partition("\n> ")
            found.append(Mistake(name.strip(), title, code.strip("\n"), sees.strip()))
    return found
