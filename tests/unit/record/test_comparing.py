"""Comparing two records of a room."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from meshsync.errors import UsageError
from simulator import Transcript, diff
from simulator.record.comparing import Route, differing_paths
from simulator.record.records import Record

S = 1_000_000_000


def transcript(*records: Record) -> Transcript:
    """Return a transcript of these records."""
    made = Transcript("lab")
    for record in records:
        made.add(record)
    return made


def message(time: float, sender: str, recipient: str, body: dict, type: str = "chat", **rest: object) -> Record:
    """Return the record of a message."""
    rest = {"outcome": "delivered", **rest}
    return Record(int(time * S), "message", sender, recipient, type, latency_ns=5, detail=body, **rest)


def talk(*bodies: dict, start: float = 0.0, **rest: object) -> Transcript:
    """Return a transcript of messages from ada to ben."""
    return transcript(*(message(start + number, "ada", "ben", body, **rest) for number, body in enumerate(bodies)))


def test_records_that_differ_in_times_alone_are_equal():
    """The result is false, and says how much was compared; with times it is not."""
    one, other = talk({"n": 1}, {"n": 2}), talk({"n": 1}, {"n": 2}, start=5)
    assert not diff(one, other)
    assert str(diff(one, other)) == "equal: 2 events on 1 route"
    assert diff(one, other, ignore=("id",)).first.text == "message 'chat': times (0, 5) versus (5000000000, 5)"


def test_the_first_difference_is_shown_with_its_place_in_the_body():
    """And the rest is counted."""
    one = talk({"n": 1}, {"n": [1, {"a": 2}]}, {"n": 3})
    other = talk({"n": 1}, {"n": [1, {"a": "two"}]}, {"n": 4})
    found = diff(one, other)
    assert str(found) == (
        "ada -> ben, number 2: message 'chat': message.n.1.a: 2 versus \"two\"\n"
        "1 of 1 route differs:\n"
        "  ada -> ben: from number 2 on; 3 and 3 events"
    )
    assert (found.first.route, found.first.index) == (Route("ada", "ben"), 1)
    assert (found.first.one, found.first.other) == (one[1], other[1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "news"}, "message 'chat' {\"n\":1} versus message 'news' {\"n\":1}"),
        ({"attachment": "ab"}, "message 'chat': attachment none versus ab"),
        ({"outcome": "lost"}, "message 'chat': outcome delivered versus lost"),
    ],
)
def test_type_attachment_and_outcome_are_compared(change, text):
    """Each unless it is ignored."""
    one, other = talk({"n": 1}), talk({"n": 1}, **change)
    assert diff(one, other).first.text == text
    if "type" not in change:
        assert not diff(one, other, ignore=("time", "id", *change))


def test_what_one_has_more_is_shown():
    """Whichever has it."""
    one, other = talk({"n": 1}), talk({"n": 1}, {"n": 2})
    assert diff(one, other).first.text == "only the second has message 'chat' {\"n\":2}"
    assert diff(other, one).first.text == "only the first has message 'chat' {\"n\":2}"
    assert diff(other, one).first.other is None


def test_the_earliest_difference_is_the_first():
    """Whichever route is the first one."""
    one = transcript(message(0, "a", "b", {}), message(1, "c", "d", {"n": 1}), message(2, "a", "b", {"n": 1}))
    other = transcript(message(0, "a", "b", {}), message(7, "c", "d", {"n": 2}), message(8, "a", "b", {"n": 2}))
    assert [found.route.sender for found in diff(one, other).routes] == ["c", "a"]


def test_another_recipient_is_a_difference():
    """It is missing on one route, and too much on the other."""
    one = transcript(message(0, "ada", "ben", {}))
    other = transcript(message(0, "ada", "cyd", {}))
    assert [found.route.recipient for found in diff(one, other).routes] == ["ben", "cyd"]


def test_the_order_between_participants_does_not_matter():
    """That on one route does."""
    records = [message(0, who, to, {"n": n}) for who in "abc" for to in "def" for n in range(3)]
    mixed = list(records)
    random.Random(4).shuffle(mixed)
    mixed.sort(key=lambda record: record.detail["n"])
    assert not diff(transcript(*records), transcript(*mixed))
    assert diff(transcript(*records), transcript(*mixed[::-1]))


def came(time: float, name: str, id: str) -> Record:
    """Return the record of a participant that connected."""
    return Record(int(time * S), "connected", name, detail={"role": "user"}, id=id)


def test_ids_are_compared_by_whom_they_belong_to():
    """In values, in keys, within texts, and in what the room answers."""

    def said(ada: str, ben: str, about: str) -> Transcript:
        body = {"who": about, ada: [f"{ben}/1"]}
        return transcript(
            came(0, "ada", ada), came(1, "ben", ben), message(2, "ada", "ben", body, outcome=f"error 1: no {ben}")
        )

    one = said("0011aabb", "2233ccdd", "0011aabb")
    assert not diff(one, said("2233ccdd", "0011aabb", "2233ccdd"))
    assert diff(one, said("77aa", "88bb", "88bb")).first.text == (
        'message \'chat\': message.who: "<ada>" versus "<ben>"'
    )
    assert diff(one, said("77aa", "88bb", "77aa"), ignore=("time",))


def test_a_second_id_of_a_participant_is_another_one():
    """So that a message about a lost connection does not look like one about the new one."""

    def said(first: str, second: str, about: str) -> Transcript:
        return transcript(came(0, "ada", first), came(1, "ada", second), message(2, "ben", "ada", {"id": about}))

    assert not diff(said("aaaa", "bbbb", "bbbb"), said("cccc", "dddd", "dddd"))
    assert diff(said("aaaa", "bbbb", "bbbb"), said("cccc", "dddd", "cccc"))


def stream(type: str, number: int, body: dict, sender: str = "ada", to: str = "ben") -> Record:
    """Return the record of a stream's message."""
    kind = "message" if type == "stream.chunk" else "stream"
    return Record(0, kind, sender, to, type, outcome="delivered", stream_id=f"stream {number}", detail=body)


def test_streams_are_numbered_by_whom_they_connect():
    """Which of two between others was opened first does not matter; nor do windows, secrets and credits."""
    one = transcript(
        stream("stream.open", 1, {"stream_id": "x", "header": {}, "meshsync": {"window": 1, "secret": "s"}}),
        stream("stream.open", 2, {"stream_id": "y", "header": {}}, "cyd", "ben"),
        stream("stream.chunk", 1, {"stream_id": "x", "header": {"of": "x"}}),
        stream("stream.meshsync.credit", 1, {"stream_id": "x", "bytes": 5}, "ben", "ada"),
    )
    other = transcript(
        stream("stream.open", 1, {"stream_id": "q", "header": {}}, "cyd", "ben"),
        stream("stream.open", 2, {"stream_id": "p", "header": {}, "meshsync": {"window": 7}}),
        stream("stream.chunk", 2, {"stream_id": "p", "header": {"of": "p"}}),
    )
    assert not diff(one, other)


def test_cancelling_a_stream_is_compared():
    """Its reason is the program's."""
    one, other = (transcript(stream("stream.meshsync.cancel", 1, {"reason": text})) for text in ("enough", "more"))
    assert diff(one, other).first.text == ('stream \'stream.meshsync.cancel\': message.reason: "enough" versus "more"')


def test_parts_of_a_chunk_are_compared_as_that_chunk():
    """A client that holds a chunk for a loss cuts it; the header is that of the first part."""
    whole, cut = Transcript("lab"), Transcript("lab")
    whole.add(replace(stream("stream.chunk", 1, {"header": {"n": 1}}), attachment=whole.attach(b"abcdef")))
    for number, data in enumerate([b"ab", b"cd", b"ef"]):
        body = {"header": {"n": 1} if not number else {}, "meshsync": {"version": 1, "is_partial": number < 2}}
        cut.add(replace(stream("stream.chunk", 1, body), attachment=cut.attach(data)))
    assert not diff(whole, cut)
    interrupted = Transcript("lab")
    interrupted.add(replace(cut[0], attachment=interrupted.attach(b"ab")))
    assert diff(whole, interrupted)
    assert not diff(transcript(*cut), transcript(*cut))  # of which the bytes are not known
    assert diff(transcript(*cut), transcript(cut[0], cut[2]))


def test_a_stream_that_ends_since_its_participant_leaves_is_not_cancelled():
    """Some clients tell so, others do not."""
    told = transcript(stream("stream.meshsync.cancel", 1, {"reason": "left the room", "left": True}))
    assert not diff(told, transcript())


def test_what_clients_exchange_beneath_is_not_compared():
    """Proofs, answers of a real room, a client's own attribute, and why a connection ended."""
    one = transcript(
        Record(0, "confirming", "ada", "ben", "meshsync.proof", detail={"code": "1"}),
        Record(0, "attributes", "ada", detail={"mood": "calm", "meshsync": {"v": 1}}),
        Record(0, "disconnected", "ada", outcome="closed with code 1000"),
    )
    other = transcript(
        Record(0, "attributes", "ada", detail={"mood": "calm"}),
        Record(0, "reply", "", "ada", "send", outcome="ok"),
        Record(0, "disconnected", "ada"),
    )
    assert not diff(one, other)


def test_parts_of_bodies_are_ignored_by_their_path():
    """For all types or for one, with a star for each member."""
    one, other = talk({"at": 1, "list": [{"t": 1}, {"t": 2}]}), talk({"at": 2, "list": [{"t": 3}, {"t": 4}]})
    assert not diff(one, other, ignore=("time", "message.at", "message.list.*.t"))
    assert not diff(one, other, ignore=("time", ("chat", "message", "at"), ("chat", "message", "list")))
    assert diff(one, other, ignore=("time", ("news", "message", "at"), "message.list"))
    assert diff(one, other, ignore=("time", "message.at", "message.list.0.t"))
    assert one[0].detail == {"at": 1, "list": [{"t": 1}, {"t": 2}]}


def test_a_member_whose_name_has_a_dot_is_ignored_too():
    """As what is redacted is written."""
    one, other = talk({"a.b": 1, "a": {"b": 1}}), talk({"a.b": 2, "a": {"b": 1}})
    assert not diff(one, other, ignore=("time", r"message.a\.b"))
    assert diff(one, other, ignore=("time", "message.a.b"))


def test_an_attachment_may_be_ignored_for_one_type():
    """And not for others."""
    one, other = talk({}, attachment="aa"), talk({}, attachment="bb")
    assert not diff(one, other, ignore=[("chat", "attachment")])
    assert diff(one, other, ignore=[("news", "attachment")])


def test_kinds_of_records_and_other_senders_may_be_left_out():
    """A fault that only one has, and what a participant does whom nobody asked about."""
    one = transcript(Record(0, "fault", type="reset"), message(1, "ada", "ben", {}), message(1, "ben", "ada", {"n": 1}))
    other = transcript(message(1, "ada", "ben", {}), message(1, "ben", "ada", {"n": 2}))
    assert diff(one, other, ignore=("time", "id", "fault"))
    assert not diff(one, other, ignore=("time", "id", "fault"), sender="ada")


@pytest.mark.parametrize("ignore", ["time", ["tiem"], ["message."], [("chat",)], [("chat", "body")], [3]])
def test_what_cannot_be_ignored_is_refused(ignore):
    """A misspelt name would compare what nobody wants compared."""
    with pytest.raises(UsageError, match="ignore"):
        diff(talk({}), talk({}), ignore=ignore)


def test_files_are_compared_as_well(tmp_path):
    """By their paths."""
    talk({"n": 1}).save(tmp_path / "a.jsonl")
    assert not diff(tmp_path / "a.jsonl", str(tmp_path / "a.jsonl"))
    assert diff(tmp_path / "a.jsonl", talk({"n": 2}))
    (tmp_path / "b.jsonl").write_text("nonsense")
    with pytest.raises(UsageError, match="no transcript"):
        diff(tmp_path / "a.jsonl", tmp_path / "b.jsonl")


def test_a_name_that_moves_a_cursor_is_shown_as_text():
    """It comes from any participant of the room."""
    one = transcript(message(0, "ada\x1b[2J\n", "ben", {"\x1b": "\x1b[2J"}))
    assert "\x1b" not in str(diff(one, transcript()))


def test_paths_of_differences():
    """As deep as they go; lists of unequal length differ as a whole, and so do values of unequal types."""
    one = {"a": {"b": 1, "c": [1, 2]}, "d": [1], "e": True, "f": 1}
    other = {"a": {"b": 1, "c": [1, 3]}, "d": [1, 2], "e": 1, "g": 1}
    assert list(differing_paths(one, other)) == [("a", "c", 1), ("d",), ("e",), ("f",), ("g",)]
