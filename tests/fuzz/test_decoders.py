"""Every decoder on what fuzzing begins with and some hundreds of changes of it, the same in every run.

``tox -e fuzz`` goes on where this ends, guided by coverage. An input that failed once is a named test below.
"""

from __future__ import annotations

import pytest

from tests.fuzz.corpus import corpus, mutants
from tests.fuzz.targets import TARGETS

MUTANTS = 300
"""Inputs bred for each target."""


@pytest.mark.parametrize("name", TARGETS)
def test_decoders_raise_only_what_they_say(name: str) -> None:
    """A corpus and its mutants meet the documented errors alone, and the target's promises."""
    target = TARGETS[name]
    for data in corpus(name):
        target(data)
    for number, data in mutants(name, MUTANTS):
        try:
            target(data)
        except Exception as error:
            error.args = (f"mutant {number} of {name}, {data!r:.2000}: {error}", *error.args[1:])
            raise
