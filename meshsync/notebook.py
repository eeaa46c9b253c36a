"""How clients, participants, messages and errors look in a notebook.

Names, attributes and messages are of peers: every text is escaped, and cut where it is long. Whose these are is not
imported here, since errors have a look, too.
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from meshsync.tracebacks import without_library

__all__ = [
    "event_html",
    "grid",
    "message_html",
    "participant_html",
    "preformatted",
    "render_traceback",
    "room_html",
    "stats_html",
]

_LONGEST = 2000
"""Characters of one text."""
_MOST = 100
"""Participants listed."""


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a title, as HTML.

    Args:
        columns: The heads of the columns; empty for none.
    """
    head = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in columns)}</tr>" if columns else ""
    cell = '<td style="text-align: left">{}</td>'
    body = "".join(f"<tr>{''.join(cell.format(_text(value)) for value in row)}</tr>" for row in rows)
    return f"<div><p>{_text(title)}</p><table>{head}{body}</table></div>"


def preformatted(text: str) -> str:
    """Return a text as HTML, line by line as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def room_html(room: Any) -> str:
    """Return a client, its state and who is there."""
    own, messaging = room.local_participant, room.messaging
    title = f"{own.name} ({own.role}) in {room.room_name}: {room.state}"
    if not messaging.is_enabled:
        return grid(f"{title}, messaging is not enabled", (), ())
    others = messaging.remote_participants
    rows: list[Sequence[object]] = [(who.name, who.role, _json(who.attributes), who.id) for who in others[:_MOST]]
    if len(others) > _MOST:
        rows.append((f"… and {len(others) - _MOST} more",))
    return grid(title, ("participant", "role", "attributes", "id"), rows)


def participant_html(participant: Any) -> str:
    """Return a participant with its attributes."""
    online = getattr(participant, "online", True)
    rows = [("id", participant.id), *participant.attributes.items()]
    return grid(f"{participant.name} ({participant.role}){'' if online else ', has left'}", (), rows)


def message_html(message: Any) -> str:
    """Return a message: who sent it, what it says, and how much is attached."""
    who = message.sender.name if message.sender is not None else message.from_participant_id
    title = f"{message.type} from {who}" if who else message.type
    attached = [("attachment", f"{len(message.attachment):,} bytes")] if message.attachment else []
    return grid(title, (), [*message.message.items(), *attached])


def event_html(event: Any) -> str:
    """Return an event and its message."""
    failure = "" if event.error is None else f": {type(event.error).__name__}: {event.error}"
    return f"<div><p>{_text(event.name + failure)}</p>{message_html(event.message)}</div>"


def stats_html(stats: Any) -> str:
    """Return the counts of a client."""
    return grid("", (), [(field.name, f"{getattr(stats, field.name):,}") for field in fields(stats)])


def _text(value: object) -> str:
    text = value if isinstance(value, str) else _json(value)
    return html.escape(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def _json(value: object) -> str:
    if isinstance(value, Mapping):
        value = dict(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


# --- errors -----------------------------------------------------------------------------------------------------------


def render_traceback(error: BaseException) -> list[str]:
    """Return an error's traceback as IPython prints it, without the frames of this package.

    IPython asks for it by the error's ``_render_traceback_``, which the documentation of its ``showtraceback`` names.
    """
    ipython: Any = sys.modules["IPython"]
    shown = without_library(error.__traceback__)
    lines: list[str] = ipython.get_ipython().InteractiveTB.structured_traceback(type(error), error, shown, tb_offset=1)
    return lines
