"""Charts: what they show of a transcript, what they say they left out, and that no name gets out of its place."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.record.records import Record
from simulator.record.transcript import Transcript

S = 1_000_000_000
"""Nanoseconds in a second."""

HOSTILE = '%%{init: 1}%%;#35; <script>alert("$x$")</script>\n-->> p9: \x1b[2J'
"""What somebody might call themselves to get out of a label, in Mermaid, HTML, mathematics or a terminal."""


def message(
    time_ns: int,
    sender: str = "alice",
    recipient: str = "bob",
    outcome: str = "delivered",
    type: str = "chat",
) -> Record:
    """Return a message that took 40 ms if it was delivered."""
    latency = 40_000_000 if outcome == "delivered" else None
    return Record(time_ns, "message", sender, recipient, type, 40, latency, outcome, detail={"text": "hi"})


def fault(time_ns: int, outcome: str, *names: str, type: str = "partition") -> Record:
    """Return a fault that names its victims."""
    return Record(time_ns, "fault", type=type, outcome=outcome, detail={"cut_off": list(names)})


def room(*records: Record) -> Transcript:
    """Return the transcript of a room named demo."""
    made = Transcript("demo", seed=7)
    for record in records:
        made.add(record)
    return made


STORY = room(
    Record(0, "connected", "alice"),
    Record(0, "connected", "bob"),
    message(1 * S),
    Record(1 * S, "reply", "", "alice", outcome="ok"),
    message(2 * S, "bob", "alice", outcome="lost"),
    fault(3 * S, "began", "bob"),
    Record(
        4 * S, "stream", "bob", "alice", "reject", latency_ns=5_000_000, outcome="rejected: busy", stream_id="stream 1"
    ),
    fault(5 * S, "struck", type="restart"),
)
"""A short one that has a bit of everything."""


def word(
    time_ns: int, type: str, sender: str = "alice", recipient: str = "bob", number: int = 1, **detail: Any
) -> Record:
    """Return what is said of a stream, 40 ms on its way."""
    kind, outcome = "message" if type == "chunk" else "stream", "delivered"
    body = {"stream_id": "0f3c", **detail}
    full = f"stream.{type}"
    return Record(time_ns, kind, sender, recipient, full, 40, 40_000_000, outcome, f"stream {number}", body)


STREAMS = room(
    word(1 * S, "open", header={"kind": "video"}, meshsync={"version": 1, "window": 100}),
    word(2 * S, "accept", "bob", "alice", meshsync={"version": 1, "window": 100}),
    word(3 * S, "chunk", header={"n": 1}),
    word(4 * S, "meshsync.credit", "bob", "alice", bytes=300),
    word(5 * S, "open", number=2, header={}),
    word(6 * S, "close"),
    word(7 * S, "accept", "bob", "alice", 2),
    word(8 * S, "meshsync.cancel", "bob", "alice", 2, reason="enough"),
)
"""Two streams: one that ends regularly, and one that is cancelled."""


# --- Mermaid ----------------------------------------------------------------------------------------------------------


def test_a_mermaid_diagram_tells_the_story() -> None:
    """Arrows, crosses, notes and the participants come in order, each in the syntax that Mermaid reads."""
    assert STORY.to_mermaid().splitlines() == [
        "sequenceDiagram",
        "    title demo (seed 7)#58; 2 participants, 2 messages, 1 stream, 1 lost, 1 refused, 2 faults",
        "    participant p0 as alice",
        "    participant p1 as bob",
        "    Note over p0,p1: 0.000 s to 0.000 s connected#58; alice, bob",
        "    p0->>p1: 1.000 s chat (40 ms) text=hi",
        "    p1-xp0: 2.000 s chat #91;lost#93; text=hi",
        "    Note over p1: 3.000 s fault partition began#58; bob",
        "    p1--xp0: 4.000 s stream 1 reject #91;rejected#58; busy#93; (5 ms)",
        "    Note over p0,p1: rejected#58; busy",
        "    Note over p0,p1: 5.000 s fault restart struck",
        "    %% not drawn: 1 answer of the room without an error",
    ]


def test_a_mermaid_diagram_tells_of_streams() -> None:
    """By their numbers, with what their programs say; chunks are messages, and all else is dotted."""
    assert STREAMS.to_mermaid().splitlines()[1:] == [
        "    title demo (seed 7)#58; 2 participants, 0 messages, 2 streams, 1 chunk",
        "    participant p0 as alice",
        "    participant p1 as bob",
        "    p0-->>p1: 1.000 s stream 1 open (40 ms) kind=video",
        "    p1-->>p0: 2.000 s stream 1 accept (40 ms)",
        "    p0->>p1: 3.000 s stream 1 chunk (40 ms) n=1",
        "    p1-->>p0: 4.000 s stream 1 credit (40 ms) bytes=300",
        "    p0-->>p1: 5.000 s stream 2 open (40 ms)",
        "    p0-->>p1: 6.000 s stream 1 close (40 ms)",
        "    p1-->>p0: 7.000 s stream 2 accept (40 ms)",
        "    p1-->>p0: 8.000 s stream 2 cancel (40 ms) reason=enough",
    ]


def test_no_name_leaves_its_place_in_a_mermaid_diagram() -> None:
    """Every line is one of the five kinds that we write, whatever names, types, bodies and outcomes hold."""
    hostile = room(
        Record(0, "connected", HOSTILE),
        Record(1, "message", HOSTILE, "end", HOSTILE, 9, 9, "error " + HOSTILE, detail={HOSTILE: HOSTILE}),
        Record(2, "fault", "", HOSTILE, HOSTILE, outcome="struck"),
    )
    hostile.room = HOSTILE
    text = r"(?:[^\W_]|[ _\-.,=()/'!?]|#\d+;)*"
    line = (
        rf"sequenceDiagram|    (?:title {text}|participant p\d as {text}|p\d-x?p\d: {text}|Note over [pd\d,]+: {text})"
    )
    assert [found for found in hostile.to_mermaid().splitlines() if not re.fullmatch(line, found)] == []


def test_a_mermaid_diagram_says_what_it_left_out() -> None:
    """Of ten messages between 3 s and 8 s, with room for two, the rest are counted, with their times."""
    made = room(*(message(second * S) for second in range(10)))
    drawn = made.to_mermaid(max_messages=2, start=3, end=8)
    assert drawn.count("->>") == 2
    assert re.findall("left out: (.*)", drawn) == [
        "3 records before 3.000 s",
        "4 messages or stream events, 0 other records, from 5.000 s on",
        "1 record after 8.000 s",
    ]


@pytest.mark.parametrize("kind", ["message", "fault", "attributes", "connected"])
def test_a_mermaid_diagram_stays_within_what_mermaid_accepts(kind: str) -> None:
    """Thousands of records of thousands of people with expensive names fit, since Mermaid shows nothing at all else."""
    # 5,000 records of at least 40 characters are 200,000; names of 24 escaped characters are 168 each.
    crowd = [Record(n, kind, f"{n}{'€' * 40}", f"{n + 1}{'€' * 40}", detail={"€": "€" * 90}) for n in range(5000)]
    assert 500 < len(room(*crowd).to_mermaid(max_messages=10_000)) < 50_000


def test_an_empty_mermaid_diagram_is_one() -> None:
    """Where nothing happened, the diagram says so: one without participants would not be drawn."""
    assert "Note over p0: nothing happened" in Transcript().to_mermaid()


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_has_a_lane_for_each_participant() -> None:
    """Arrows run between lanes; a cross, an exclamation mark and hash signs show what went wrong."""
    assert STORY.to_text().splitlines() == [
        "demo (seed 7): 2 participants, 2 messages, 1 stream, 1 lost, 1 refused, 2 faults",
        "        time  alice   bob",
        "     0.000 s  o       |         connected",
        "     0.000 s  |       o         connected",
        "     1.000 s  |------>|         chat (40 ms) text=hi",
        "     2.000 s  |    x--|         chat [lost] text=hi",
        "     3.000 s  |       #         fault partition began: bob",
        "     4.000 s  |!======|         stream 1 reject [rejected: busy] (5 ms)",
        "     5.000 s  #       #         fault restart struck",
    ]


def test_text_of_a_crowd_names_sender_and_recipient() -> None:
    """With more participants than lanes have room, each line names its two."""
    made = room(*(message(n, f"p{n}", f"p{n + 1}") for n in range(20)))
    assert made.to_text().splitlines()[1] == "     0.000 s  p0  -> p1   chat (40 ms) text=hi"


def test_text_keeps_the_end_and_counts_what_it_left_out() -> None:
    """Of 100 records, 12 are shown: 3 of the first, 9 of the last."""
    lines = room(*(message(second * S) for second in range(100))).to_text(limit=12).splitlines()
    assert len(lines) == 2 + 3 + 1 + 9
    assert lines[5].strip() == "...  88 records left out"
    assert lines[-1].strip().startswith("99.000 s")


def test_text_cannot_command_a_terminal() -> None:
    """Control characters are replaced, and no line is longer than asked for."""
    lines = room(Record(0, "message", HOSTILE, "bob", HOSTILE * 9, outcome=HOSTILE)).to_text(width=70).split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) <= 70 for line in lines)


# --- notebooks --------------------------------------------------------------------------------------------------------


def test_html_shows_the_ends_and_runs_nothing() -> None:
    """A table of the first and last ten records, with every text escaped."""
    made = room(*(Record(n, "message", HOSTILE, HOSTILE, HOSTILE, detail={"a": HOSTILE}) for n in range(50)))
    shown = made._repr_html_()
    assert shown.count("<tr>") == 1 + 10 + 1 + 10
    assert "30 records left out" in shown
    assert set(re.findall(r"<(\w+)", shown)) == {"div", "p", "table", "tr", "th", "td"}


def test_a_dataframe_has_a_row_for_each_record() -> None:
    """Columns, units and missing latencies are as promised, and an empty table has the same types."""
    pytest.importorskip("pandas")
    frame = STORY.to_dataframe()
    columns = "time_s, kind, sender, recipient, type, size_bytes, latency_s, outcome, stream_id"
    assert ", ".join(frame.columns) == columns
    assert frame.iloc[2].tolist() == [1.0, "message", "alice", "bob", "chat", 40, 0.04, "delivered", ""]
    assert frame["latency_s"].isna().tolist() == [True, True, False, True, True, True, False, True]
    assert Transcript().to_dataframe().dtypes.tolist() == frame.dtypes.tolist()


@pytest.mark.parametrize(("method", "library"), [("to_dataframe", "pandas"), ("plot", "matplotlib")])
def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, method: str, library: str) -> None:
    """Whoever lacks an optional library learns what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError) as caught:
        getattr(STORY, method)()
    assert str(caught.value) == f"{method}() needs {library}: pip install 'meshsync-client[notebook]'"


def test_a_transcript_draws_itself_whatever_else_is_imported() -> None:
    """Its module is enough, in a fresh interpreter."""
    program = "from simulator.record.transcript import Transcript as T; print(T('demo').to_text(), T()._repr_html_())"
    drawn = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert drawn.startswith("demo")
    assert "<table>" in drawn


# --- the timeline -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pyplot() -> Iterator[Any]:
    """Hand out pyplot without a screen, and close what was drawn."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def lines(axes: Any) -> list[list[list[float]]]:
    """Return the ends of all messages that are drawn, as [time, lane]."""
    from matplotlib.collections import LineCollection

    drawn = [c for c in axes.collections if isinstance(c, LineCollection) and c.get_zorder() == 3]
    return [segment.tolist() for collection in drawn for segment in collection.get_segments()]


def legend(axes: Any) -> list[str]:
    """Return the words of the legend."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def marks(axes: Any, marker: str) -> list[tuple[float, float]]:
    """Return where a marker stands, as (time, lane)."""
    return [point for line in axes.lines if line.get_marker() == marker for point in line.get_xydata().tolist()]


def test_a_message_is_a_line_from_sending_to_arrival(pyplot: Any) -> None:
    """Sent at 1.46 s by the first, arrived at 1.5 s on the second's lane, in milliseconds."""
    axes = room(message(1_500_000_000)).plot()
    assert lines(axes) == [[[pytest.approx(1460), 0], [1500, 1]]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["alice", "bob"]
    assert axes.get_xlabel() == "virtual time (ms)"


def test_losses_and_refusals_are_marked_where_they_ended(pyplot: Any) -> None:
    """The lost message has a cross half a lane from its sender, the refused stream a stop on its opener's lane."""
    axes = STORY.plot()
    assert marks(axes, "X") == [[2, 0.5]]
    assert marks(axes, "_") == [[4, 0]]


def test_the_legend_names_what_occurs_and_nothing_else(pyplot: Any) -> None:
    """A room of two messages explains their type alone; a stormy one each of its marks."""
    assert legend(room(message(0), message(1)).plot()) == ["chat"]
    words = ["connected", "fault holds", "fault strikes", "chat", "stream 1 to alice", "lost", "refused"]
    assert legend(STORY.plot()) == words


def test_a_stream_is_marked_where_it_is_accepted_and_ends(pyplot: Any) -> None:
    """Discs where the acceptances arrive, a square at the regular end, a crossed one at the cancellation."""
    axes = STREAMS.plot()
    assert marks(axes, "o") == [[2, 0], [7, 0]]
    assert marks(axes, "s") == [[6, 1], [8, 0]]
    assert marks(axes, "x") == [[8, 0]]
    styles = ["stream 1 to bob", "stream 2 to bob", "stream credit"]
    assert legend(axes) == [*styles, "stream accepted", "stream closed", "stream cancelled"]


def test_the_marks_of_streams_are_not_thinned_out_with_their_chunks(pyplot: Any) -> None:
    """Of 1,000 chunks 10 are drawn; the acceptance and the end among them always are."""
    chunks = [word(n, "chunk") for n in range(2, 1002)]
    axes = room(word(1, "accept", "bob", "alice"), *chunks, word(1002, "close")).plot(max_messages=10)
    assert (len(lines(axes)), len(marks(axes, "s"))) == (12, 1)
    assert axes.get_xlabel().endswith("drawn: 10 of 1,000 arrivals, evenly chosen")


def test_a_fault_shades_whom_it_hits_while_it_holds(pyplot: Any) -> None:
    """Shade lies on the lane of the one who is cut off, from beginning to end, and its name above."""
    axes = room(message(0), fault(2 * S, "began", "bob"), fault(3 * S, "ended", "bob"), message(4 * S)).plot()
    shades = [c.get_paths()[0].get_extents() for c in axes.collections if c.get_hatch()]
    assert [(box.x0, box.x1, round(box.y0), round(box.y1)) for box in shades] == [(2, 3, 1, 1)]
    assert axes.texts[0].get_text() == "partition: bob"


def test_a_fault_may_name_its_victims_in_one_text(pyplot: Any) -> None:
    """Where the parameters name nobody, the recipients do."""
    strike = Record(S, "fault", recipient="alice, bob", type="reset", outcome="struck", detail={"down": 1})
    axes = room(message(0), message(0, "eve"), strike).plot()
    assert len([c for c in axes.collections if c.get_zorder() == 2.5]) == 2


def test_a_fault_of_somebody_without_a_lane_hits_no_other(pyplot: Any) -> None:
    """It has its name above the axes, and no mark on a lane: of several, some may be of another room."""
    axes = room(message(0), fault(2 * S, "struck", "ghost", "phantom", type="reset")).plot()
    assert axes.texts[0].get_text() == "reset: ghost, phantom"
    assert legend(axes) == ["chat"]
    assert [c for c in axes.collections if c.get_zorder() == 2.5] == []


STRUCK = room(
    Record(0, "connected", "alice"),
    Record(0, "connected", "bob"),
    Record(0, "connected", "carol"),
    fault(1 * S, "began", "carol"),
    message(3 * S),
    fault(4 * S, "struck", "bob", type="drop"),
    fault(5 * S, "struck", "dave", type="reset"),
    message(6 * S, "alice", "eve"),
    fault(7 * S, "ended", "carol"),
    *(message((100 + number) * S, f"guest {number}", "alice") for number in range(60)),
    fault(200 * S, "struck", "bob", type="reset"),
)
"""carol does nothing while she is cut off, dave is struck on his way in, bob again when a crowd has come."""


def lanes(axes: Any) -> list[str]:
    """Return the names of the lanes, from the top."""
    return [label.get_text() for label in axes.get_yticklabels()]


def test_who_is_struck_has_a_lane_in_every_part(pyplot: Any) -> None:
    """Also one that does nothing there, one that was never let in, and one for which there is hardly room."""
    assert lanes(STRUCK.plot(end=8)) == ["alice", "bob", "carol", "eve", "dave"]
    assert lanes(STRUCK.plot(start=2, end=3.5)) == ["alice", "bob", "carol"]
    assert lanes(STRUCK.plot(start=3.5, end=4.5)) == ["bob", "carol"]
    assert lanes(STRUCK.plot(start=4.5, end=5.5)) == ["carol", "dave"]
    crowd = STRUCK.plot(start=99)
    assert lanes(crowd)[:2] == ["alice", "bob"]
    assert len(lanes(crowd)) == 40
    assert "the struck and the busiest, 40 of 62 participants" in crowd.get_xlabel()


def test_who_is_struck_has_a_lane_in_diagrams_and_on_terminals() -> None:
    """The participant, and the mark on its lane."""
    diagram = STRUCK.to_mermaid(start=3.5, end=5.5)
    assert re.findall(r"participant p\d as (\w+)", diagram) == ["bob", "dave"]
    assert "Note over p0: 4.000 s fault drop struck#58; bob" in diagram
    text = room(*list(STRUCK)[3:7]).to_text()
    assert "time  alice   bob     carol   dave" in text
    assert re.search(r"1.000 s  \|       \|       #       \|", text)
    assert re.search(r"5.000 s  \|       \|       \|       #", text)


def test_overlapping_faults_of_one_kind_end_each_in_turn(pyplot: Any) -> None:
    """One that ends and comes back is two shades; one that never ends lasts to the end of the picture."""
    times = [(1, "began"), (2, "ended"), (5, "began")]
    axes = room(message(0), *(fault(t * S, outcome, "bob") for t, outcome in times), message(9 * S)).plot()
    shades = [c.get_paths()[0].get_extents() for c in axes.collections if c.get_hatch()]
    assert [(box.x0, box.x1) for box in shades] == [(1, 2), (5, 9)]


def test_presence_is_the_height_of_a_lane(pyplot: Any) -> None:
    """Alice is connected from 0 to 10 s and takes part from 2 to 8 s; who was never seen to come has no band."""
    kinds = ["connected", "enabled", "disabled", "disconnected"]
    changes = [Record(t * S, kind, "alice") for t, kind in zip([0, 2, 8, 10], kinds, strict=True)]
    axes = room(*changes, message(12 * S)).plot()
    bands = [
        (path.get_extents().x0, path.get_extents().x1, round(path.get_extents().height, 2))
        for c in axes.collections
        if c.get_zorder() == 1.1
        for path in c.get_paths()
    ]
    assert bands == [(0, 2, 0.1), (8, 10, 0.1), (2, 8, 0.24)]


def test_a_refused_request_to_take_part_changes_no_presence(pyplot: Any) -> None:
    """It is marked as refused, and the lane stays as thin as it was."""
    axes = room(Record(0, "connected", "alice"), Record(S, "enabled", "alice", outcome="error 1001: no")).plot()
    assert legend(axes) == ["connected", "refused"]


def test_thousands_of_messages_are_thinned_out_and_the_axis_says_so(pyplot: Any) -> None:
    """Of 3,000 arrivals 100 are drawn, from beginning to end, and the one loss among them always is."""
    made = room(*(message(n * S, outcome="lost" if n == 1501 else "delivered") for n in range(3001)))
    axes = made.plot(max_messages=100)
    assert len(lines(axes)) == 101
    assert axes.get_xlabel() == "virtual time (min)\ndrawn: 100 of 3,000 arrivals, evenly chosen"


def test_a_crowd_is_cut_to_its_busiest_and_the_axis_says_so(pyplot: Any) -> None:
    """Of 100 people who come, the 40 lanes go first to the two who talk."""
    arrivals = [Record(n, "connected", f"p{n}") for n in range(100)]
    axes = room(*arrivals, message(S, "p98", "p99")).plot()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(labels), labels[-2:]) == (40, ["p98", "p99"])
    assert "the 40 busiest of 100 participants" in axes.get_xlabel()


def test_rare_types_share_a_style(pyplot: Any) -> None:
    """Of seven types the four most frequent have their own colour."""
    made = room(*(message(n, type=f"t{kind}") for n, kind in enumerate(sorted([*range(7)] * 2 + [0, 1, 2, 3]))))
    assert legend(made.plot()) == ["t0", "t1", "t2", "t3", "3 other types"]


def test_a_part_of_the_time_can_be_drawn(pyplot: Any) -> None:
    """Only what ended between start and end is there, on the axes that were given, under the title that was given."""
    _, axes = pyplot.subplots()
    made = room(*(message(second * S) for second in range(100)))
    assert made.plot(axes, start=10, end=19.5, title="ten") is axes
    assert (len(lines(axes)), axes.get_title()) == (10, "ten")


def test_a_part_looks_like_the_whole(pyplot: Any) -> None:
    """Lanes keep their order and types their colours, whoever comes first in the part."""
    early = [message(0, type="early"), message(1 * S), message(1 * S)]
    made = room(*early, message(2 * S, "bob", "alice"), message(3 * S, "bob", "alice", type="rare"))
    whole, part = made.plot(), made.plot(start=2)
    orders = [[label.get_text() for label in axes.get_yticklabels()] for axes in (whole, part)]
    colours = [[handle.get_color() for handle in axes.get_legend().get_lines()] for axes in (whole, part)]
    assert orders == [["alice", "bob"]] * 2
    assert len(colours[0]) == 3
    assert colours[1] == [colours[0][0], colours[0][2]]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_can_be_drawn(pyplot: Any) -> None:
    """Dollar signs are no mathematics, and an empty transcript is an empty picture."""
    for made in (room(Record(0, "message", HOSTILE, "$\\frac$", "$^$", outcome="lost")), Transcript("$\\x$")):
        made.plot().figure.canvas.draw()
