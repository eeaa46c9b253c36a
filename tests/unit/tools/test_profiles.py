"""The profile of Hypothesis under which every property is tested: it has no deadline, and no module sets one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.profiles import choose, examples, is_longer_than_usual, is_shorter_than_usual

TESTS = Path(__file__).parents[2]
PROFILE = TESTS / "support" / "profiles.py"
"""The only module that may say what a profile is."""


@pytest.fixture
def loaded() -> Iterator[None]:
    """Put the profile of this session back after a test that loads others."""
    before = settings.default
    yield
    settings.register_profile("before", before)
    settings.load_profile("before")


def own_settings(source: str) -> list[int]:
    """Return the lines of a module that set a deadline for its examples, or make or load a profile."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in {"register_profile", "load_profile"}
        or (
            ast.unparse(call.func).rpartition(".")[2] in {"settings", "examples"}
            and any(argument.arg in {"deadline", None} for argument in call.keywords)
        )
    ]


def test_no_example_has_a_deadline() -> None:
    """Neither running an example nor making its data is timed, in whatever profile was loaded."""
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    stricter = examples(300, suppress=[HealthCheck.function_scoped_fixture])
    assert stricter.deadline is None
    assert HealthCheck.too_slow in stricter.suppress_health_check


def test_no_module_sets_a_deadline_or_a_profile_of_its_own() -> None:
    """There is one place for that, so a new module has no deadline without doing anything."""
    found = {
        f"{path.relative_to(TESTS)}:{line}"
        for path in TESTS.rglob("*.py")
        if path not in {PROFILE, Path(__file__)}
        for line in own_settings(path.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "line", ["@settings(deadline=200)\ndef test(): ...", "X = settings(max_examples=3, deadline=None)"]
)
def test_a_deadline_of_a_module_is_found(line: str) -> None:
    """As a decorator or as a value, whatever it is set to."""
    assert own_settings(line) == [1]


def test_profiles_are_chosen_by_name_and_multiply_every_count(loaded: None) -> None:
    """Under CI the examples are always the same; ``fuzz`` tries 20 times as many, and new ones, also there.

    ``brief`` tries a quarter of them.
    """
    for environ, count, is_fixed in (
        ({}, 300, False),
        ({"CI": "true"}, 300, True),
        ({"CI": "true", "HYPOTHESIS_PROFILE": "fuzz"}, 6000, False),
        ({"CI": "true", "HYPOTHESIS_PROFILE": "brief"}, 75, True),
    ):
        choose(environ)
        assert (examples(300).max_examples, settings.default.derandomize) == (count, is_fixed)
        assert (settings.default.deadline, settings.default.print_blob) == (None, True)
        assert (is_shorter_than_usual(), is_longer_than_usual()) == (count < 300, count > 300)
