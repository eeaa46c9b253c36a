"""The messages of a stream, as values and on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol.stream_messages import (
    STREAM_TYPES,
    Accept,
    Cancel,
    Close,
    Closed,
    Credit,
    Open,
    Reject,
    Resume,
    ResumeConsent,
    ResumeOffer,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    decode_stream_message,
    encode_stream_message,
    proof_of,
)

ID = {"stream_id": "s"}

WORDS: list[tuple[StreamMessage, str, dict[str, Any]]] = [
    (Open("s", {"kind": "audio"}), "stream.open", ID | {"header": {"kind": "audio"}}),
    (Open("s", {}, 5), "stream.open", ID | {"header": {}, "meshsync": {"version": 1, "window": 5}}),
    (
        Open("s", {}, 5, ResumeOffer(60.0, "secret", 2)),
        "stream.open",
        ID
        | {
            "header": {},
            "meshsync": {"version": 1, "window": 5, "resume": {"seconds": 60, "number": 2, "secret": "secret"}},
        },
    ),
    (Accept("s"), "stream.accept", ID),
    (
        Accept("s", 7, ResumeConsent(0.5, 2)),
        "stream.accept",
        ID | {"meshsync": {"version": 1, "window": 7, "resume": {"seconds": 0.5, "number": 2}}},
    ),
    (
        Resume("s", "proof", 3, 40, 2, 1),
        "stream.meshsync.resume",
        ID | {"proof": "proof", "position": 3, "granted": 40, "number": 2, "seen": 1},
    ),
    (Closed("s"), "stream.meshsync.closed", ID),
    (Credit("s", 12, 4), "stream.meshsync.credit", ID | {"bytes": 12, "position": 4}),
    (Accept("s", 7), "stream.accept", ID | {"meshsync": {"version": 1, "window": 7}}),
    (Reject("s", "busy"), "stream.reject", ID | {"error": "busy"}),
    (Reject("s", ""), "stream.reject", ID | {"error": ""}),
    (StreamChunk("s", {"n": 1}, b"data"), "stream.chunk", ID | {"header": {"n": 1}}),
    (StreamChunk("s", {}, b"data"), "stream.chunk", ID | {"header": {}}),
    (
        Open("s", {}, 5, ResumeOffer(60.0, "secret", 2, joins=True)),
        "stream.open",
        ID
        | {
            "header": {},
            "meshsync": {
                "version": 1,
                "window": 5,
                "resume": {"seconds": 60, "number": 2, "secret": "secret", "joins": True},
            },
        },
    ),
    (
        Accept("s", 7, ResumeConsent(0.5, 2, joins=True)),
        "stream.accept",
        ID | {"meshsync": {"version": 1, "window": 7, "resume": {"seconds": 0.5, "number": 2, "joins": True}}},
    ),
    (
        StreamChunks("s", (StreamChunk("s", {}, b"d"), StreamChunk("s", {}, b""), StreamChunk("s", {}, b"ata"))),
        "stream.chunk",
        ID | {"header": {}, "meshsync": {"version": 1, "sizes": [1, 0, 3]}},
    ),
    (
        StreamChunks("s", (StreamChunk("s", {}, b"dat"), StreamChunk("s", {"n": 1}, b"a"))),
        "stream.chunk",
        ID | {"header": {}, "meshsync": {"version": 1, "sizes": [3, 1], "headers": [{}, {"n": 1}]}},
    ),
    (Close("s"), "stream.close", ID),
    (Close("s", is_complete=False), "stream.close", ID | {"meshsync": {"version": 1, "is_complete": False}}),
    (Credit("s", 12), "stream.meshsync.credit", ID | {"bytes": 12}),
    (Cancel("s", "enough"), "stream.meshsync.cancel", ID | {"reason": "enough"}),
]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "type", "body"), WORDS)
def test_words_are_written_and_read(word: StreamMessage, type: str, body: dict[str, Any]) -> None:
    """Each has one form on the wire, and is itself when it is read again."""
    assert encode_stream_message(word) == (type, body)
    assert decode_stream_message(type, body, b"data") == word


def test_chunks_of_one_message_have_headers_of_their_own() -> None:
    """A program may change that of one."""
    type, body = encode_stream_message(StreamChunks("s", (StreamChunk("s", {}), StreamChunk("s", {}))))
    decoded = decode_stream_message(type, body, b"")
    assert isinstance(decoded, StreamChunks)
    first, second = decoded.chunks
    assert first.header is not second.header


def test_every_word_is_kept_from_programs() -> None:
    """What programs never get as messages is just what is said here."""
    assert {type for _, type, _ in WORDS} == STREAM_TYPES


@pytest.mark.parametrize(
    ("type", "body", "text"),
    [
        ("stream.open", {"header": {}}, "stream.open lacks 'stream_id'"),
        ("stream.close", {"stream_id": 3}, "stream.close has a wrong type of 'stream_id'"),
        ("stream.open", ID | {"header": []}, "stream.open has a wrong type of 'header'"),
        ("stream.chunk", ID, "stream.chunk lacks 'header'"),
        ("stream.chunk", ID | {"header": None}, "stream.chunk has a wrong type of 'header'"),
        ("stream.meshsync.credit", ID, "stream.meshsync.credit lacks 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": 1.0}, "stream.meshsync.credit has a wrong type of 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": True}, "stream.meshsync.credit has a wrong type of 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": -1}, "stream.meshsync.credit of -1 bytes"),
        ("stream.meshsync.credit", ID | {"bytes": 1, "position": -1}, "stream.meshsync.credit has -1 for 'position'"),
        ("stream.meshsync.resume", ID | {"position": 1}, "stream.meshsync.resume lacks 'proof'"),
        (
            "stream.meshsync.resume",
            ID | {"proof": "", "position": 1, "granted": 1, "number": 1, "seen": -1},
            "stream.meshsync.resume has -1 for 'seen'",
        ),
        ("stream.pause", ID, "'stream.pause' is no stream message"),
        *(
            ("stream.chunk", ID | {"header": {}, "meshsync": {"version": 1, "sizes": sizes}}, text)
            for sizes, text in [
                (3, "stream.chunk has a wrong type of 'sizes'"),
                ([], "stream.chunk has 0 bytes, and 'sizes' that are not theirs"),
                ([1], "stream.chunk has 0 bytes, and 'sizes' that are not theirs"),
                ([-1, 1], "stream.chunk has 0 bytes, and 'sizes' that are not theirs"),
                ([0, False], "stream.chunk has 0 bytes, and 'sizes' that are not theirs"),
                ([0] * 257, "stream.chunk has 257 chunks; at most 256 go in one"),
            ]
        ),
        *(
            (
                "stream.chunk",
                ID | {"header": {}, "meshsync": {"version": 1, "sizes": [0, 0], "headers": headers}},
                text,
            )
            for headers, text in [
                ({}, "stream.chunk has a wrong type of 'headers'"),
                ([{}], "stream.chunk has 'headers' that are not those of 2 chunks"),
                ([{}, 1], "stream.chunk has 'headers' that are not those of 2 chunks"),
            ]
        ),
    ],
)
def test_words_that_lack_something_are_no_words(type: str, body: dict[str, Any], text: str) -> None:
    """The error says what is wrong with which."""
    with pytest.raises(ProtocolError) as caught:
        decode_stream_message(type, body, b"")
    assert str(caught.value) == text


def test_what_official_peers_leave_out_has_its_meaning() -> None:
    """An offer without a header, and a rejection or cancellation without a reason."""
    assert decode_stream_message("stream.open", ID, b"") == Open("s", {})
    assert decode_stream_message("stream.open", ID | {"header": None}, b"") == Open("s", {})
    no_reason = Reject("s", "The stream was rejected by the remote client")
    assert decode_stream_message("stream.reject", ID, b"") == no_reason
    assert decode_stream_message("stream.reject", ID | {"error": 7}, b"") == no_reason
    assert decode_stream_message("stream.meshsync.cancel", ID | {"reason": None}, b"") == Cancel("s", "")


@pytest.mark.parametrize(
    "own",
    [
        None, 1, [], "x", {}, {"version": 1}, {"window": 5}, {"version": 2, "window": 5}, {"version": "1", "window": 5},
        {"version": 1, "window": 0}, {"version": 1, "window": -5}, {"version": 1, "window": True},
        {"version": 1, "window": 5.0}, {"version": 1, "window": "5"}, {"version": 1, "window": None},
    ],
)  # fmt: skip
def test_a_malformed_agreement_is_none(own: Any) -> None:
    """Who writes it so knows no flow control that we know."""
    assert decode_stream_message("stream.open", ID | {"meshsync": own}, b"") == Open("s", {}, None)
    assert decode_stream_message("stream.accept", ID | {"meshsync": own}, b"") == Accept("s", None)
    assert decode_stream_message("stream.close", ID | {"meshsync": own}, b"") == Close("s")


def test_unknown_members_are_ignored() -> None:
    """Beside the known ones, at every place."""
    own = {"version": 1, "window": 5, "later": True}
    body = ID | {"meshsync": own, "header": {}, "__meshagent__": {"v": 1}}
    assert decode_stream_message("stream.accept", body, b"") == Accept("s", 5)
    assert decode_stream_message("stream.close", ID | {"meshsync": {"is_complete": 0}}, b"") == Close("s")


@pytest.mark.parametrize(
    "resume",
    [
        None,
        5,
        {},
        {"seconds": 60, "number": 1},
        {"seconds": 60, "number": 1, "secret": ""},
        {"seconds": 60, "number": 1, "secret": 5},
        {"seconds": 60, "number": 0, "secret": "s"},
        {"seconds": 60, "number": 1.0, "secret": "s"},
        {"seconds": 0, "number": 1, "secret": "s"},
        {"seconds": 1e10, "number": 1, "secret": "s"},
        {"seconds": True, "number": 1, "secret": "s"},
        {"seconds": "60", "number": 1, "secret": "s"},
    ],
)
def test_an_offer_to_resume_of_another_shape_is_none(resume: object) -> None:
    """The stream goes on as one that a loss ends."""
    body = ID | {"header": {}, "meshsync": {"version": 1, "window": 5, "resume": resume}}
    assert decode_stream_message("stream.open", body, b"") == Open("s", {}, 5)


def test_without_flow_control_no_stream_resumes() -> None:
    """There would be no bound to what is held for it."""
    body = ID | {"meshsync": {"version": 1, "resume": {"seconds": 60, "number": 1}}}
    assert decode_stream_message("stream.accept", body, b"") == Accept("s")


def test_a_proof_holds_for_one_sender_and_one_recipient() -> None:
    """No other participant can use it, nor the recipient itself."""
    proof = proof_of("secret", "s", "p-1", "p-2")
    assert proof == "0424738f247bef1e533e9c5ec3a390e6e93670ec52f1d5cc69e1853a9afe2ef1"
    others = [("secret", "s", "p-2", "p-1"), ("secret", "s", "p-3", "p-2"), ("other", "s", "p-1", "p-2")]
    assert proof not in [proof_of(*other) for other in others]
