"""The two ends of a stream agree on filters in its header, or the stream is rejected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from examples.own_filter import Checksummed
from meshsync.errors import InvalidMessage, StreamRejected
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.filtering import MakeFilter
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader
from tests.support.scripted_streams import BOB, RecordingOpener, RecordingWriter, ScriptedReader

KEY = bytes(range(32))


def announced(filters: Sequence[MakeFilter], header: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the header with which a stream with filters is opened, as it arrives."""
    opener = RecordingOpener(RecordingWriter())
    open_filtered(opener.create_stream, BOB, header, filters=filters)
    ((_, opened, _),) = opener.opened
    arrived = json.loads(json.dumps(opened))
    assert isinstance(arrived, dict)
    return arrived


def rejection(header: dict[str, Any], filters: Sequence[MakeFilter], *optional: MakeFilter) -> str:
    """Return what the opener is told and the acceptor raises."""
    reader = ScriptedReader(header)
    with pytest.raises(StreamRejected) as info:
        accept_filtered(reader, filters, optional=optional)
    assert reader.closed == [str(info.value)]
    return str(info.value)


def test_header_names_the_filters_in_order() -> None:
    """Beside what the program said, which is all that the other program sees."""
    header = announced([Checksummed, compression()], {"purpose": "log"})
    assert header == {"purpose": "log", "meshsync.filters": [{"name": "crc32"}, {"name": "zlib"}]}
    assert accept_filtered(ScriptedReader(header), [compression(), Checksummed]).header == {"purpose": "log"}


def test_recipient_header_and_options_are_passed_on() -> None:
    """In both forms of ``create_stream``; without filters, nothing is added."""
    opener = RecordingOpener(RecordingWriter())
    open_filtered(opener.create_stream, BOB, {"a": 1}, filters=[], timeout=3)
    open_filtered(opener.create_stream, {"to": BOB, "header": {"a": 1}}, filters=[Checksummed], timeout=4)
    assert opener.opened == [
        (BOB, {"a": 1}, 3),
        (BOB, {"a": 1, "meshsync.filters": [{"name": "crc32"}]}, 4),
    ]
    with pytest.raises(InvalidMessage, match="header: list is not a JSON object"):
        open_filtered(opener.create_stream, BOB, [1], filters=[Checksummed])  # type: ignore[arg-type]


def test_refused_stream_raises_as_it_does_without_filters() -> None:
    """The opener gets the other side's reason."""
    opener = RecordingOpener(StreamRejected("busy"))
    with pytest.raises(StreamRejected, match="busy"):
        open_filtered(opener.create_stream, BOB, filters=[Checksummed])


def test_stream_without_a_demanded_filter_is_rejected() -> None:
    """Whoever demands encryption is not talked out of it by a header that announces none, or others."""
    text = "only streams with the filters 'aead' are taken here; this one lacks 'aead'"
    assert rejection({}, [encryption(KEY)]) == text
    assert rejection({"meshsync.filters": []}, [encryption(KEY)]) == text
    assert rejection(announced([compression()]), [encryption(KEY)], compression()) == text


def test_stream_with_an_unknown_filter_is_rejected() -> None:
    """The text names it, and what there is."""
    header = announced([Checksummed, compression()])
    assert rejection(header, [compression()]) == "the filters 'crc32' are not known here; known are 'zlib'"
    assert rejection(header, []) == "the filters 'crc32', 'zlib' are not known here; known are none"


def test_optional_filters_may_be_announced() -> None:
    """Each stream is read through those that its opener chose; without any, the reader is left as it is."""
    both = {"filters": [Checksummed], "optional": [compression()]}
    for filters in ([Checksummed], [Checksummed, compression()], [compression(), Checksummed]):
        opened = RecordingWriter()
        with open_filtered(RecordingOpener(opened).create_stream, BOB, filters=filters) as writer:
            writer.write(b"data")
        reader = accept_filtered(ScriptedReader(announced(filters), opened.chunks), **both)
        assert reader.read_all() == b"data"
    plain = ScriptedReader({})
    accepted: StreamReader = accept_filtered(plain, [], optional=[compression()])
    assert accepted is plain


@pytest.mark.parametrize("value", [None, {}, "zlib", ["zlib"], [{}], [{"name": 1}], [{"name": "zlib"}, []], [[], 1]])
def test_malformed_announcement_is_rejected(value: object) -> None:
    """Whatever the header holds instead."""
    text = "the header's 'meshsync.filters' is no list of objects with a name each"
    assert rejection({"meshsync.filters": value}, [], compression()) == text


def test_filter_that_is_announced_twice_is_rejected() -> None:
    """It could multiply what one chunk expands to."""
    header = {"meshsync.filters": [{"name": "zlib"}, {"name": "zlib"}]}
    assert rejection(header, [compression()]) == "the stream announces a filter twice: 'zlib', 'zlib'"


def test_reason_of_a_filter_is_the_rejections() -> None:
    """Of one that it did not give as a `StreamError`, the class alone."""

    class Picky(Checksummed):
        def accept(self, entry: Any, header: Any) -> None:
            assert header == {"a": 1, "meshsync.filters": [{"name": "zlib"}]}
            raise KeyError(entry["name"])

    header = announced([compression(), Checksummed], {"a": 1})
    assert rejection(header, [compression(), Picky]) == "filter 'crc32': the program failed (KeyError)"


def test_a_client_may_add_filters_below_those_of_its_program() -> None:
    """Both announce, each takes its own, and the chunks go through both."""

    def client(to: object, header: Any, **options: Any) -> Any:
        return open_filtered(opener.create_stream, to, header, filters=[encryption(KEY)], **options)

    opened = RecordingWriter()
    opener = RecordingOpener(opened)
    with open_filtered(client, BOB, {"a": 1}, filters=[Checksummed, compression()]) as writer:
        writer.write(MessageStreamChunk({"b": 2}, b"data"))
    header = json.loads(json.dumps(opener.opened[0][1]))
    above, own = header["meshsync.filters"]
    assert (above, own["name"]) == ([{"name": "crc32"}, {"name": "zlib"}], "aead")
    below = accept_filtered(ScriptedReader(header, opened.chunks), [encryption(KEY)])
    assert below.header == {"a": 1, "meshsync.filters": above}
    reader = accept_filtered(below, [Checksummed, compression()])
    assert reader.header == {"a": 1}
    assert list(reader) == [MessageStreamChunk({"b": 2}, b"data")]
