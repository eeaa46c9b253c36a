"""Records as steps, and steps as records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import UsageError
from simulator.record.comparing import diff
from simulator.record.records import Record, Records
from simulator.replaying.making import _step
from simulator.replaying.steps import Id, Sent, Step, read_script, records_of

MS = 1_000_000


def recorded(*records: Record) -> Records:
    """Return these records."""
    made = Records("lab")
    for record in records:
        made.add(record)
    return made


def present(*names: str) -> list[Record]:
    """Return the records of participants that come and enable messaging."""
    came = [Record(0, "connected", name, detail={"role": "user"}, id=f"id-of-{name}") for name in names]
    return came + [Record(0, "enabled", name) for name in names]


def message(time: int, sender: str, to: str, latency: int, body: dict[str, Any] | None = None, **rest: Any) -> Record:
    """Return the record of a message that arrived, times in milliseconds."""
    return Record(time * MS, "message", sender, to, "chat", 0, latency * MS, "delivered", detail=body or {}, **rest)


def read(*records: Record) -> list[Step]:
    """Return the steps behind those of coming."""
    return [step for step in read_script(recorded(*records)).steps if step.verb not in ("connect", "enable")]


def test_steps_stand_in_the_order_of_sending() -> None:
    """Not in that of arriving, which latency turns round."""
    steps = read(*present("a", "b", "c"), message(50, "b", "c", 10), message(60, "a", "c", 55))
    assert [(step.who, step.at) for step in steps] == [("a", 0.005), ("b", 0.04)]


def test_a_message_that_met_its_recipient_on_the_way_stands_behind_its_coming() -> None:
    """It was sent before, and the room had it after; of one without a recipient, when the room had it counts alone."""
    steps = read_script(
        recorded(
            *present("a"),
            Record(4 * MS, "message", "a", "", "chat", 0, 3 * MS, "delivered", detail={"to": "none"}),
            Record(5 * MS, "connected", "b"),
            Record(5 * MS, "enabled", "b"),
            message(8, "a", "b", 5),
        )
    ).steps
    assert [step.verb for step in steps[2:]] == ["broadcast", "connect", "enable", "send"]


def test_sends_of_one_instant_to_all_are_a_broadcast() -> None:
    """To some of them they are not, nor with different bodies, nor at different times."""
    begin = present("a", "b", "c")
    both = [message(10, "a", "b", 5), message(11, "a", "c", 6)]
    assert [(step.verb, step.to) for step in read(*begin, *both)] == [("broadcast", ("b", "c"))]
    assert [step.verb for step in read(*begin, *present("d"), *both)] == ["send", "send"]
    assert [step.verb for step in read(*begin, both[0], message(11, "a", "c", 6, {"n": 1}))] == ["send", "send"]
    assert [step.verb for step in read(*begin, both[0], message(11, "a", "c", 5))] == ["send", "send"]
    assert [step.verb for step in read(*begin, both[0], message(11, "a", "b", 6))] == ["send", "send"]


def test_ids_of_participants_are_known_wherever_they_stand() -> None:
    """As values and as keys, not within texts."""
    body = {"id-of-b": ["id-of-a", "to id-of-a"], "n": 1, "list": [{"x": "id-of-b"}]}
    (step,) = read(*present("a", "b"), message(10, "a", "b", 5, body))
    assert step.body == {Id("b"): [Id("a"), "to id-of-a"], "n": 1, "list": [{"x": Id("b")}]}
    assert not diff(
        recorded(*present("a", "b"), message(10, "a", "b", 5, {**body, "id-of-b": ["id-of-a"]})),
        records_of(
            read_script(recorded(*present("a", "b"), message(10, "a", "b", 5, body | {"id-of-b": ["id-of-a"]}))).steps
        ),
    )


def test_what_clients_set_of_themselves_is_no_step() -> None:
    """And what they set besides is one."""
    own = Record(0, "attributes", "a", detail={"meshsync": {"v": 1}})
    both = Record(0, "attributes", "a", detail={"meshsync": {"v": 1}, "mood": "calm"})
    assert [step.body for step in read(*present("a"), own, both)] == [{"mood": "calm"}]


def test_what_cannot_be_done_again_is_counted() -> None:
    """By what it is; attachments that the record lacks are named."""
    lost = Record(5, "message", "a", "b", "chat", outcome="lost")
    fault = Record(6, "fault", "", "b", "reset")
    refused = Record(7, "refused", "mallory", outcome="no token")
    script = read_script(
        recorded(*present("a", "b"), lost, fault, refused, message(10, "a", "b", 5, attachment="ab" * 32))
    )
    assert script.left_out == {"lost on the way": 1, "fault": 1, "refused": 1}
    assert script.missing == (f"'chat' from a to b at 0.010 s: SHA-256 {'ab' * 32}",)
    assert script.longest_silence == pytest.approx(0.005)


def test_steps_say_what_is_waited_for() -> None:
    """In words that fit behind `waits for`."""
    texts = [
        str(step)
        for step in (
            Step(0, "bot", "connect"),
            Step(0, "bot", "enable"),
            Step(0, "bot", "leave"),
            Step(0, "bot", "set", body={"mood": 1}),
            Step(0, "bot", "send", to="a", type="it's"),
            Step(0, "bot", "open", to="a", stream="stream 1"),
            Step(0, "bot", "chunk", to="a", stream="stream 1"),
            Step(0, "bot", "close", to="a", stream="stream 1"),
        )
    ]
    assert texts == [
        "bot to connect",
        "bot to enable messaging",
        "bot to leave",
        "bot to set 'mood'",
        '"it\'s" from bot',
        "the offer of stream 1 by bot",
        "a chunk from bot on stream 1",
        "the closing of stream 1 by bot",
    ]


texts = st.text() | st.sampled_from(["\\N{BULLET}", "'''\"\"\"", "\n", "\\", "\ud800", "𝄞", "{}", "%s", "#"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(
    who=texts.filter(bool),
    to=texts.filter(bool),
    type=texts,
    body=st.dictionaries(
        texts | st.builds(Id, texts), values | st.builds(Sent, texts, st.integers(0), texts), max_size=5
    ),
    attachment=st.binary(max_size=200),
)
def test_a_step_is_written_as_python_reads_it(
    who: str, to: str, type: str, body: dict[Any, Any], attachment: bytes
) -> None:
    """Whatever its texts are, however long its values: each line of the file is what it was made of."""
    step = Step(1.5, who, "send", to=to, type=type, body=body, attachment=attachment)
    text = f"steps = [\n{_step(step)}\n]\n".encode()
    names: dict[str, Any] = {"Step": Step, "Id": Id, "Sent": Sent}
    exec(compile(text, "made", "exec"), names)
    assert names["steps"] == [step]


def test_wrong_steps_are_refused() -> None:
    """The error lists the verbs."""
    with pytest.raises(UsageError, match="these are: connect, enable, disable, leave, set, send, broadcast, ask"):
        Step(0, "ada", "say")
