"""The transcript of a room as users meet it: its records, with tables and pictures of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.record import charts, timeline
from simulator.record.records import Records
from simulator.record.timeline import missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

__all__ = ["Transcript"]


class Transcript(Records):
    """The records of one room in order of time, and a simulated one's packet log, to be drawn.

    That of a simulation grows while it runs; that of a real room, from ``Emulator.transcript(room)``, is what was
    recorded when it was asked for.
    """

    def to_dataframe(self) -> DataFrame:
        """Return the records as a pandas table, one row each, in order of time.

        The columns are ``time_s`` and ``latency_s`` (seconds; NaN for a latency that is None), ``size_bytes``, and the
        texts ``kind``, ``sender``, ``recipient``, ``type``, ``outcome``, ``stream_id``, empty where a record has none.

        Raises:
            ImportError: If pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise missing("to_dataframe()", "pandas", error) from None
        kinds = {"time_s": "float64", "size_bytes": "int64", "latency_s": "float64"}
        columns = ("time_s", "kind", "sender", "recipient", "type", "size_bytes", "latency_s", "outcome", "stream_id")
        # By column and with a type for each: an empty or one-sided table has the same types as any other.
        return pandas.DataFrame(
            {
                name: pandas.Series([getattr(record, name) for record in self], dtype=kinds.get(name, "object"))
                for name in columns
            }
        )

    def to_mermaid(self, *, max_messages: int = 100, start: float = 0.0, end: float | None = None) -> str:
        """Return a Mermaid sequence diagram of the conversation.

        Participants stand in the order of their first appearance. Messages and stream events are arrows, those that
        were lost or refused end in a cross; refusals, faults, attributes and roster changes are notes. Answers of the
        room without an error are not drawn. The text never exceeds Mermaid's limit of 50,000 characters; a note counts
        the records left out, and from when on.

        Args:
            max_messages: The most arrows; the earliest are drawn.
            start: Where to begin, in seconds since the start of the simulation, or since the real room was opened.
            end: Where to end, likewise; None for the end of the transcript.
        """
        return charts.to_mermaid(self, max_messages=max_messages, start=start, end=end)

    def to_text(self, *, limit: int = 60, width: int = 120) -> str:
        """Return a chart of the conversation as plain lines, for terminals and failure reports.

        Args:
            limit: The most records; of more, some of the first and most of the last are shown, and a line between them
                counts the rest.
            width: The longest line, in characters.
        """
        return charts.to_text(self, limit=limit, width=width)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        start: float = 0.0,
        end: float | None = None,
        max_messages: int = 400,
        title: str | None = None,
    ) -> Axes:
        """Draw the messages in time: one lane for each participant, time from left to right.

        A message is a line from its sender's lane, at the time of sending, to its recipient's, at that of its arrival;
        one that was lost without a known latency is drawn at the instant of its loss. A lane is thin where its
        participant is away, thicker while connected, thickest while its messaging is enabled. Streams have a mark where
        their acceptance, rejection or end arrives, and a colour each where there are few. Lines are labelled with type
        and content where there is room; in a crowd, one of each type and what was lost or refused. Beneath the axis
        stands how many records are thinned out. With ``end=None``, long times without an event are cut from the axis,
        each marked with its length; with an ``end`` the axis is even from ``start`` to ``end``.

        Args:
            ax: Where to draw; None makes a figure.
            start: Where to begin, in seconds since the start of the simulation, or since the real room was opened; with
                ``end=None``, with the first event from there on.
            end: Where to end, likewise; None for the last event.
            max_messages: The most messages and stream events to draw; of more, an even selection of those that arrived.
            title: None for the room, the seed and the counts of records.
        Returns:
            The axes, time in the unit that their label names.
        Raises:
            ImportError: If matplotlib is missing.
        """
        return timeline.plot(self, ax, start=start, end=end, max_messages=max_messages, title=title)

    def _repr_html_(self) -> str:
        return charts.to_html(self)
