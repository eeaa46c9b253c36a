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

## Taking back a handler that there is not
messaging.off_request("sum")
> ValueError: no handler is registered for questions of type 'sum'; there are none: on_request registers them

## A receiver that returns a coroutine
async def show(event):
    print(event.message)

messaging.on_message("chat", lambda event: show(event))
bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …<lambda> raised TypeError: it did nothing but return 'coroutine', which nothing here would run: give a plain one

## A receiver that raises, in a simulation
def check_price(event):
    assert event.message.message["cents"] > 0, "a price of nothing"

with simulator.Simulation() as sim:
    ada = sim.room("lab").join("ada", enable=True)
    ada.messaging.on_message("price", check_price)
    ada.messaging.send_message(ada.local_participant, "price", {"cents": 0})
    sim.sleep(1)
> ReceiverFailed: …check_price of 'ada' failed at 'message', mistake.py:2: AssertionError: a price of nothing. In production this would only be logged; where it is meant: Simulation(failing_receivers="log")

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

## Asking as other libraries call it
messaging.request(peer, "price", {})
> AttributeError: 'MessagingClient' object has no attribute 'request': it is ask

## Asking by the room
room.request_reply(peer, "price", {})
> AttributeError: 'RoomClient' object has no attribute 'request_reply': it is room.messaging.ask

## A typing error at the room
room.send_mesage(peer, "chat", {})
> AttributeError: 'RoomClient' object has no attribute 'send_mesage': did you mean room.messaging.send_message?

## An error that is called otherwise
try:
    messaging.ask(peer, "price", {})
except meshsync.RequestRejected:
    ...
> AttributeError: module 'meshsync' has no attribute 'RequestRejected': it is RequestRefused; a handler raises Refuse

## The result of a task
meshsync.spawn(lambda: 5).result()
> AttributeError: 'ThreadTask' object has no attribute 'result': it is error; what the function returns is dropped: keep it in a list

## A chunk as bytes
meshsync.MessageStreamChunk({}, b"text").decode()
> AttributeError: 'MessageStreamChunk' object has no attribute 'decode': it is chunk.data.decode()

## A participant as a dict
peer["mood"]
> TypeError: 'RemoteParticipant' object has no items: its attributes are got by get_attribute(name)

# Arguments that there are not

## A keyword of another library
messaging.send_message(to=peer, type="chat", msg={"text": "hi"})
> TypeError: send_message() got an unexpected keyword argument 'msg': it is message=

## A keyword in camel case
bob.messaging.on_request("price", print, replyType="price.reply")
> TypeError: on_request() got an unexpected keyword argument 'replyType': it is reply_type=

## The name in the second place
meshsync.connect("lab", "ada")
> TypeError: connect() takes from 0 to 1 positional arguments but 2 were given: it takes [room] by place; by name name=, role=, …

## A time limit in the last place
messaging.ask(peer, "price", {}, None, 5)
> TypeError: ask() takes from 2 to 5 positional arguments but 6 were given: it takes to, [type], [message], [attachment] by place; by name timeout=, reply_type=, match=

## A client made by hand
meshsync.MessagingClient("ws://127.0.0.1:6374")
> TypeError: a MessagingClient is of a room that was joined, not of 'ws://127.0.0.1:6374': use room.messaging

## A time limit in the place of the sender
messaging.wait_for_message("reply", 5)
> TypeError: give a participant or the id of one, not 5: a time limit is given as timeout=

## A misspelled option of a simulation
simulator.Simulation(latncy=0.04)
> TypeError: Simulation() got an unexpected keyword argument 'latncy': it is latency=

# Questions

## Nothing there answers
messaging.ask(peer, "price", {})
> RequestRefused: 'bob' has no handler for questions of type 'price'; it has no handlers: on_request there adds one

## Asking by name
messaging.ask("bob", "price", {})
> ParticipantNotFound: 'bob' is a name and no id: give get_participant_by_name('bob'), or its id '…'

## No type for the handler
@bob.messaging.on_request
def price(event):
    return {"cents": 250}
> TypeError: the type of a message is a str, not <function price at …>; as a decorator, write @on_request("a type")

## Returning what is to be raised
bob.messaging.on_request("price", lambda event: meshsync.Refuse("not for sale"))
failed = threading.Event()
bob.messaging.on("receiver_failed", lambda event: failed.set())
try:
    messaging.ask(peer, "price", {})
finally:
    failed.wait()
> log: receiver …<lambda> raised TypeError at question …: it returned Refuse('not for sale'): raise it

## A receiver in the place of a handler
bob.messaging.on_message("price", lambda event: {"cents": 250})
messaging.ask(peer, "price", {}, timeout=0.2)
> log: what the receiver …<lambda> returned answers no question of type 'price': register it by on_request('price', …), or call event.reply(…)

## Answering what is no question
@messaging.on_message("chat")
def answer(event):
    event.reply({"text": "hello"})

bob.messaging.broadcast_message("chat", {"text": "hi"})
> log: receiver …answer raised UsageError: a message of type 'chat' is no question of ask(): send_message(event.participant, …) sends to its sender

## No time for an answer
bob.messaging.on_request("price", lambda event: {"cents": 250})
messaging.ask(peer, "price", {}, timeout=0)
> SendTimeout: the question 'price' to 'bob': its answerer was not reached within 0 s; not sent; timeout=0 leaves no time for an answer

## An answer by its number
messaging.ask_all("price", {})[0]
> TypeError: 'Answers' object has no items: iterate over it, or over list(answers)

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
> TypeError: a receiver is called with a RoomMessageEvent; None cannot be called: give a function itself, without () behind it

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
> ValueError: …<lambda> is not registered for 'message': give off() the very function that was given to on()

## Registering at a closed client
room.close()
messaging.on_message("chat", print)
> ClientClosed: the client was closed by this program; connect again

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
> ClientClosed: the client was closed by this program; connect again

## A time limit in the wrong place
messaging.wait_for_participant("bob", 5)
> TypeError: the role of a participant is a str, not 5

## A time limit in milliseconds
messaging.send_message(peer, "chat", {}, timeout=5000)
> warning: timeout=5000 is 5000 s: for 5000 ms give 5, and for that many seconds 5000.0

## All time limits in milliseconds
meshsync.connect("lab", name="ada", default_timeout=30000).close()
> warning: default_timeout=30000 is 30000 s: for 30000 ms give 30, and for that many seconds 30000.0

## A time limit as text
messaging.wait_for_message("reply", timeout="5")
> TypeError: timeout is a number of seconds, not '5'

## A time limit as timedelta
import datetime

messaging.wait_for_message("reply", timeout=datetime.timedelta(seconds=5))
> TypeError: timeout is a number of seconds, not datetime.timedelta(seconds=5)

## A participant whose name is written otherwise
messaging.wait_for_participant(name="Bob", timeout=0.1)
> ReceiveTimeout: no participant with name='Bob' was there within 0.1 s; there was 'bob', of those that enabled messaging

## A name in the place of an id
messaging.get_participant("bob")
> warning: get_participant() takes an id, and 'bob' is a name: get_participant_by_name() takes that

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
> ParticipantNotFound: the message 'chat' to eve: the participant was not found; messaging.remote_participants has those who are here

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

## The message in the place of its type
messaging.send_message(peer, {"text": "hi"})
> InvalidMessage: type: needs a text of at least one character, not {'text': 'hi'}; it comes before the message

## A broadcast to one
messaging.broadcast_message(peer, "chat", {})
> InvalidMessage: type: needs a text of at least one character, not <RemoteParticipant 'bob' …>; to one participant there are send_message and ask

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

## A text for confirm
messaging.send_message(peer, "chat", {"text": "hi"}, confirm="yes")
> TypeError: confirm: True or False, not 'yes'

## A with block on a client that was closed
room.close()
with room:
    ...
> ClientClosed: 'with' on a client that this program has closed: it does not open again; connect anew

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
> ParticipantNotFound: 'bob' has left the room's messaging; one that came back is another participant: find it by wait_for_participant(name=…)

## Changing attributes in place
room.local_participant.attributes["mood"] = "calm"
> TypeError: attributes are read-only; this client's own are set by local_participant.set_attribute

# Streams and files

## A stream that Bob's program does not take
messaging.create_stream(peer)
> StreamRejected: Streams are not allowed by this client: the program of 'bob' takes none until it calls messaging.enable(callback), or messaging.streams() to iterate over them

## A text as chunk
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
messaging.create_stream(peer).write("text")
> InvalidMessage: chunk: str does not hold bytes; give text.encode()

## A dict as chunk
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
messaging.create_stream(peer).write({"part": 1})
> InvalidMessage: chunk: dict does not hold bytes; give json.dumps(…).encode()

## A writer that is never closed
readers = []
bob.messaging.enable(readers.append)
messaging.create_stream(peer).write(b"data")
readers[0].read_all(timeout=10)
> StreamInterrupted: alice ended the stream early: the program dropped its writer without close()

## A writer that is kept and never closed
readers = []
bob.messaging.enable(readers.append)
writer = messaging.create_stream(peer)
readers[0].read_all(timeout=0.1)
> ReceiveTimeout: stream … from alice: no chunk came within 0.1 s; alice has not closed it, so it is slow, or its program dropped the writer

## Writing to a closed stream
streams = bob.messaging.streams()
threading.Thread(target=lambda: streams.get().accept()).start()
writer = messaging.create_stream(peer)
writer.close()
writer.write(b"data")
> UsageError: stream … to bob cannot be written to: this program closed it; create_stream opens another

## A stream to oneself
messaging.create_stream(room.local_participant)
> UsageError: a stream to oneself would need both ends in one client: use a queue

## A file that is not there
messaging.send_file("no-such-file", peer)
> FileNotFoundError: [Errno 2] No such file or directory: 'no-such-file'

## The recipient in the place of the file
messaging.send_file(peer, "picture.png")
> TypeError: the first argument is the file's path, and the second its recipient, not <RemoteParticipant 'bob' …>

# Joining

## No name
meshsync.connect("lab")
> UsageError: no name to join with: give name=, which goes into the token that is made from the key

## No room
meshsync.connect(name="ada")
> UsageError: no room to join: give room=, or set MESHAGENT_ROOM or MESHAGENT_ROOM_URL

## An address as room
meshsync.connect("ws://127.0.0.1:6374", name="ada")
> RoomNotFound: 'ws://127.0.0.1:6374' cannot be the name of a room: a room's name has 1 to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit; an address is given as url=

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

## A host that is not this machine
simulator.Emulator(host="no-such-host.invalid").start()
> UsageError: cannot listen on no-such-host.invalid port 0: …; host= is an address of this machine, 127.0.0.1 by default

## Stopping it
emulator.stop()
> AttributeError: 'Emulator' object has no attribute 'stop': it is close, or the end of the with block

## Dropping one who is not there
emulator.drop("eve")
> UsageError: no participant 'eve' is connected: give the name of one that is, or wait until it has joined

# Simulations

## A seed that is no number
simulator.Simulation(seed=1.5)
> TypeError: a seed is an int or a text, not 1.5

## A delay as text
simulator.Simulation(latency="40ms")
> TypeError: a delay is a law of simulator.latency, or a number of seconds (0.04 for 40 ms), not '40ms'

## A delay in milliseconds
simulator.Simulation(latency=40).close()
> warning: a latency of 40 is 40 s, each way: for 40 ms give 0.04, and for that many seconds simulator.latency.constant(40)

## Running a function
with simulator.Simulation(seed=1) as sim:
    sim.run(lambda: print("hello"))
> TypeError: run() lets time pass: sim.spawn(program) runs a function, whose end its join() waits for

## A participant's class
with simulator.Simulation(seed=1) as sim:
    sim.room("lab").add(simulator.participants.Echo)
> TypeError: a participant is an object of a subclass of participants.Participant, not <class 'simulator.participants.messaging.Echo'>; Echo(name) makes one

## A participant that is a coroutine
class Bot(simulator.participants.Participant):
    async def on_message(self, message):
        print(message)

with simulator.Simulation(seed=1) as sim:
    sim.room("lab").add(Bot("bot"))
> TypeError: Bot.on_message is a coroutine or generator function, of which nothing would run: give a plain one, and in place of a wait after(seconds, callback)

## Calling instead of passing, for later
class Bot(simulator.participants.Participant):
    def on_message(self, message):
        self.after(1, self.broadcast("news", {}))

with simulator.Simulation(seed=1) as sim:
    ada = sim.room("lab").join("ada", enable=True)
    sim.room("lab").add(Bot("bot"))
    bot = ada.messaging.wait_for_participant(name="bot")
    ada.messaging.send_message(bot, "chat", {})
    sim.sleep(1)
> ActorFailed: the callback … of a timer failed: TypeError: after() calls back a function without arguments, not None; give the function itself, or lambda: …, not what a call of it returns

## A misspelled method of a participant
class Bot(simulator.participants.Participant):
    def on_mesage(self, message):
        print(message)

with simulator.Simulation(seed=1) as sim:
    sim.room("lab").add(Bot("bot"))
> warning: nothing calls Bot.on_mesage(): did you mean on_message()?

## A start that is no instant
simulator.Simulation(start="yesterday")
> ValueError: start: an instant as ISO 8601, such as 2026-01-01T00:00:00Z, not 'yesterday'

## A program that does not take the simulation
simulator.explore(lambda: None, seeds=3)
> UsageError: a program is called with the Simulation, which …<lambda>() does not take: too many positional arguments

## A law in milliseconds
simulator.Simulation(seed=1, latency=simulator.latency.lognormal(40, 0.4)).close()
> warning: half of the delays of Lognormal(median=40.0, sigma=0.4) take 40 s or longer, each way: laws are in seconds, so 40 ms are 0.04

## A fault's time in milliseconds
with simulator.Simulation(seed=1) as sim:
    sim.room("lab").add(simulator.participants.Echo("bot"))
    sim.plan(simulator.faults.at(5000, simulator.faults.reset("bot")))
    sim.sleep(60)
> warning: nothing came of what was planned for 5000 s, since the run ended at 60 s: for 5000 ms give 5

## A program that returns whether it holds
def program(sim):
    return sim.now == 0

raise simulator.explore(program, seeds=3, save=None).error
> UsageError: the program __main__.program returned True, which decides nothing: a run fails by an exception. What to do: assert what has to hold, and return nothing

## A program that returns its results
def program(sim):
    return [sim.now]

simulator.explore(program, seeds=1, save=None)
> warning: the program __main__.program returned [0.0], which nothing reads: a run fails by an exception, and values are kept in a list of the program's own, or printed

## A spawned program that returns whether it holds
def program():
    meshsync.sleep(1)
    return False

with simulator.Simulation(seed=1) as sim:
    sim.spawn(program)
    sim.run()
> warning: the program __main__.program returned False, which nothing reads: a task fails by an exception, and what it returns is dropped

## A spawned program that hides a coroutine
async def main():
    ...

with simulator.Simulation(seed=1) as sim:
    sim.spawn(lambda: main())
    sim.run()
> ActorFailed: actor '<lambda>' failed: TypeError: it did nothing but return 'coroutine', which nothing here would run: give a plain one

## Seeds as text
simulator.explore(lambda sim: None, seeds="0:100")
> TypeError: seeds is how many, or which, as a list or a range, not '0:100'

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
> TypeError: a task's target is called with the arguments given; None cannot be called: give a function itself, without () behind it

## Spawning, and letting no time pass
with simulator.Simulation(seed=1) as sim:
    sim.spawn(print, "hello")
> warning: 'print' never ran: nothing let time pass since it was spawned; call sim.run(), sim.sleep() or another call that waits

## Nothing to try
simulator.explore(lambda sim: None, seeds=range(0))
> UsageError: there is no seed to try: seeds is empty; give some, as range(100)

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
