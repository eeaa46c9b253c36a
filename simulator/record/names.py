"""Labels of participants and streams in a transcript."""

from __future__ import annotations

import math
from typing import TypeVar

from meshsync.protocol.operations import Broadcast, Push, Send

__all__ = ["Names", "Recent"]

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V]):
    """A dictionary of the latest entries, so many at most."""

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self.most:
            del self[next(iter(self))]


class Names:
    """A label for each participant, ``bob#2`` for a second one of that name, and a number for each stream.

    Labels are kept for participants that have left, whose messages still travel.

    Args:
        most: How many participants that left, and streams, are known by their labels: the latest.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.seen: dict[str, None] = Recent(most)
        """The name of each participant that is or was here, or wanted to be, in order of appearance."""
        self._here: dict[str, tuple[str, str]] = {}
        """The label and the name of each participant that is here, by id."""
        self._gone: Recent[str, tuple[str, str]] = Recent(most)
        self._present: dict[str, str] = {}
        """The id of the participant that has a label at the moment."""
        self._streams: Recent[str, str] = Recent(most)
        self._stream_count = 0

    def appear(self, name: str) -> None:
        """Record a name."""
        if name not in self.seen:
            self.seen[name] = None

    def join(self, member_id: str, name: str) -> str:
        """Choose a label for a participant that is here now, and return it."""
        self.appear(name)
        label, count = name, 1
        while label in self._present:
            count += 1
            label = f"{name}#{count}"
        self._here[member_id] = (label, name)
        self._present[label] = member_id
        return label

    def leave(self, member_id: str) -> str:
        """Release a participant's label for others, and return it."""
        known = self._here.pop(member_id, None)
        if known is None:
            return self.label(member_id)
        self._gone[member_id] = known
        self._present.pop(known[0], None)
        return known[0]

    def label(self, member_id: str) -> str:
        """Return a participant's label; the id itself if it is unknown."""
        known = self._find(member_id)
        return member_id if known is None else known[0]

    def plain(self, member_id: str) -> str | None:
        """Return a participant's own name, which need not be unique."""
        known = self._find(member_id)
        return None if known is None else known[1]

    def _find(self, member_id: str) -> tuple[str, str] | None:
        return self._here.get(member_id) or self._gone.get(member_id)

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
