"""Leaving parts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from simulator.exploring.shrinking import shrink

Attempt = Callable[[Sequence[int]], Sequence[int] | None]


def counting(matters: Callable[[Sequence[int]], bool]) -> tuple[Attempt, list[int]]:
    """Return an attempt that keeps what matters, and the list of the sizes it was tried with."""
    sizes: list[int] = []

    def attempt(kept: Sequence[int]) -> Sequence[int] | None:
        sizes.append(len(kept))
        return kept if matters(kept) else None

    return attempt, sizes


@pytest.mark.parametrize("needed", [set(), {0}, {99}, {50}, {3, 97}, {10, 11, 12}, set(range(0, 100, 9))])
def test_what_matters_is_what_is_left(needed):
    """Whatever it is, and wherever it stands."""
    attempt, _ = counting(lambda kept: needed <= set(kept))
    assert shrink(range(100), attempt) == sorted(needed)


def test_few_attempts_are_made_for_few_parts():
    """Two parts of 1000 take tens of attempts, not hundreds."""
    attempt, sizes = counting(lambda kept: {123, 877} <= set(kept))
    assert shrink(range(1000), attempt) == [123, 877]
    assert len(sizes) < 60


def test_nothing_more_can_be_left_out_alone():
    """Also where parts replace each other: an even number of them matters."""
    attempt, _ = counting(lambda kept: len(kept) % 2 == 0 and len(kept) >= 4)
    left = shrink(range(31 + 1), attempt)
    assert len(left) == 4


def test_part_that_is_freed_by_another_goes_too():
    """Number n can go when all above it are gone; and then everything but 0 goes, whatever the pieces were."""
    attempt, _ = counting(lambda kept: 0 in kept and list(kept) == list(range(len(kept))))
    assert shrink(range(20), attempt) == [0]


def test_what_was_not_made_use_of_goes_without_an_attempt():
    """The attempt tells what it needed of what it was given."""
    assert shrink(range(8), lambda kept: [5] if 5 in kept else None) == [5]


def test_nothing_is_tried_for_nothing():
    """No parts, no attempts."""
    attempt, sizes = counting(lambda kept: True)
    assert (shrink([], attempt), sizes) == ([], [])
