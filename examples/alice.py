"""Alice, who asks the bot of ``examples/bot.py`` and prints its answer."""

import meshsync

with meshsync.connect("support", url="emulator", name="alice", retry=True) as room:
    messaging = room.messaging
    messaging.enable()  # returns when it is known who is there
    bot = messaging.wait_for_participant(name="bot", timeout=10)

    with messaging.messages(type="reply", sender=bot) as replies:  # subscribed from here on
        messaging.send_message(to=bot, type="ask", message={"text": "hi"}, attachment=b"\x01\x02")
        print(replies.get(timeout=10).message)
