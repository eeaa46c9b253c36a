"""What was refused is counted, and few lines of it are logged."""

from __future__ import annotations

import logging

import pytest

from simulator.emulator.refusals import HttpLog, Refusals


def test_flood_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Of a thousand in a minute one is logged, and the number of the others with the next; each kind has its own."""
    now = 0.0
    refusals = Refusals(lambda: now)
    for _ in range(1000):
        refusals.add("rooms", "rooms are full")
    refusals.add("host", "a strange host")
    now = 60.0
    refusals.add("rooms", "rooms are full")

    assert caplog.messages == [
        "rooms are full",
        "a strange host",
        "rooms are full (999 more since the last line of this kind)",
    ]
    assert refusals.counts == {"rooms": 1001, "host": 1}


def test_lasting_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """As long as it comes back within a minute it is the same trouble."""
    now = 0.0
    refusals = Refusals(lambda: now)
    for _ in range(20):
        refusals.extend("descriptors", "none is left")
        now += 30.0
    assert caplog.messages == ["none is left"]
    now += 31.0
    refusals.extend("descriptors", "none is left")
    assert len(caplog.messages) == 2


def test_reports_of_aiohttp_become_a_line_without_their_text(caplog: pytest.LogCaptureFixture) -> None:
    """No traceback, and nothing of the request: a URL may hold a token."""
    caplog.set_level(logging.INFO)
    refusals = Refusals(lambda: 0.0)
    log = HttpLog(refusals)
    for error in (ValueError("GET /?token=secret"), ConnectionResetError("secret")):
        try:
            raise error
        except (ValueError, OSError):
            log.exception("Error handling request from %s", "127.0.0.1", exc_info=True)

    assert caplog.messages == ["a request was malformed: ValueError", "a connection was lost in its handshake"]
    assert "Traceback" not in caplog.text
    assert refusals.counts == {"malformed": 1, "lost": 1}
