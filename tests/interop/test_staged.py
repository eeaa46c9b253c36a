"""Unchanged official clients among participants without a thread, under latency and faults of the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from simulator import Emulator, faults, latency, participants
from tests.interop.company import Pool
from tests.interop.matrix import each
from tests.interop.peers import OfficialPeer, PeerFailed
from tests.interop.releases import Streams, chosen, find

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]

ALL = each(list(chosen()), "")
WITH_STREAMS = each([kind for kind in chosen() if find(kind).streams is not Streams.NONE], "")
RECONNECTING = each([kind for kind in chosen() if find(kind).reconnects], "")

Start = Callable[[str], OfficialPeer]


@pytest.fixture
def staged() -> Iterator[Emulator]:
    """Return an emulator with delays of some milliseconds, and a bot in the room ``stage``."""
    with Emulator(latency=latency.uniform(0.001, 0.02), seed=7) as emulator:
        emulator.add("stage", participants.Echo("bot"))
        yield emulator


@pytest.fixture
def start(pool: Pool, staged: Emulator, record_property: Callable[[str, object], None]) -> Iterator[Start]:
    """Return a function that has a client of a release take part in the room."""
    started: list[tuple[str, OfficialPeer]] = []

    def start(kind: str) -> OfficialPeer:
        peer = pool.take_official(kind)
        started.append((kind, peer))
        peer.environ = {**pool.environ, **staged.env}
        record_property("release", peer.description)
        peer.do("connect", room="stage", name="ada")
        peer.do("enable")
        peer.do("wait_for_peer", name="bot")
        return peer

    yield start
    for kind, peer in started:
        with suppress(AssertionError, PeerFailed):  # after what was done to it, it may not be able to leave
            pool.give_back(kind, peer)


@pytest.mark.parametrize("kind", ALL)
def test_messages_to_a_participant_come_back_in_order_under_latency(kind: str, start: Start) -> None:
    """With delays that differ, the answers are in the order of the questions."""
    ada = start(kind)
    for number in range(20):
        ada.do("send", to="bot", type="ask", message={"n": number})
    answers = [ada.expect("message")["message"] for _ in range(20)]
    assert answers == [{"n": number} for number in range(20)]


@pytest.mark.parametrize("kind", ALL)
def test_a_partition_holds_messages_back_and_loses_none(kind: str, start: Start, staged: Emulator) -> None:
    """What is sent meanwhile is answered after repair."""
    ada = start(kind)
    staged.plan(faults.partition({"ada"}))
    sending = ada.begin("send", to="bot", type="ask", message={"n": 1})
    staged.plan(faults.quiet(after=0.3))
    ada.finish(sending)
    assert ada.expect("message")["message"] == {"n": 1}


@pytest.mark.parametrize("kind", ALL)
def test_a_request_fails_with_the_error_of_a_fault(kind: str, start: Start, staged: Emulator) -> None:
    """The next one does not."""
    ada = start(kind)
    staged.plan(faults.error_replies("ada", 1234))
    with pytest.raises(PeerFailed):
        ada.do("send", to="bot", type="ask", message={})
    staged.plan(faults.quiet(after=0))
    ada.do("send", to="bot", type="ask", message={"n": 2})
    assert ada.expect("message")["message"] == {"n": 2}


@pytest.mark.parametrize("kind", WITH_STREAMS)
def test_streams_to_a_participant_are_rejected_by_a_fault(kind: str, start: Start, staged: Emulator) -> None:
    """The client is told that, in whatever form it has streams."""
    ada = start(kind)
    staged.plan(faults.reject_streams("bot", "busy"))
    with pytest.raises(PeerFailed, match="busy"):
        ada.do("open_stream", to="bot", header={})


@pytest.mark.parametrize("kind", RECONNECTING)
def test_a_client_comes_back_after_a_reset(kind: str, start: Start, staged: Emulator) -> None:
    """By itself, and the bot answers it again."""
    ada = start(kind)
    staged.plan(faults.reset("ada"))
    ada.expect("disconnected")
    ada.expect("reconnected", timeout=30)
    ada.do("wait_for_peer", name="bot")
    ada.do("send", to="bot", type="ask", message={"n": 3})
    assert ada.expect("message")["message"] == {"n": 3}
