"""Labels of participants and streams in a transcript."""

from __future__ import annotations

from meshsync.protocol.operations import Broadcast, Push, Send

__all__ = ["Names"]


class Names:
    """A label for each participant, ``bob#2`` for a second one of that name, and a number for each stream.

    Labels are kept for participants that have left, whose messages still travel.
    """

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}
        """The name of each participant that is or was here, or wanted to be, in order of appearance."""
        self._labels: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self._present: dict[str, str] = {}
        """The id of the participant that has a label at the moment."""
        self._streams: dict[str, str] = {}
        self._stream_count = 0

    def appear(self, name: str) -> None:
        """Record a name."""
        self.seen.setdefault(name)

    def join(self, member_id: str, name: str) -> str:
        """Choose a label for a participant that is here now, and return it."""
        self.appear(name)
        label, count = name, 1
        while label in self._present:
            count += 1
            label = f"{name}#{count}"
        self._labels[member_id] = label
        self._plain[member_id] = name
        self._present[label] = member_id
        return label

    def leave(self, member_id: str) -> str:
        """Release a participant's label for others, and return it."""
        label = self.label(member_id)
        self._present.pop(label, None)
        return label

    def label(self, member_id: str) -> str:
        """Return a participant's label; the id itself if it is unknown."""
        return self._labels.get(member_id, member_id)

    def plain(self, member_id: str) -> str | None:
        """Return a participant's own name, which need not be unique."""
        return self._plain.get(member_id)

    def stream(self, stream_id: str) -> str:
        """Return a stream's label; empty for an unknown one."""
        return self._streams.get(stream_id, "")

    def stream_of(self, request: Send | Broadcast | Push) -> str:
        """Return the label of a message's stream, numbered in the order of opening; empty for none."""
        if not request.type.startswith("stream.") or isinstance(request, Broadcast):
            return ""
        stream_id = str(request.message.get("stream_id"))
        if request.type == "stream.open":
            self._stream_count += 1
            self._streams[stream_id] = f"stream {self._stream_count}"
        return self.stream(stream_id)
