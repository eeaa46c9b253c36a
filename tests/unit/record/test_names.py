"""Labels of participants and streams are unique, and outlive those who leave."""

from __future__ import annotations

from meshsync.protocol.operations import Broadcast, Send
from simulator.record.names import Names


def test_a_second_participant_of_a_name_has_a_number() -> None:
    """Until the first has left; its label stays known, for what it sent before."""
    names = Names()
    assert [names.join(id, "bob") for id in "ab"] == ["bob", "bob#2"]
    assert names.leave("a") == "bob"
    assert names.join("c", "bob") == "bob"
    assert [names.label(id) for id in "abcd"] == ["bob", "bob#2", "bob", "d"]
    assert [names.plain(id) for id in "abcd"] == ["bob", "bob", "bob", None]
    assert list(names.seen) == ["bob"]


def test_streams_are_numbered_in_the_order_of_opening() -> None:
    """By their ids; a broadcast belongs to none, and neither does a message that only has the member."""
    names = Names()

    def of(type: str, id: str) -> str:
        return names.stream_of(Send("bob", type, {"stream_id": id}))

    assert (of("stream.open", "x"), of("stream.open", "y")) == ("stream 1", "stream 2")
    assert of("stream.chunk", "x") == "stream 1"
    assert (of("chat", "x"), names.stream_of(Broadcast("stream.chunk", {"stream_id": "x"}))) == ("", "")
    assert (names.stream("y"), names.stream("z")) == ("stream 2", "")
