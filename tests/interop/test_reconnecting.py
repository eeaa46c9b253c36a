"""Releases that come back by themselves when their TCP connection has been cut."""

from __future__ import annotations

import pytest

from simulator import Emulator
from tests.interop.company import Meet
from tests.interop.matrix import MESHSYNC, each
from tests.interop.releases import chosen, find

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]


@pytest.mark.parametrize("kind", each([kind for kind in chosen() if find(kind).reconnects], ""))
def test_a_peer_whose_connection_was_cut_comes_back_and_goes_on(kind: str, meet: Meet, served: Emulator) -> None:
    """It is gone for the others, then there again with its attributes, under a new id, and both can send."""
    ada, bob = meet(MESHSYNC, kind)
    bob.do("set_attribute", name="mood", value="calm")
    before = ada.expect("participant_attributes_updated")["participant"]

    served.drop("bob")

    assert ada.expect("participant_removed")["participant"]["id"] == before["id"]
    bob.expect("disconnected")
    bob.expect("reconnected", timeout=30)
    after = ada.do("wait_for_peer", name="bob")["participant"]
    assert after["id"] != before["id"]
    bob.do("wait_for_peer", name="ada")
    ada.do("send", to="bob", type="chat", message={"text": "there you are"})
    assert bob.expect("message")["message"] == {"text": "there you are"}
    bob.do("send", to="ada", type="chat", message={"text": "here I am"})
    heard = ada.expect("message")
    assert (heard["message"], heard["sender"]) == ({"text": "here I am"}, after["id"])
    (now,) = ada.do("roster")["participants"]
    assert now["attributes"] == before["attributes"]
