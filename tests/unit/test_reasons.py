"""Reasons as text that can always be sent."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.reasons import REASON_LIMIT, describe_error, program_failed, safe_text
from tests.support.textless import Numbered, Stubborn, Textless


class Text(str):
    """A text that lies about itself."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: Any) -> str:
        raise RuntimeError("no text")

    def encode(self, *arguments: Any) -> bytes:
        raise RuntimeError("no text")


class Misnamed(type):
    """Makes classes that have no name."""

    @property
    def __name__(cls) -> str:
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=Misnamed):
    """An exception of a class without a name."""


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("busy", "busy"),
        ("größer als 2 €, 😀\n", "größer als 2 €, 😀\n"),
        ("caf\udce9.txt", "caf?.txt"),
        ("cut in two: \ud83d", "cut in two: ?"),
        ("x" * 1000, "x" * 1000),
        ("x" * 1001, "x" * 999 + "…"),
        ("😀" * 5_000_000, "😀" * 999 + "…"),
        (Text("busy"), "busy"),
        (None, ""),
        (404, "404"),
        (ValueError("too late"), "too late"),
        (ValueError(), ""),
        (Textless(), "(Textless without a text)"),
        (Numbered(), "(Numbered without a text)"),
        (Stubborn(), "(Stubborn without a text)"),
    ],
    ids=range(15),
)
def test_reason_becomes_a_text_that_can_be_sent(reason: object, text: str) -> None:
    """A good one stays as it is; UTF-8 can encode each."""
    made = safe_text(reason)
    assert (type(made), made) == (str, text)
    assert len(made) <= REASON_LIMIT
    made.encode()


def test_text_without_a_limit_is_cleaned_only() -> None:
    """An error that stays here is not cut."""
    assert safe_text("\udce9" * 5000, None) == "?" * 5000
    assert describe_error(ValueError("x" * 5000), None) == "ValueError: " + "x" * 5000


def test_a_peer_is_told_the_class_of_an_error_and_none_of_its_text() -> None:
    """It may be a secret."""
    assert program_failed(RuntimeError("postgres://admin:hunter2@db")) == "the program failed (RuntimeError)"
    assert program_failed(Nameless("hunter2")) == "the program failed (Nameless)"


def test_ctrl_c_in_a_text_is_no_text() -> None:
    """The person at the terminal means the program."""

    class Slow(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        safe_text(Slow())


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("too late"), "ValueError: too late"),
        (ValueError(), "ValueError: "),
        (KeyError("x" * 2000), "KeyError: '" + "x" * 988 + "…"),
        (Textless(), "Textless: (Textless without a text)"),
        (Nameless("but with a text"), "Nameless: but with a text"),
        (type("caf" * 1000, (Exception,), {})(), "caf" * 333 + "…"),
    ],
    ids=range(6),
)
def test_error_is_described_by_its_class_and_its_text(error: BaseException, text: str) -> None:
    """Together no longer than a reason."""
    assert describe_error(error) == text
