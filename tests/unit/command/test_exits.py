"""Exit codes: each error of the tree has the one that the documentation gives it."""

from __future__ import annotations

import pytest

import meshsync
from meshsync import errors
from meshsync.cli.exits import ExitCode, Interrupted, Unfinished, exit_code
from meshsync.protocol.content import ErrorCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.InvalidMessage("x"), 2),
        (errors.ConnectFailed("x"), 3),
        (errors.RoomNotFound("x"), 3),
        (errors.RoomUnavailable("x"), 3),
        (errors.ConnectTimeout("x"), 5),
        (errors.AuthenticationFailed("x"), 4),
        (errors.PermissionDenied("x"), 4),
        (errors.ConnectionLost("x"), 3),
        (errors.Dismissed("x"), 3),
        (errors.ProtocolError("x"), 3),
        (errors.NotSent("x"), 1),
        (errors.DeliveryUnknown("x"), 1),
        (errors.RoomError("x"), 1),
        (errors.RoomError("x", ErrorCode.PERMISSION_DENIED), 4),
        (errors.ParticipantNotFound("x"), 1),
        (errors.StreamRejected("x"), 1),
        (errors.StreamInterrupted("x"), 1),
        (errors.StreamTimeout("x"), 5),
        (errors.SendTimeout("x"), 5),
        (errors.ReceiveTimeout("x"), 5),
        (errors.RequestRefused("x"), 1),
        (errors.RequestFailed("x"), 1),
        (errors.RequestInterrupted("x"), 1),
        (FileNotFoundError(2, "No such file"), 1),
        (KeyboardInterrupt(), 130),
        (Interrupted(), 143),
        (Unfinished(7), 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_has_its_code(error: BaseException, code: int) -> None:
    """By who erred: the room, the arguments, the network, the token, the clock."""
    assert exit_code(error) == code


def test_every_error_that_can_be_raised_has_a_code_of_the_table() -> None:
    """A new error gets one by its ancestors."""
    kinds = [getattr(meshsync, name) for name in errors.__all__]
    made = [kind.__new__(kind) for kind in kinds]
    for error in made:
        error.code = None
    assert {exit_code(error) for error in made} <= set(ExitCode)
    assert len(made) > 25
