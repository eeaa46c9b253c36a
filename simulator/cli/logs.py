"""The log that ``serve`` and ``exec`` print on standard error: lines for people, or lines of JSON for programs.

What is logged is the emulator's business (`simulator.emulator.event_log`); this is the form, and the way out. A line is
put into a queue, which a thread empties: a terminal that is stopped, or a pager that reads no further, must not stop
the emulator. What does not fit into the queue is counted and left out. Where nothing reads any more (a pipe of
``head``, a closed standard error) the log goes nowhere, and the command goes on.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import click

from meshsync.excerpts import printable

__all__ = ["LEVELS", "JsonFormatter", "Printer", "TextFormatter", "has_colours", "printed"]

LEVELS = ("debug", "info", "warning", "error")
"""The levels of ``--log-level``, the one with the most lines first."""

_EMULATOR = "simulator.emulator"
"""The logger whose level it is; others log warnings, if that."""

_CAPACITY = 10_000
"""Lines that may wait for standard error to be read."""

_LONGEST_END = 2.0
"""Seconds that the last lines may take at the end."""

_LEVEL_COLOURS = {logging.DEBUG: "bright_black", logging.WARNING: "yellow", logging.ERROR: "red"}
_EVENT_COLOURS = {
    "arrived": "green",
    "left": "blue",
    "refused": "yellow",
    "fault": "magenta",
    "stream_opened": "cyan",
    "stream_accepted": "cyan",
    "stream_rejected": "yellow",
    "stream_ended": "cyan",
}

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""The attributes that every record has; others are members of its event."""


def has_colours(is_terminal: bool, environment: Mapping[str, str]) -> bool:
    """Return whether to print in colours.

    Args:
        is_terminal: Whether a terminal shows it; without one, only ``FORCE_COLOR`` makes colours.
    Source: no-color.org, force-color.org: each counts if it is set and not empty; the first one counts more.
    """
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (is_terminal and environment.get("TERM") != "dumb")


class TextFormatter(logging.Formatter):
    """Lines for people: date, time, level, and a sentence.

    Args:
        has_colours: Whether they are coloured, by their level and event.
    """

    def __init__(self, *, has_colours: bool) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%Y-%m-%d %H:%M:%S") + f".{int(record.msecs):03d}"
        level, text = f"{record.levelname:<7}", printable(record.getMessage())
        if self._has_colours:
            colour = _LEVEL_COLOURS.get(record.levelno)
            time = click.style(time, dim=True)
            level = click.style(level, fg=colour)
            text = click.style(text, fg=colour or _EVENT_COLOURS.get(getattr(record, "event", "")))
        trace = _trace_of(record)
        return "\n".join([f"{time} {level} {text}", *map(printable, trace.splitlines())])


class JsonFormatter(logging.Formatter):
    """Lines of JSON: ``time``, ``level``, ``event``, the event's own members, ``text``, and ``trace`` of a failure."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "other"),
            **{name: value for name, value in vars(record).items() if name not in _OWN and name != "event"},
            "text": printable(record.getMessage()),
        }
        trace = _trace_of(record)
        return json.dumps(line | ({"trace": trace} if trace else {}), default=str)


def _trace_of(record: logging.LogRecord) -> str:
    return "" if record.exc_info is None else logging.Formatter().formatException(record.exc_info)


class Printer(logging.Handler):
    """Prints on standard error from a thread of its own, and waits for nothing.

    Args:
        is_coloured: Whether a console that needs it is prepared for escape sequences.
        capacity: Lines that may wait to be printed.
    """

    def __init__(self, *, is_coloured: bool, capacity: int = _CAPACITY) -> None:
        super().__init__()
        self._is_coloured = is_coloured
        self._lines: queue.Queue[str | None] = queue.Queue(capacity)
        self._left_out = 0
        self._is_read = True
        self._thread = threading.Thread(target=self._print_all, name="simulator log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record printed, or count it."""
        try:
            if self._left_out and not self._lines.full():
                count, self._left_out = self._left_out, 0
                text = f"{count} lines of the log are missing here: standard error was not read"
                note = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": text, "event": "left_out"}
                self._lines.put_nowait(self.format(logging.makeLogRecord({**note, "lines": count})))
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Print what waits, unless that takes longer than `_LONGEST_END`, and end."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=_LONGEST_END)
        self._thread.join(_LONGEST_END)
        super().close()

    def _print_all(self) -> None:
        is_last = False
        while not is_last:
            lines = [self._lines.get()]
            with suppress(queue.Empty):
                while True:
                    if len(lines) == _CAPACITY:
                        break
                    lines.append(self._lines.get_nowait())
            is_last = None in lines
            if self._is_read and sys.stderr is not None:
                try:
                    self._print("".join(f"{line}\n" for line in lines if line is not None))
                except (OSError, ValueError):  # Its reader has closed it, or this process has.
                    self._is_read = False

    def _print(self, text: str) -> None:
        if os.name != "posix":  # Whose consoles take no bytes, and old ones no escape sequences.
            click.echo(text, nl=False, err=True, color=self._is_coloured)
            return
        # Past the buffer of sys.stderr: its lock would be held as long as nothing reads, and Python aborts at its end.
        descriptor = sys.stderr.fileno()
        data = text.encode(sys.stderr.encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # Another program has set it to that.
                select.select([], [descriptor], [], 1.0)


@contextmanager
def printed(level: str, *, is_json: bool) -> Iterator[None]:
    """Print the log on standard error until the end of the block.

    Args:
        level: One of `LEVELS`: of what the emulator logs. Of other loggers, warnings and errors are printed, or errors.
        is_json: Whether a program is to read it.
    """
    least = logging.getLevelName(level.upper())
    is_coloured = not is_json and has_colours(sys.stderr is not None and sys.stderr.isatty(), os.environ)
    printer = Printer(is_coloured=is_coloured)
    printer.setFormatter(JsonFormatter() if is_json else TextFormatter(has_colours=is_coloured))
    root, emulator = logging.getLogger(), logging.getLogger(_EMULATOR)
    before = root.level, emulator.level
    root.addHandler(printer)
    root.setLevel(max(least, logging.WARNING))
    emulator.setLevel(least)
    try:
        yield
    finally:
        root.removeHandler(printer)
        root.setLevel(before[0])
        emulator.setLevel(before[1])
        printer.close()
