"""A handshake of one's own: a stream is accepted only if its header proves that the opener knows a secret.

The header has a purpose and an expiry, and a signature (HMAC) over both and the sender's id, so that no other peer can
use it. Run it with ``python examples/stream_handshake.py``: two openers in a simulated room, one who guesses.
"""

import hashlib
import hmac

import meshsync

SECRET = b"shared by those who may stream"


def sign(sender, purpose, expires, secret=SECRET):
    """Return the header with which ``sender`` may open a stream until that second of the clock."""
    text = f"{sender.id}|{purpose}|{expires}".encode()
    return {"purpose": purpose, "expires": expires, "signature": hmac.new(secret, text, hashlib.sha256).hexdigest()}


def admit(reader, now):
    """Reject the stream unless it may be read: its opener gets the exception's text as the reason."""
    header = reader.header
    proper = sign(reader.sender, header.get("purpose"), header.get("expires"))
    if not hmac.compare_digest(proper["signature"], str(header.get("signature"))):
        raise meshsync.StreamRejected("the header is not signed by somebody who may stream")
    if header["expires"] < now:
        raise meshsync.StreamRejected("the header has expired")


def main():
    """Let Bob admit Alice, and not Mallory."""
    from simulator import Simulation

    with Simulation(7) as simulation:

        def receive(reader):
            admit(reader, simulation.now)
            print("bob reads", reader.read_all())

        demo = simulation.room("demo")
        bob = demo.join("bob")
        bob.messaging.enable(receive)
        for name, secret in [("alice", SECRET), ("mallory", b"a guess")]:
            room = demo.join(name, enable=True)
            header = sign(room.local_participant, "report", simulation.now + 60, secret)
            try:
                with room.messaging.create_stream(bob.local_participant, header) as writer:
                    writer.write(b"all is well")
            except meshsync.StreamRejected as error:
                print(f"{name} is refused: {error}")
        simulation.sleep(1)


if __name__ == "__main__":
    main()
