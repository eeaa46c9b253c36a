"""A bot that answers what it is asked, in a room of an emulator that runs on this machine."""

import meshsync

with meshsync.connect("support", url="emulator", name="bot", role="agent", retry=True) as room:

    @room.messaging.on_message("ask")
    def answer(event):
        room.messaging.send_message(event.participant, "reply", {"you said": event.message.message["text"]})

    room.messaging.enable()
    room.run_forever()  # until the room ends, or SIGTERM or Ctrl-C the process
