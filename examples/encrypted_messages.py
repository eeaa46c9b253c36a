"""Encrypt the content of messages: a messaging client of one's own, in 20 lines.

The room still sees the sender, recipients, time, size and type of each message. A message that was forged,
changed or given another type is dropped and reported as ``receiver_failed``; one that is repeated is not noticed.

Run it with ``python examples/encrypted_messages.py``: two participants of an emulated room.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

import meshsync


class EncryptedMessaging(meshsync.MessagingClient):
    """Carries body and attachment, encrypted, in the attachment."""

    def __init__(self, room, key):
        super().__init__(room)
        self.cipher = ChaCha20Poly1305(key)

    def send_message_nowait(self, to, type=None, message=None, attachment=None, **options):
        if isinstance(to, Mapping):
            return self.send_message_nowait(**to, **options)
        return super().send_message_nowait(to, type, {}, self.seal(type, message, attachment), **options)

    def broadcast_message_nowait(self, type, message=None, attachment=None, **options):
        if isinstance(type, Mapping):
            return self.broadcast_message_nowait(**type, **options)
        return super().broadcast_message_nowait(type, {}, self.seal(type, message, attachment), **options)

    def seal(self, type, message, attachment):
        nonce = os.urandom(12)
        plain = json.dumps(message, allow_nan=False).encode() + b"\0" + bytes(attachment or b"")
        return nonce + self.cipher.encrypt(nonce, plain, type.encode())

    def received(self, message):
        nonce, sealed = message.attachment[:12], message.attachment[12:]
        body, _, attachment = self.cipher.decrypt(nonce, sealed, message.type.encode()).partition(b"\0")
        return replace(message, message=json.loads(body), attachment=attachment)


def main():
    """Let Alice ask and Bob answer, and show the messages as the room and as they see them."""
    from simulator import Emulator

    key = ChaCha20Poly1305.generate_key()

    def join(emulator, name, messaging):
        room = meshsync.connect("demo", url=emulator.url, token=emulator.token("demo", name), messaging=messaging)
        room.messaging.enable()
        return room

    with Emulator() as emulator, join(emulator, "eve", meshsync.MessagingClient) as eve:
        with join(emulator, "alice", lambda room: EncryptedMessaging(room, key)) as alice:
            with join(emulator, "bob", lambda room: EncryptedMessaging(room, key)) as bob:
                with bob.messaging.messages() as to_bob, eve.messaging.messages() as to_eve:
                    alice.messaging.broadcast_message("plan", {"meet": "at noon"})
                    print("bob reads", to_bob.get(timeout=10).message)
                    print("eve sees ", to_eve.get(timeout=10).attachment.hex())


if __name__ == "__main__":
    main()
