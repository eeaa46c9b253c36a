"""One room for all releases at once."""

from __future__ import annotations

import pytest

from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.company import Enter, Pool
from tests.interop.matrix import MESHSYNC
from tests.interop.peers import Peer
from tests.interop.releases import InterpreterMissing, chosen, find

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]


def able(kind: str) -> bool:
    """Return whether this machine can run a release."""
    try:
        return bool(find(kind).ingredients)
    except InterpreterMissing:
        return False


def test_every_release_shares_a_room_with_every_other(pool: Pool, enter: Enter) -> None:
    """All see all, each one's broadcast reaches all with the same fingerprint, and each leaves cleanly.

    In the full form that is ten releases, nine where there is no node, and meshsync.
    """
    kinds = [kind for kind in chosen() if able(kind)]
    pool.start(kinds)
    company = {f"p-{kind}": enter(kind, f"p-{kind}") for kind in [*kinds, MESHSYNC]}
    for peer in company.values():
        peer.do("enable")
    for name, peer in company.items():
        for other in company.keys() - {name}:
            peer.do("wait_for_peer", name=other)
        assert {other["name"] for other in peer.do("roster")["participants"]} == company.keys() - {name}

    for seed, (name, peer) in enumerate(company.items()):
        peer.do("broadcast", type="news", message={"from": name}, size=30_000, seed=seed)
        expected = {"message": {"from": name}, **fingerprint(attachment_of(30_000, seed))}
        for other in others(company, name):
            assert expected.items() <= other.expect("message", type="news").items()

    while company:
        leaver = next(iter(company))
        company.pop(leaver).do("close")
        for other in company.values():
            assert other.expect("participant_removed")["participant"]["name"] == leaver


def others(company: dict[str, Peer], name: str) -> list[Peer]:
    """Return everybody else."""
    return [peer for other, peer in company.items() if other != name]
