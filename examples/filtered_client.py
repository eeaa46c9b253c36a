"""A client that compresses and encrypts every stream, its own and its peers'; programs need not know.

Run it with ``python examples/filtered_client.py``: three participants of a simulated room, one without the key.
"""

import meshsync
from meshsync.compression import compression
from meshsync.encryption import encryption
from meshsync.negotiation import accept_filtered, open_filtered


class FilteredMessaging(meshsync.MessagingClient):
    """Opens streams with filters only, and rejects those without."""

    def __init__(self, room, key):
        super().__init__(room)
        self.filters = [compression(), encryption(key)]

    def create_stream(self, to, header=None, **options):
        return open_filtered(super().create_stream, to, header, filters=self.filters, **options)

    def offered(self, reader):
        return accept_filtered(reader, self.filters)


def main():
    """Let Alice stream to Bob, and show how Mallory, who has another key, is rejected."""
    from simulator import Simulation

    with Simulation(7) as simulation:
        demo, key = simulation.room("demo"), bytes(range(32))
        bob = demo.join("bob", messaging=lambda room: FilteredMessaging(room, key))
        bob.messaging.enable(lambda reader: print("bob reads", reader.header, reader.read_all()))
        alice = demo.join("alice", enable=True, messaging=lambda room: FilteredMessaging(room, key))
        mallory = demo.join("mallory", enable=True, messaging=lambda room: FilteredMessaging(room, bytes(32)))
        for name, room in [("alice", alice), ("mallory", mallory)]:
            try:
                with room.messaging.create_stream(bob.local_participant, {"from": name}) as writer:
                    writer.write(b"meet at noon")
            except meshsync.StreamRejected as error:
                print(f"{name} is refused:", error)
        simulation.sleep(1)


if __name__ == "__main__":
    main()
