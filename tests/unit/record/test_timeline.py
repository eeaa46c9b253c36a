"""What a timeline says of its messages, of a failure and of late steps, and how much of the picture they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import Simulation, explore
from simulator.exploring.runs import Case, run
from simulator.record import timeline
from simulator.record.record import Record
from simulator.record.timeline_marks import Mark
from simulator.record.transcript import Transcript
from tests.support.pages import read_blocks

DOCS = Path(__file__).parents[3] / "docs"
S = 1_000_000_000


@pytest.fixture(autouse=True)
def pyplot() -> Iterator[Any]:
    """Hand out pyplot without a screen, and close what was drawn."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def message(time_s: float, sender: str = "ann", recipient: str = "tom", type: str = "ticket", **detail: Any) -> Record:
    """Return a message that took 0.4 s."""
    return Record(int(time_s * S), "message", sender, recipient, type, 40, 400_000_000, "delivered", detail=detail)


def room(*records: Record) -> Transcript:
    """Return the transcript of a room."""
    made = Transcript("demo", seed=7)
    for record in records:
        made.add(record)
    return made


def draw(made: Transcript, *marks: Mark, end: float | None = None) -> Any:
    """Return the axes with some marks."""
    return timeline.plot(made, None, start=0.0, end=end, max_messages=400, title=None, marks=marks)


def texts(axes: Any) -> list[str]:
    """Return all texts within and above the axes."""
    return [text.get_text() for text in axes.texts]


def labels(axes: Any) -> list[Any]:
    """Return the labels of messages."""
    return [text for text in axes.texts if text.get_zorder() == 4.5]


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_message_is_labelled_with_its_type_and_what_it_says() -> None:
    """The label lies on its line, in its middle."""
    (label,) = labels(draw(room(message(2, seat=1))))
    assert label.get_text() == "ticket\nseat=1"
    assert label.get_position() == pytest.approx((1800, 0.5), abs=0.01)


def test_labels_do_not_overlap() -> None:
    """Of 24 messages in a crowd some have no label, and no two labels lie upon each other."""
    axes = draw(room(*(message(2 + n / 20, *(("ann", "tom") if n % 3 else ("tom", "ann")), seat=n) for n in range(24))))
    axes.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels(axes)]
    assert 5 < len(boxes) < 24
    assert not any(one.overlaps(two) for number, one in enumerate(boxes) for two in boxes[:number])


def test_in_a_crowd_one_of_each_type_is_labelled_and_all_that_failed() -> None:
    """Among 200 messages the one that was lost has its label, and the first of all others."""
    lost = Record(5 * S, "message", "ann", "tom", "will", outcome="lost")
    axes = draw(room(*(message(n / 20) for n in range(10, 100)), lost, *(message(n / 20) for n in range(101, 200))))
    assert [label.get_text() for label in labels(axes)] == ["will", "ticket"]


def test_chunks_of_a_stream_have_no_label_and_its_events_do() -> None:
    """A stream has a colour of its own, and the reason of a rejection is on its line."""
    said = ["open", "accept", "chunk", "close", "open", "reject"]
    records = [
        Record(
            (n + 1) * S,
            "message" if word == "chunk" else "stream",
            *(("tom", "ann") if word in ("accept", "reject") else ("ann", "tom")),
            f"stream.{word}",
            10,
            400_000_000,
            "rejected: in a call" if word == "reject" else "delivered",
            f"stream {1 + (n > 3)}",
        )
        for n, word in enumerate(said)
    ]
    axes = draw(room(*records))
    assert sorted(text.get_text() for text in labels(axes)) == [
        "accept",
        "close",
        "open",
        "open",
        "reject\nin a call",
    ]
    lines = [c for c in axes.collections if c.get_zorder() == 3]
    assert [len(group.get_segments()) for group in lines] == [4, 2]
    assert len({tuple(group.get_color()[0]) for group in lines}) == 2


def test_many_streams_share_a_style_and_the_legend_says_of_what() -> None:
    """Four have their own; the rest are streams, or streams and types."""
    opened = [
        Record((n + 1) * S, "stream", "ann", "tom", "stream.open", 1, 1, "delivered", f"stream {n + 1}")
        for n in range(7)
    ]
    own = [f"stream {n} to tom" for n in range(1, 5)]
    for made, others in ((room(*opened), "3 other streams"), (room(*opened, message(9)), "4 others")):
        assert [text.get_text() for text in draw(made).get_legend().get_texts()] == [*own, others]


def test_each_type_is_labelled_once_even_in_a_bundle() -> None:
    """Of twelve messages that go together, the label of one lies upon all their lines."""
    axes = draw(room(*(message(2 + n / 1000, seat=n) for n in range(12)), message(9, type="end")))
    assert [label.get_text() for label in labels(axes)] == ["end", "ticket\nseat=0"]


# --- how much of the picture it has -----------------------------------------------------------------------------------


def share(axes: Any, begin: float, end: float) -> float:
    """Return how much of the width an interval has."""
    (first, _), (last, _) = axes.transAxes.inverted().transform(axes.transData.transform([(begin, 0), (end, 0)]))
    return float(last - first)


def test_the_picture_begins_with_the_first_event_and_ends_with_the_last() -> None:
    """Unless it was said when it ends; then it is as long as that."""
    made = room(*(message(60 + n / 2) for n in range(9)))
    assert share(draw(made), 59.6, 64) > 0.95
    assert share(draw(made, end=64), 0, 64) > 0.95


def test_a_long_wait_is_cut() -> None:
    """Of 100 s in which nothing happened there is a strip that says so, and the rest has the room."""
    axes = draw(room(*(message(1 + n / 2) for n in range(6)), message(104), message(105)))
    assert share(axes, 0.6, 3.5) + share(axes, 103.6, 105) > 0.8
    assert [text for text in texts(axes) if "without" in text] == ["99.8 s without an event"]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert any(tick.startswith("10") for tick in ticks), ticks


def test_a_message_that_is_long_under_way_is_no_gap() -> None:
    """It is what happens meanwhile."""
    slow = Record(100 * S, "message", "ann", "tom", "slow", 1, 97 * S, "delivered")
    axes = draw(room(*(message(1 + n / 2) for n in range(6)), slow))
    assert [text for text in texts(axes) if "without" in text] == []


@pytest.mark.parametrize("count", [1, 2, 5, 6, 12, 13, 40])
def test_each_lane_has_room(count: int) -> None:
    """From a quarter of an inch for each of forty to more than an inch for one."""
    axes = draw(room(*(message(1 + n, f"p{n}", f"p{(n + 1) % count}") for n in range(count))))
    axes.figure.draw_without_rendering()
    height = axes.get_window_extent().height / axes.figure.dpi / count
    assert 0.25 < height < 1.6


# --- failures and late steps ------------------------------------------------------------------------------------------


def test_a_failure_is_a_line_across_all_lanes_with_its_text() -> None:
    """A star is on the lane of the participant named like the actor that failed."""
    made = room(message(1), message(2))
    axes = draw(made, Mark(1.5, "fails: ValueError: no, at sell.py:4 in sell", "main/tom"))
    assert next(line.get_xdata() for line in axes.lines if line.get_color() == "#B00000") == [1500, 1500]
    assert [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "*"] == [[[1500, 1]]]
    assert "fails: ValueError: no, at sell.py:4 in sell" in texts(axes)
    assert "the run fails" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_failure_beyond_the_picture_has_its_instant() -> None:
    """It is marked at the edge."""
    axes = draw(room(message(1), message(2)), Mark(60.0, "fails"), end=3.0)
    assert "at 60.000 s: fails" in texts(axes)
    assert next(line.get_xdata() for line in axes.lines if line.get_color() == "#B00000") == [3, 3]


def test_a_late_step_is_a_bar_on_the_lane_of_its_task() -> None:
    """From when it was due until it came."""
    axes = draw(room(message(1), message(2)), Mark(1.2, "tom is 0.5 s late", "main/tom", 1.7))
    (bar,) = [c.get_paths()[0].get_extents() for c in axes.collections if c.get_zorder() == 1.6]
    assert (bar.x0, bar.x1, round(bar.y0 + bar.y1)) == (1200, 1700, 2)
    assert "tom is 0.5 s late" in texts(axes)


def shop(sim: Simulation) -> None:
    """Fail if ann is late for the letter."""
    office = sim.room("shop").join("office", enable=True)
    sim.room("attic").join("ghost")
    rested = []

    def rest() -> None:
        with meshsync.connect("shop", name="ann") as client:
            client.messaging.enable()
            meshsync.sleep(0.2)
            rested.append(True)
            meshsync.sleep(5)

    sim.spawn(rest, name="ann")
    office.messaging.send_message(office.messaging.wait_for_participant(name="ann"), "letter", {})
    meshsync.sleep(0.5)
    assert rested, "ann still rests"


def test_a_failing_run_draws_itself() -> None:
    """The failure and the late step, which takes its text from the report; of two rooms that with the most records."""
    failure = explore(shop, range(200), schedule="late", latency=0.02, save=None, report=None)
    assert failure is not None
    axes = failure.plot()
    said = "\n".join(texts(axes))
    assert re.search(r"fails: AssertionError: ann still rests.*, at test_timeline.py:\d+ in shop", said)
    assert re.search(rf"{failure.lates[0].who} is [\d.]+ s late at its \w+ \d", said)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["office", "ann"]
    assert failure.run.failed_at is not None
    assert failure.run.failed_at <= failure.run.end
    assert failure.plot(room="attic").get_title().startswith("attic")
    with pytest.raises(UsageError, match="no room 'cellar'; it has 'shop', 'attic'"):
        failure.plot(room="cellar")


def test_a_run_that_passes_has_no_mark() -> None:
    """Its picture is that of its transcript."""
    made = run(shop, Case(seed=1))
    assert made.error is None
    assert made.failed_at is None
    assert "fails" not in "".join(texts(made.plot()))


def test_the_picture_of_the_page_on_races_shows_the_race() -> None:
    """The step that is late, the messages that came before and meanwhile, and the failure."""
    page = DOCS / "races.md"
    names: dict[str, Any] = {"__name__": "races"}
    program = next(block for block in read_blocks(page.read_text(encoding="utf-8")) if block.language == "python")
    exec(compile(program.text, "races.md", "exec"), names)
    said = texts(names["failure"].plot())
    assert "main/ann is 0.281 s late at its sleep 1" in said
    assert any(text.startswith("fails: AssertionError, at races.md") for text in said), said
    assert said.count("deposit") == 2
