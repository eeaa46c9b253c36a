"""What a notebook shows: tables whose texts are escaped, and tracebacks of the reader's own lines."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import meshsync
from meshsync.errors import MeshsyncError, UsageError
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import RemoteParticipant
from meshsync.tracebacks import without_library
from simulator import Simulation, explore

HOSTILE = "<script>alert(1)</script>"


def test_texts_of_peers_are_escaped() -> None:
    """Names, types, keys and values alike."""
    peer = RemoteParticipant("p-1", HOSTILE, {"name": HOSTILE, HOSTILE: HOSTILE})
    message = RoomMessage(HOSTILE, {HOSTILE: HOSTILE, "nested": [HOSTILE]}, b"12", "p-1", peer)
    error = UsageError(HOSTILE)
    for shown in (peer, message, RoomMessageEvent("message", message, peer, error=error)):
        text = shown._repr_html_()
        assert "<script" not in text
        assert text.count("&lt;script") >= 4


def test_a_long_text_is_cut() -> None:
    """A message of megabytes would fill the notebook."""
    assert len(RoomMessage("chat", {"text": "x" * 1_000_000})._repr_html_()) < 10_000


def test_a_room_shows_who_is_there() -> None:
    """Before messaging is enabled, it says so."""
    with Simulation(seed=1) as sim:
        with meshsync.connect("lab", name="ada") as ada, meshsync.connect("lab", name="bob", role="agent") as bob:
            assert "messaging is not enabled" in ada._repr_html_()
            for room in (ada, bob):
                room.messaging.enable()
            ada.messaging.wait_for_participant(name="bob")
            bob.local_participant.set_attribute("mood", "calm")
            sim.run(1)
            text = ada._repr_html_()
            assert "ada (user) in lab: online" in text
            assert "bob" in text and "agent" in text and "calm" in text
            assert "packets_sent" in ada.stats()._repr_html_()
            assert "ada, bob" in sim._repr_html_()
        assert "ada (user) in lab: closed" in ada._repr_html_()


def test_a_failing_run_shows_its_report() -> None:
    """And the table of each room."""

    def program(sim: Simulation) -> None:
        with meshsync.connect("lab", name="ada"):
            raise ValueError("no & never")

    failure = explore(program, [0], save=None)
    assert failure is not None
    assert "no &amp; never" in failure._repr_html_()
    assert "<table>" in failure._repr_html_()
    assert "no &amp; never" in failure.run._repr_html_()


def test_a_traceback_has_the_readers_frames_alone() -> None:
    """Those of this package are left out, unless there are no others."""
    with pytest.raises(TypeError) as caught:
        meshsync.spawn(None)  # type: ignore[arg-type]
    whole = caught.value.__traceback__
    assert whole is not None and whole.tb_next is not None
    shown = without_library(whole)
    assert shown is not None and shown.tb_next is None
    assert shown.tb_frame.f_code.co_name == "test_a_traceback_has_the_readers_frames_alone"
    assert without_library(whole.tb_next) is whole.tb_next
    assert without_library(None) is None


def test_ipython_is_given_a_short_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the error for it."""
    seen: list[Any] = []

    def structured_traceback(kind: type, error: BaseException, trace: Any, tb_offset: int) -> list[str]:
        seen.append(trace)
        return [f"{kind.__name__}: {error}"]

    shell = SimpleNamespace(InteractiveTB=SimpleNamespace(structured_traceback=structured_traceback))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with Simulation(seed=1), pytest.raises(MeshsyncError) as caught:
        meshsync.connect("lab", name="")
    assert caught.value._render_traceback_() == [f"UsageError: {caught.value}"]
    assert seen[0].tb_next is None


@pytest.mark.parametrize("is_interactive", [True, False])
def test_a_cell_that_is_run_again_names_the_older_client(
    is_interactive: bool, monkeypatch: pytest.MonkeyPatch, emulator: Any, recwarn: pytest.WarningsRecorder
) -> None:
    """Where it goes on, since it has a receiver; in a script it is taken for intended."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    if not is_interactive:
        monkeypatch.delattr(sys, "ps1")
    for has_receiver in (True, False):
        with meshsync.connect("lab", name="ada") as older, meshsync.connect("lab", name="bob"):
            if has_receiver:
                older.messaging.on_message("chat", print)
            with meshsync.connect("lab", name="ada"):
                pass
    with meshsync.connect("lab", name="ada"):
        pass
    texts = [str(one.message) for one in recwarn if one.category is RuntimeWarning]
    assert len(texts) == is_interactive
    assert all("an older client named 'ada' is in room 'lab', connected at " in text for text in texts)
    assert all(f"{__file__}:" in text for text in texts)


def test_a_namesake_in_a_room_of_another_server_is_none(
    monkeypatch: pytest.MonkeyPatch, emulator: Any, recwarn: pytest.WarningsRecorder
) -> None:
    """Peers find each in its own room, though both rooms have one name."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    older = emulator.connect("lab", "bob")
    older.messaging.on_message("chat", print)
    with type(emulator)() as another:
        another.connect("lab", "bob")
        assert [str(one.message) for one in recwarn if one.category is RuntimeWarning] == []
        another.connect("lab", "bob").messaging.on_message("chat", print)
        another.connect("lab", "bob")
    assert len([one for one in recwarn if "an older client named 'bob'" in str(one.message)]) == 1
