"""Which ends are final, and the delays before attempts."""

from __future__ import annotations

import logging
from random import Random

import pytest

from meshsync.connection.failures import client_failed
from meshsync.connection.reconnecting import Backoff, Complaints, is_final
from meshsync.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    Dismissed,
    ProtocolError,
    RoomUnavailable,
    UsageError,
)
from meshsync.runtime.threads import ThreadRuntime


class High(Random):
    """Draws as near to 1 as it gets."""

    def random(self) -> float:
        return 1 - 2**-53


class Low(Random):
    """Draws 0."""

    def random(self) -> float:
        return 0.0


def lost(code: int | None) -> ConnectionLost:
    """Return the end of a connection by a close code."""
    return ConnectionLost("gone", code=code)


def refused(status: int | None) -> ConnectFailed:
    """Return the failure of an attempt by an HTTP status."""
    kind = AuthenticationFailed if status == 401 else ConnectFailed
    return kind("refused", http_status=status)


def untrusted() -> ConnectFailed:
    """Return the failure of an attempt by a bad certificate."""
    error = ConnectFailed("the certificate is not trusted")
    error._is_final = True
    return error


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4000, 4321, 4999])
def test_close_codes_that_are_final(code: int) -> None:
    """The server wants this client to stay away."""
    assert is_final(lost(code), renews_token=True)


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 3000, 5000])
def test_close_codes_that_are_not(code: int | None) -> None:
    """The server, or the way to it, failed for now."""
    assert not is_final(lost(code), renews_token=False)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 407, 410, 423, 426])
def test_statuses_that_are_final(status: int) -> None:
    """Asking again would change nothing, whatever the token."""
    assert is_final(refused(status), renews_token=True)


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 502, 503, 504, 599])
def test_statuses_that_are_not(status: int | None) -> None:
    """The server cannot serve the room now."""
    assert not is_final(refused(status), renews_token=False)


def test_rejected_token_is_final_unless_the_next_is_a_new_one() -> None:
    """A function given as ``token=`` makes one for each attempt."""
    assert is_final(refused(401), renews_token=False)
    assert not is_final(refused(401), renews_token=True)


@pytest.mark.parametrize("error", [Dismissed("go"), ProtocolError("nonsense"), client_failed("a bug"), untrusted()])
def test_ends_that_are_final_whatever_their_code(error: Exception) -> None:
    """Another connection would meet them again."""
    assert is_final(error, renews_token=True)


@pytest.mark.parametrize(
    "error", [RoomUnavailable("refused"), ConnectTimeout("late"), ValueError("the vault"), UsageError("no text")]
)
def test_failures_that_are_not(error: Exception) -> None:
    """Of the network, or of the program's ``token`` function."""
    assert not is_final(error, renews_token=False)


def test_delays_double_up_to_the_longest_and_begin_again() -> None:
    """Drawn from 0 to a bound: here the highest."""
    backoff = Backoff(High())
    delays = [round(backoff.next_delay(), 6) for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.restart()
    assert round(backoff.next_delay(), 6) == 0.5


def test_after_a_cut_the_bound_is_a_lower_one() -> None:
    """The server is there; a connection that was refused tells nothing of the kind."""
    cut = RoomUnavailable("closed during the handshake")
    cut._was_cut = True
    backoff = Backoff(High())
    for _ in range(7):
        backoff.next_delay(RoomUnavailable("refused"))
    assert [round(backoff.next_delay(error), 6) for error in (cut, cut, RoomUnavailable("refused"))] == [1, 1, 2]


def test_no_delay_is_shorter_than_the_least() -> None:
    """A drawn 0 does not make a loop that hammers at the server."""
    assert [Backoff(Low()).next_delay() for _ in range(3)] == [0.1, 0.1, 0.1]


def test_delay_is_as_long_as_the_server_asks() -> None:
    """``Retry-After`` beats a shorter draw, and not a longer one."""
    asked = RoomUnavailable("busy", http_status=503, retry_after=7.0)
    assert Backoff(Low()).next_delay(asked) == 7
    assert Backoff(Low()).next_delay(RoomUnavailable("busy", retry_after=10**8)) == 3600
    backoff = Backoff(High())
    for _ in range(8):
        backoff.next_delay()
    assert backoff.next_delay(asked) > 29


class Clock(ThreadRuntime):
    """A runtime whose time is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_warnings_come_at_the_first_failure_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each tells who is offline, which attempt failed and why."""
    clock = Clock()
    complaints = Complaints(clock, "alice in demo")
    with caplog.at_level(logging.WARNING, "meshsync"):
        for clock.now in (0.0, 1.0, 59.0, 61.0, 62.0, 125.0):
            complaints.attempt_failed(RoomUnavailable("cannot reach it"), 2.0)
    assert caplog.messages == [
        f"alice in demo is offline: attempt {n} to reconnect failed, the next one follows in 2.0 s: cannot reach it"
        for n in (1, 4, 6)
    ]
