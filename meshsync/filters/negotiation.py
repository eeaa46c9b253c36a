"""Agreeing on the filters of a stream, in its header.

::

    writer = open_filtered(room.messaging.create_stream, bot, {"purpose": "log"}, filters=[compression()])

    def save_log(reader):
        reader = accept_filtered(reader, filters=[compression()])

The header that travels has one more member, ``meshsync.filters``: a list of objects, each with the ``name`` of a filter
and the members that it adds, in the order in which they are applied. If a program opens a stream with filters through a
client that adds its own, then the program's list is the first item of the client's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from meshsync.errors import StreamError, StreamRejected
from meshsync.filters.filtering import (
    MakeFilter,
    StreamFilter,
    describe_failure,
    make_filters,
    read_through,
    tell_failure,
    write_through,
)
from meshsync.protocol.envelopes import as_object
from meshsync.reasons import safe_text
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.interfaces import StreamReader, StreamWriter
from meshsync.world import runtime_of

__all__ = ["accept_filtered", "open_filtered"]

MEMBER = "meshsync.filters"
"""The member of a stream's header that lists its filters."""


def open_filtered(
    create_stream: Callable[..., StreamWriter],
    to: Any,
    header: Mapping[str, Any] | None = None,
    *,
    filters: Sequence[MakeFilter],
    **options: Any,
) -> StreamWriter:
    """Open a stream with filters, which its header announces.

    An acceptor that knows no filters may accept nonetheless. It reads encoded chunks, and those that it writes back
    fail to be decoded.

    Args:
        create_stream: Opens it: ``room.messaging.create_stream``, or ``super().create_stream`` in a client of your
            own.
        to: The recipient, as for ``create_stream``; or a mapping of ``to`` and ``header``.
        header: The program's header. It is not encoded.
        filters: Applied to each chunk in this order, and to the peer's in the opposite one.
        options: Passed on.
    Raises:
        StreamRejected: If the peer lacks one of the filters or demands another; the text says which.
        InvalidMessage: If the header is no JSON object.
        TypeError: If something else than filters was given; `ValueError` if two have the same name, or one has none.
        MeshsyncError: As ``create_stream``.
    """
    if isinstance(to, Mapping):
        return open_filtered(create_stream, filters=filters, **to, **options)
    header = as_object({} if header is None else header, "header")
    made = make_filters(filters, _runtime_behind(create_stream))
    if not made:
        return create_stream(to, header, **options)
    entries = [header[MEMBER]] if MEMBER in header else []
    for filter in made:
        added = filter.announce({**header, MEMBER: entries})
        entries = [*entries, {**added, "name": filter.name}]
    return write_through(made, create_stream(to, {**header, MEMBER: entries}, **options), header)


def accept_filtered(
    reader: StreamReader, filters: Sequence[MakeFilter], *, optional: Sequence[MakeFilter] = ()
) -> StreamReader:
    """Return a reader through the filters that an offered stream's header announces, or reject the stream.

    The stream is not accepted yet: as ever, ``accept``, the first read, or returning from the callback does that.

    Args:
        filters: These have to be announced: a stream that lacks one of these, or has others, is rejected.
        optional: These may be announced besides.
    Raises:
        StreamRejected: If the stream was rejected; the text, which the opener gets too, has the reason.
        TypeError: If something else than filters was given; `ValueError` if two have the same name, or one has none.
            The stream is undecided.
    """
    known = make_filters([*filters, *optional], runtime_of(reader))
    names = [filter.name for filter in known]
    header = dict(reader.header)
    try:
        above, entries = _announced(header.pop(MEMBER, []))
        chosen = _choose(entries, {filter.name: filter for filter in known}, names[: len(filters)])
        if above is not None:
            header[MEMBER] = above
        before: list[Any] = [] if above is None else [above]
        for filter, entry in zip(chosen, entries, strict=True):
            _accept(filter, entry, {**header, MEMBER: before})
            before = [*before, entry]
    except StreamError as error:
        reason = error.told if isinstance(error, _FilterFailed) else safe_text(error)
        reader.close(reason)
        raise StreamRejected(reason) from error
    return read_through(chosen, reader, header) if chosen else reader


def _runtime_behind(create_stream: Callable[..., StreamWriter]) -> Runtime:
    """Return the runtime of the client that a method opens streams of, bare or with arguments bound to it.

    Filters draw their announcements before there is a stream. A function of the program's own does not show whose
    streams it opens: the world of the calling task has to do.
    """
    method: Any = create_stream
    while isinstance(method, partial):
        method = method.func
    return runtime_of(getattr(method, "__self__", None))


def _announced(value: Any) -> tuple[list[Any] | None, list[Mapping[str, Any]]]:
    """Return the announcement of a layer above, None if there is none, and the entries of this layer."""
    if isinstance(value, list):
        is_layered = bool(value) and isinstance(value[0], list)
        above, entries = (value[0], value[1:]) if is_layered else (None, value)
        if all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries):
            return above, entries
    raise StreamError(f"the header's {MEMBER!r} is no list of objects with a name each")


def _choose(
    entries: Sequence[Mapping[str, Any]], known: Mapping[str, StreamFilter], required: Sequence[str]
) -> list[StreamFilter]:
    names = [entry["name"] for entry in entries]
    if any(names.count(name) > 1 for name in names):
        raise StreamError(f"the stream announces a filter twice: {_list(names)}")
    if missing := [name for name in required if name not in names]:
        raise StreamError(
            f"only streams with the filters {_list(required)} are taken here; this one lacks {_list(missing)}"
        )
    if unknown := [name for name in names if name not in known]:
        raise StreamError(f"the filters {_list(unknown)} are not known here; known are {_list(known) or 'none'}")
    return [known[name] for name in names]


def _accept(filter: StreamFilter, entry: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    try:
        filter.accept(entry, header)
    except Exception as error:
        raise _FilterFailed(describe_failure(filter, error), tell_failure(filter, error)) from error


class _FilterFailed(StreamError):
    """A filter of the program's raised.

    Attributes:
        told: What the peer is told of it.
    """

    def __init__(self, text: str, told: str) -> None:
        super().__init__(text)
        self.told = told


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"{name!r:.50}" for name in names)
