"""Progress: a function, a bar, or nobody."""

from __future__ import annotations

import io
import sys
from types import ModuleType
from typing import Any

import pytest

from meshsync.errors import UsageError
from meshsync.files.progress import reporting


def test_a_function_is_called_with_what_is_done_and_all_there_is() -> None:
    """As it was given."""
    told: list[tuple[int, int | None]] = []
    with reporting(lambda *numbers: told.append(numbers), "x") as report:
        report(1, 2)
        report(3, None)
    assert told == [(1, 2), (3, None)]


def test_a_function_that_nothing_would_await_is_refused() -> None:
    """When it is given, or when it turns out to be a wrapper of one."""

    async def later(*numbers: object) -> None: ...

    with pytest.raises(TypeError, match="coroutine function"), reporting(later, "x"):
        pass
    with reporting(lambda done, total: later(done), "x") as report, pytest.raises(TypeError, match="'coroutine'"):
        report(1, 2)


def test_nobody_need_be_told() -> None:
    """Which is how it is unless asked."""
    with reporting(False, "x") as report:
        assert report(1, 2) is None


def test_a_bar_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional package that is missing is the program's to install."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(UsageError, match=r"pip install 'meshsync-client\[files\]'"):
        with reporting(True, "x"):
            pass


class RecordingBar:
    """What of ``tqdm`` is used."""

    made: list[RecordingBar]

    def __init__(self, **options: Any) -> None:
        self.options, self.total, self.n = options, None, 0
        self.is_closed = False
        self.made.append(self)

    def update(self, n: int) -> None:
        self.n += n

    def __enter__(self) -> RecordingBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.is_closed = True


def test_a_bar_is_fed_and_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts bytes done anew, not what was added, and starts no thread that watches it."""
    RecordingBar.made = []
    module = ModuleType("tqdm")
    module.tqdm = RecordingBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", module)
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    with pytest.raises(KeyError):
        with reporting(True, "digits.txt") as report:
            report(0, 10)
            report(4, 10)
            report(10, 10)
            raise KeyError
    (bar,) = RecordingBar.made
    assert (bar.n, bar.total, bar.is_closed) == (10, 10, True)
    assert bar.options["desc"] == "digits.txt"
    assert bar.monitor_interval == 0  # type: ignore[attr-defined]


def test_the_real_bar_shows_name_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package that the extra installs."""
    tqdm = pytest.importorskip("tqdm")
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with reporting(True, "digits.txt") as report:
        report(0, 2048)
        report(2048, 2048)
    assert "digits.txt: 100%" in screen.getvalue()
    assert "2.00k/2.00k" in screen.getvalue()
    assert tqdm.tqdm.monitor is None


@pytest.mark.parametrize("screen", [None, "closed"])
def test_a_bar_that_nobody_can_see_fails_nothing(monkeypatch: pytest.MonkeyPatch, screen: str | None) -> None:
    """As where a program has no standard error, or closed it."""
    pytest.importorskip("tqdm")
    there = io.StringIO()
    there.close()
    monkeypatch.setattr(sys, "stderr", None if screen is None else there)
    reported = []
    with reporting(True, "digits.txt") as report:
        for done in (0, 1024, 2048):
            report(done, 2048)
            reported.append(done)
    assert reported == [0, 1024, 2048]
