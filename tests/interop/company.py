"""Who takes part in a test: peers by their kind, which is a release or meshsync, over one emulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from simulator import Emulator
from tests.interop.matrix import IN_A, OURS
from tests.interop.meshsync_peer import MeshsyncPeer
from tests.interop.peers import OfficialPeer, Peer, PeerFailed
from tests.interop.releases import InterpreterMissing, find

__all__ = ["Enter", "Meet", "Pool", "enter", "meet", "pool", "served"]

Meet = Callable[..., tuple[Peer, Peer]]
Enter = Callable[..., Peer]

AT_ONCE = 4
"""How many processes are started at a time."""


class Pool:
    """Processes of official releases that wait for the next test; starting one takes seconds."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.idle: dict[str, list[OfficialPeer]] = {}

    def start(self, kinds: Iterable[str]) -> None:
        """Have a process of each of these kinds wait, started side by side; of those that can run here."""

        def start(kind: str) -> None:
            with suppress(InterpreterMissing):  # whoever takes one is told
                self.idle[kind] = [OfficialPeer(find(kind))]

        with ThreadPoolExecutor(AT_ONCE) as workers:
            list(workers.map(start, (kind for kind in kinds if kind not in OURS and not self.idle.get(kind))))

    def take(self, kind: str) -> Peer:
        """Return a peer that is in no room; the test skips if there can be none of that kind here."""
        if kind in OURS:
            return MeshsyncPeer(dialect="A" if kind == IN_A else "B")
        return self.take_official(kind)

    def take_official(self, kind: str) -> OfficialPeer:
        """Return a peer of a release."""
        try:
            peer = self.idle[kind].pop() if self.idle.get(kind) else OfficialPeer(find(kind))
        except InterpreterMissing as missing:
            pytest.skip(str(missing))
        peer.environ = self.environ
        return peer

    def give_back(self, kind: str, peer: Peer) -> None:
        """Take a peer out of its room and keep it if it can be used again."""
        if not isinstance(peer, OfficialPeer):
            peer.end()
        elif not (peer.is_running and peer.is_idle):
            peer.kill()
        else:
            try:
                peer.do("close", timeout=30)
            except (AssertionError, PeerFailed):
                peer.kill()
                raise
            peer.forget()
            self.idle.setdefault(kind, []).append(peer)

    def end(self) -> None:
        """End every process."""
        for peer in itertools.chain.from_iterable(self.idle.values()):
            peer.end()


@pytest.fixture(scope="session")
def served() -> Iterator[Emulator]:
    """Serve rooms for all tests with official releases."""
    with Emulator(port=0) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def pool(served: Emulator) -> Iterator[Pool]:
    """Keep the processes from test to test."""
    pool = Pool(dict(served.env))
    yield pool
    pool.end()


_rooms = itertools.count(1)


@pytest.fixture
def enter(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> Iterator[Enter]:
    """Return a function that connects a peer, by kind and name, to this test's own room unless another is named."""
    for variable, value in pool.environ.items():
        monkeypatch.setenv(variable, value)
    room = f"lab-{next(_rooms)}"
    entered: list[tuple[str, Peer]] = []

    def enter(kind: str, name: str, **arguments: Any) -> Peer:
        peer = pool.take(kind)
        if isinstance(peer, OfficialPeer):
            record_property("release", peer.description)
        entered.append((kind, peer))
        peer.own = peer.do("connect", **{"room": room, "name": name, **arguments})["participant"]
        return peer

    yield enter
    for kind, peer in entered:
        pool.give_back(kind, peer)


@pytest.fixture
def meet(enter: Enter) -> Meet:
    """Return a function that lets ada and bob enter and see each other."""

    def meet(first: str, second: str) -> tuple[Peer, Peer]:
        ada, bob = enter(first, "ada"), enter(second, "bob")
        ada.do("enable")
        bob.do("enable")
        ada.do("wait_for_peer", name="bob")
        bob.do("wait_for_peer", name="ada")
        return ada, bob

    return meet
