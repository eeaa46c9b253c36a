"""Which messages of a record ask and which answer, each question with a name that does not depend on its number."""

from __future__ import annotations

from collections import Counter

from simulator.record.record import Record

__all__ = ["ANSWERS", "Questions"]

ANSWERS = {"answered": "reply", "refused": "refuse", "failed": "fail"}
"""By what the wire tells of a question, the verb of the step; of one whose answerer left there is none."""


class Questions:
    """The questions of a record, which is read in its order."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], str] = {}
        """The latest one of a number: a client counts its own from 1, and so does the next one of that name."""
        self._counts: Counter[tuple[str, str]] = Counter()
        self._open: set[str] = set()
        self._older: set[str] = set()
        """Those that were answered to a connection of their asker that is gone."""

    def connected(self, asker: str) -> None:
        """Note that a participant comes, or comes back."""
        self._older |= {name for (who, _), name in self._names.items() if who == asker and name not in self._open}

    def verb(self, record: Record) -> tuple[str, str]:
        """Return the verb of a message, and the name of its question; both are empty for one that counts for nothing.

        That is a question or an answer that comes again, since a client sends what was not confirmed once more, and the
        notice of an answerer that it leaves, which follows from leaving. The name is empty for an ordinary message.
        """
        match record.mark:
            case {"ask": {"id": int(number)}}:
                name = self._names.get((record.sender, number), "")
                if name and name not in self._older:
                    return "", ""
                pair = (record.sender, record.recipient)
                self._counts[pair] += 1
                name = f"question {self._counts[pair]} from {record.sender} to {record.recipient}"
                self._names[record.sender, number] = name
                self._open.add(name)
                return "ask", name
            case {"answer": {"id": int(number), **told}}:
                name = self._names.get((record.recipient, number), "")
                if not name:  # The record begins behind the question.
                    return "send", ""
                verb = ANSWERS.get(str(told.get("outcome", "answered")), "") if name in self._open else ""
                self._open.discard(name)
                return (verb, name) if verb else ("", "")
        return "send", ""
