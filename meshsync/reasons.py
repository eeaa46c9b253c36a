"""Reasons as text that can always be sent: of a rejection, a stream's early end, a failure, a close frame.

A reason comes from the program: any value, or an exception with a ``__str__`` of its own. It goes with the last message
of a stream, after which its peer waits for nothing else. So it must not keep that message from going out, and no
function here raises.
"""

from __future__ import annotations

__all__ = ["REASON_LIMIT", "describe_error", "program_failed", "safe_text"]

REASON_LIMIT = 1000
"""The most characters of a reason, the ellipsis of one that was cut included: at most 4 kB of UTF-8, which fits into a
message of every dialect."""


def safe_text(value: object, limit: int | None = REASON_LIMIT) -> str:
    """Return a reason as text that UTF-8 can encode; None is an empty one.

    Half a surrogate pair, as in a file name from ``os.listdir``, becomes ``?``. A value without text, such as an
    exception whose ``__str__`` raises, is described by its class.

    Args:
        limit: The most characters; a longer text ends in an ellipsis. None for no limit.
    """
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else str(value)
        # Methods of str itself: a subclass may have changed them.
        begin = str.__getitem__(text, slice(limit))
        if limit is not None and str.__len__(text) > limit:
            begin = begin[: max(limit - 1, 0)] + "…"[:limit]
        return begin.encode("utf-8", "replace").decode()
    except KeyboardInterrupt:
        raise  # Of the person at the terminal, and not of the text.
    except BaseException:  # Any kind: whatever it is, the reason is not what the program failed of.
        return f"({_class_name(value)} without a text)"


def describe_error(error: BaseException | None, limit: int | None = REASON_LIMIT) -> str:
    """Return the class of an exception and its text, as ``ValueError: too late``; see `safe_text`."""
    return safe_text(f"{_class_name(error)}: {safe_text(error, limit)}", limit)


def program_failed(error: BaseException | None) -> str:
    """Return what a peer is told of an exception of this program: its class alone, since its text may be a secret.

    What a program wants its peers to read it gives as a reason, as to ``writer.abort`` or by `StreamRejected`.
    """
    return f"the program failed ({_class_name(error)})"


def _class_name(value: object) -> str:
    return safe_text(type.__dict__["__name__"].__get__(type(value)))  # A metaclass may have a name of its own.
