"""The tree of errors: who descends from whom, what each says to do, and that all of them can travel."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from meshsync import errors
from meshsync.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    DeliveryUnknown,
    Dismissed,
    ForkedClientError,
    InvalidMessage,
    MeshsyncError,
    NotEnabled,
    NotSent,
    ParticipantNotFound,
    PermissionDenied,
    ProtocolError,
    ReceiveTimeout,
    Refuse,
    RequestError,
    RequestFailed,
    RequestInterrupted,
    RequestRefused,
    RoomError,
    RoomNotFound,
    RoomUnavailable,
    SendTimeout,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)

# class, its bases, retryable, connection_alive
TREE: list[tuple[type[MeshsyncError], tuple[type, ...], bool, bool]] = [
    (MeshsyncError, (Exception,), False, True),
    (UsageError, (MeshsyncError,), False, True),
    (InvalidMessage, (UsageError, ValueError), False, True),
    (NotEnabled, (UsageError,), False, True),
    (WouldDeadlock, (UsageError,), False, True),
    (ClientClosed, (UsageError,), False, False),
    (ForkedClientError, (UsageError,), False, False),
    (ConnectFailed, (MeshsyncError,), False, False),
    (AuthenticationFailed, (ConnectFailed,), False, False),
    (PermissionDenied, (ConnectFailed,), False, False),
    (RoomNotFound, (ConnectFailed,), False, False),
    (RoomUnavailable, (ConnectFailed,), True, False),
    (ConnectTimeout, (ConnectFailed, TimeoutError), True, False),
    (ConnectionLost, (MeshsyncError,), False, False),
    (NotSent, (ConnectionLost,), True, False),
    (DeliveryUnknown, (ConnectionLost,), False, False),
    (Dismissed, (ConnectionLost,), False, False),
    (RoomError, (MeshsyncError,), False, True),
    (ParticipantNotFound, (RoomError,), False, True),
    (StreamError, (MeshsyncError,), False, True),
    (StreamRejected, (StreamError,), False, True),
    (StreamInterrupted, (StreamError,), False, True),
    (StreamCancelled, (StreamError,), False, True),
    (StreamTimeout, (StreamError, TimeoutError), False, True),
    (RequestError, (MeshsyncError,), False, True),
    (RequestRefused, (RequestError,), False, True),
    (RequestFailed, (RequestError,), False, True),
    (RequestInterrupted, (RequestError,), False, True),
    (Refuse, (MeshsyncError,), False, True),
    (SendTimeout, (MeshsyncError, TimeoutError), False, True),
    (ReceiveTimeout, (MeshsyncError, TimeoutError), True, True),
    (ProtocolError, (MeshsyncError,), False, False),
]

CLASSES = [row[0] for row in TREE]

# Every error with arguments of its own, all of them given, none of them a default.
DETAILED = [
    ConnectFailed("no", http_status=418),
    AuthenticationFailed("no", http_status=401),
    ConnectTimeout("late", http_status=200),
    ConnectionLost("gone", code=1006, reason="reset", clean=True, http_status=101),
    NotSent("gone", code=1001, reason="going", clean=True, http_status=101),
    DeliveryUnknown("gone", code=1011, reason="why", clean=True, http_status=101),
    RoomError("refused", 1001),
    ParticipantNotFound("nobody", code=1003),
    SendTimeout("late", retryable=True),
    RequestFailed("failed", id="1f2e3d4c"),
    ProtocolError("wrong", code=1009),
]


@pytest.mark.parametrize(("cls", "bases"), [row[:2] for row in TREE], ids=lambda value: getattr(value, "__name__", ""))
def test_tree_is_as_designed(cls: type, bases: tuple[type, ...]) -> None:
    """Each class descends from exactly the classes that the design names."""
    assert cls.__bases__ == bases


def test_tree_is_complete() -> None:
    """The module defines and exports the classes of the design, and no other."""
    defined = {value for value in vars(errors).values() if isinstance(value, type)}
    assert defined == set(CLASSES)
    assert sorted(errors.__all__) == sorted(cls.__name__ for cls in CLASSES)
    assert len(errors.__all__) == len(set(errors.__all__))


@pytest.mark.parametrize("cls", CLASSES)
def test_tree_is_drawn_atop_the_module(cls: type) -> None:
    """The drawing in the module's docstring shows every class, below its own first base."""
    drawing = (errors.__doc__ or "").split("::")[1].splitlines()
    depths = {line.strip("│ ├└─").split()[0]: len(line) - len(line.lstrip("│ ├└─")) for line in drawing if line.strip()}
    assert cls is MeshsyncError or depths[cls.__name__] > depths[cls.__bases__[0].__name__]


@pytest.mark.parametrize(("cls", "retryable", "alive"), [(row[0], row[2], row[3]) for row in TREE])
def test_instance_says_what_to_do(cls: type[MeshsyncError], retryable: bool, alive: bool) -> None:
    """An instance made of a text alone carries the advice of its class."""
    error = cls("what happened")
    assert (error.retryable, error.connection_alive) == (retryable, alive)
    assert str(error) == "what happened"


def test_timeouts_are_caught_as_the_builtin() -> None:
    """The four time-outs, and nothing else, are the builtin TimeoutError."""
    timeouts = {cls for cls in CLASSES if issubclass(cls, TimeoutError)}
    assert timeouts == {ConnectTimeout, SendTimeout, ReceiveTimeout, StreamTimeout}


def test_timeout_carries_no_number_of_the_operating_system() -> None:
    """A time-out is an OSError without an errno, and shows its text alone."""
    error = ConnectTimeout("not within 3 s", http_status=101)
    assert (error.errno, error.strerror, str(error)) == (None, None, "not within 3 s")


def test_send_timeout_before_anything_left_is_retryable() -> None:
    """A send that had not been handed to the connection may be repeated; its class's default stays."""
    assert SendTimeout("late", retryable=True).retryable is True
    assert SendTimeout.retryable is False


def test_details_default_to_unknown() -> None:
    """An error made of a text alone knows no codes and no status."""
    lost = ConnectionLost("gone")
    assert (lost.code, lost.reason, lost.clean, lost.http_status) == (None, "", False, None)
    assert ConnectFailed("no").http_status is None
    assert RoomError("refused").code is None
    assert ProtocolError("wrong").code == 1002


def test_details_are_kept() -> None:
    """An error knows what it was told."""
    lost = ConnectionLost("gone", code=1006, reason="reset", clean=True, http_status=101)
    assert (lost.code, lost.reason, lost.clean, lost.http_status) == (1006, "reset", True, 101)
    assert ConnectTimeout("late", http_status=200).http_status == 200
    assert [RoomError("refused", 1001).code, ParticipantNotFound("nobody", code=1003).code] == [1001, 1003]
    assert ProtocolError("wrong", code=1009).code == 1009


@pytest.mark.parametrize(
    "travel",
    [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle-{protocol}" for protocol in range(6))],
)
@pytest.mark.parametrize("error", [*DETAILED, *(cls("text") for cls in CLASSES)], ids=repr)
def test_error_survives_travel(error: MeshsyncError, travel: Callable[[MeshsyncError], MeshsyncError]) -> None:
    """An error that crosses the border of a process, or is copied, keeps its class, its text and its details."""
    error.remark = "added by a program"  # type: ignore[attr-defined]
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))
    assert (arrived.retryable, arrived.connection_alive) == (error.retryable, error.connection_alive)


def test_details_are_not_part_of_the_text() -> None:
    """What a traceback shows is the text, whatever else is known."""
    assert [str(error) for error in DETAILED[:4]] == ["no", "no", "late", "gone"]
