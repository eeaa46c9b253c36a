"""Confirmed messages, as the messages that they carry: records show those, each time that one is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshsync.protocol.operations import Broadcast, Push, Send
from simulator.record.record import Record

__all__ = ["inside", "mark_of", "outcome_of_answer"]


def inside(what: Push | Send | Broadcast) -> tuple[str, Mapping[str, Any]]:
    """Return the type and the body of a message, those of the inner one where it carries one."""
    if what.type == "meshsync.message":
        type, message = what.message.get("type"), what.message.get("message")
        if isinstance(type, str) and isinstance(message, dict):
            return type, message
    return what.type, what.message


def mark_of(what: Push | Send | Broadcast) -> Mapping[str, Any]:
    """Return what makes a confirmed message a question or an answer; empty for all else."""
    if what.type != "meshsync.message":
        return {}
    return {name: mark for name in ("ask", "answer") if isinstance(mark := what.message.get(name), dict)}


def outcome_of_answer(record: Record) -> str:
    """Return what an answer tells besides its body: that there is none, and why; empty for all else."""
    answer: Any = record.mark.get("answer")
    outcome = str(answer.get("outcome", "")) if isinstance(answer, dict) else ""
    return f"{outcome}: {answer.get('reason', '')}".removesuffix(": ") if outcome else ""
