"""How connections end: texts, codes and reasons, one place for the real and the simulated transport."""

from __future__ import annotations

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol.frames import CloseFrame
from meshsync.transport.endings import (
    CLOSED_HERE,
    MOVES,
    Ending,
    Life,
    broke,
    closed_by_peer,
    closed_here,
    protocol_broken,
)


def test_every_life_has_a_row_and_the_last_one_is_empty() -> None:
    """The table names every state, and nothing follows the end."""
    assert set(MOVES) == set(Life)
    assert [life for life, following in MOVES.items() if not following] == [Life.ENDED]


@pytest.mark.parametrize(
    ("ending", "text", "code", "reason", "clean"),
    [
        (CLOSED_HERE, "the connection was closed on this side", None, "closed on this side", False),
        (broke(ConnectionResetError(104, "reset")), "the connection broke: reset", None, "reset", False),
        (broke(OSError()), "the connection broke: OSError", None, "OSError", False),
        (
            closed_here(CloseFrame(1000, "bye"), clean=True),
            "the connection was closed on this side",
            1000,
            "bye",
            True,
        ),
        (
            closed_by_peer(CloseFrame(1001, "restarting")),
            "the peer closed the connection (1001: restarting)",
            1001,
            "restarting",
            False,
        ),
        (
            closed_by_peer(CloseFrame(None, ""), clean=True),
            "the peer closed the connection (no code)",
            None,
            "",
            True,
        ),
        (protocol_broken(ProtocolError("too large", code=1009)), "too large", 1009, "too large", False),
    ],
)
def test_a_loss_tells_how_the_connection_ended(
    ending: Ending, text: str, code: int | None, reason: str, clean: bool
) -> None:
    """Text, code, reason and cleanness come from the ending, and every caller gets an error of its own."""
    loss = ending.loss()
    assert (str(loss), loss.code, loss.reason, loss.clean) == (text, code, reason, clean)
    assert ending.loss() is not loss
