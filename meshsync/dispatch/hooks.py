"""One call of the hook that a subclass puts before the program: of a message, changed or dropped."""

from __future__ import annotations

from collections.abc import Callable

from meshsync.dispatch.gate import Gate
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.runtime.interfaces import TaskExit
from meshsync.signals import check_result

__all__ = ["Hook", "pass_through"]

Hook = Callable[[RoomMessage], "RoomMessage | None"]


def pass_through(
    hook: Hook, event: RoomMessageEvent, gate: Gate, report: Callable[[str, Hook, BaseException], None]
) -> RoomMessageEvent | None:
    """Return the event of a message as the hook leaves it, or None for none.

    Args:
        gate: Lets the call begin.
        report: Called with what it raises.
    """
    if not gate.enter(hook):
        return None
    try:
        message = hook(event.message)
        check_result(message)
        if not (message is None or isinstance(message, RoomMessage)):
            raise TypeError(f"a hook returns a RoomMessage or None, not {message!r:.100}")
    except TaskExit:
        raise
    except BaseException as error:  # An error of any kind has no caller to go to.
        report("message", hook, error)
        return None
    finally:
        gate.leave()
    return None if message is None else event._with(message)
