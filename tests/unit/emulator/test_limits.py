"""Limits of an emulator: which make sense, and what follows from the descriptors of the process."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import UsageError
from meshsync.protocol.packets import MAX_MESSAGE_SIZE
from simulator.emulator.limits import Limits, parse_size


@pytest.mark.parametrize(
    "given",
    [
        {"connections": 0},
        {"rooms": -1},
        {"participants": 1.5},
        {"message": MAX_MESSAGE_SIZE + 1},
        {"rate": 0},
        {"joins": 0.0},
        {"handshake": -1},
        {"keep_alive": float("nan")},
        {"waiting": True},
        {"memory": "1GiB"},
        {"queue": None},
    ],
    ids=lambda given: next(iter(given)),
)
def test_limit_that_makes_no_sense_is_refused_by_name(given: dict[str, Any]) -> None:
    """The error begins with the field."""
    with pytest.raises(UsageError, match=f"^{next(iter(given))}: "):
        Limits(**given)


def test_connections_leave_descriptors_for_the_rest() -> None:
    """Of 256 descriptors 32 are left for other things; a number that is given counts as it is."""
    assert Limits().connections_of(256) == 224
    assert Limits(connections=5).connections_of(256) == 5
    assert Limits().connections_of(None) is None
    assert Limits().connections_of(10) == 1


@pytest.mark.parametrize(
    ("descriptors", "seated", "most"), [(None, 5000, 128), (1024, 0, 128), (256, 0, 112), (256, 200, 12), (256, 224, 4)]
)
def test_newcomers_get_half_of_what_is_left(descriptors: int | None, seated: int, most: int) -> None:
    """(256 - 32 - seated) / 2, no more than the limit, and never so few that nobody comes in."""
    assert Limits().waiting_of(descriptors, seated) == most
    assert Limits(waiting=2).waiting_of(descriptors, seated) == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1GiB", 1 << 30),
        ("64 KiB", 65536),
        ("1.5MB", 1_500_000),
        ("64k", 64_000),
        ("2gb", 2_000_000_000),
    ],
)
def test_size_is_read_in_any_unit(text: str, size: int) -> None:
    """With an i in powers of 1024, else of 1000; in any case of letters."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1 XB", "5ib", "1e9", "1GiBs"])
def test_text_that_is_no_size_is_refused(text: str) -> None:
    """The error shows how one is written."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
