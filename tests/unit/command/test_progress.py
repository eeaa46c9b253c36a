"""Bars on a terminal alone, and for what takes longer than a second."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from meshsync.cli import progress
from meshsync.cli.progress import Transfers, bars


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def follow(transfers: Transfers, shares: list[int]) -> None:
    """Report these percentages of a file of 1000 bytes."""
    with bars() as shown, transfers.following("re\x1bport", shown) as report:
        for share in shares:
            report(10 * share, 1000)


def show(monkeypatch: pytest.MonkeyPatch, *, has_rich: bool, step: float) -> str:
    """Return what a terminal shows of a transfer; the clock moves by ``step`` seconds each time that it is read."""
    if not has_rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    ticks = itertools.count(0.5)
    monkeypatch.setattr(progress, "monotonic", lambda: next(ticks) * step)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        follow(Transfers(), [0, 40, 100])
    return terminal.getvalue()


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, has_rich: bool) -> None:
    """A bar with rich, lines without; a name cannot move the cursor."""
    shown = show(monkeypatch, has_rich=has_rich, step=1.0)
    assert "re\\x1bport" in shown
    assert "re\x1bport" not in shown
    if not has_rich:
        assert shown.splitlines() == ["re\\x1bport: 0 %", "re\\x1bport: 40 %", "re\\x1bport: 100 %"]


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a second."""
    assert show(monkeypatch, has_rich=False, step=0.1) == ""


def test_elsewhere_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of a service is no place for bars."""
    with bars() as shown:
        assert shown is None
    follow(Transfers(), [0, 50])
    assert capsys.readouterr() == ("", "")


def test_what_has_not_ended_is_told() -> None:
    """For Ctrl-C: each transfer that was begun and did not end, also if it failed; bytes where no size is known."""
    transfers = Transfers()
    with pytest.raises(KeyboardInterrupt), transfers.following("a.bin", None) as report:
        report(400, 1000)
        raise KeyboardInterrupt
    with transfers.following("b.bin", None) as report:
        report(1000, 1000)
    with transfers.following("c\x07", None) as report:
        report(7, None)
        assert transfers.unfinished() == ["a.bin at 40 %", "c\\x07 at 7 bytes"]
