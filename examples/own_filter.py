"""A stream filter of one's own: every chunk carries a checksum, which the peer compares.

Run it with ``python examples/own_filter.py``: a stream between two participants of a simulated room.
"""

import zlib

import meshsync
from meshsync.compression import compression
from meshsync.filters import StreamFilter
from meshsync.negotiation import accept_filtered, open_filtered


class Checksummed(StreamFilter):
    """Adds a checksum to each chunk's header; removes it and compares it."""

    name = "crc32"

    def encode(self, chunk):
        yield meshsync.MessageStreamChunk({**chunk.header, "crc32": zlib.crc32(chunk.data)}, chunk.data)

    def decode(self, chunk):
        header = dict(chunk.header)
        if header.pop("crc32", None) != zlib.crc32(chunk.data):
            raise ValueError("the data is not what was sent")
        yield meshsync.MessageStreamChunk(header, chunk.data)


FILTERS = [Checksummed, compression()]


def main():
    """Stream three lines from Alice to Bob, checksummed and then compressed."""
    from simulator import Simulation

    def save(reader):
        for chunk in accept_filtered(reader, FILTERS):
            print("bob reads", chunk.header, chunk.data)

    with Simulation(7) as simulation:
        demo = simulation.room("demo")
        alice, bob = demo.join("alice", enable=True), demo.join("bob")
        bob.messaging.enable(save)
        to_bob = alice.messaging.wait_for_participant(name="bob", timeout=10)
        with open_filtered(alice.messaging.create_stream, to_bob, {"purpose": "log"}, filters=FILTERS) as writer:
            for number in range(3):
                writer.write(meshsync.MessageStreamChunk({"line": number}, b"all is well\n"))
        simulation.sleep(1)


if __name__ == "__main__":
    main()
