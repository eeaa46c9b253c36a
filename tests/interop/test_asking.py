"""Questions to published SDK releases, unchanged, and from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import meshsync
from meshsync import RequestInterrupted, RequestRefused, RoomMessageEvent, UsageError
from simulator import Emulator
from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.company import Enter
from tests.interop.releases import chosen

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]  # the first test of a release may install it

RELEASES = chosen()
PATIENCE = 30.0


@pytest.mark.parametrize("release", RELEASES)
def test_an_official_client_is_asked_by_an_ordinary_message(release: str, enter: Enter, served: Emulator) -> None:
    """It gets what it always gets; a message of its own that matches is the answer; when it leaves there is none."""
    room = f"asked-{release}"
    bob = enter(release, "bob", room=room)
    bob.do("enable")
    with (
        meshsync.connect(room, url=served.url, token=served.token(room, "ada"), default_timeout=PATIENCE) as ada,
        ThreadPoolExecutor(1) as threads,
    ):
        ada.messaging.enable()
        peer = ada.messaging.wait_for_participant(name="bob")
        bob.do("wait_for_peer", name="ada")
        with pytest.raises(UsageError, match="'bob' is no client of this package"):
            ada.messaging.ask(peer, "ask", {"n": 1})

        def ask(**options: Any) -> Any:
            data = attachment_of(3000, 1)
            return threads.submit(ada.messaging.ask, peer, "ask", {"n": 1}, data, **options)

        asked = ask(reply_type="reply")
        told = bob.expect("message", type="ask")
        assert {"message": {"n": 1}, **fingerprint(attachment_of(3000, 1))}.items() <= told.items()
        bob.do("send", to="ada", type="other", message={})
        bob.do("send", to="ada", type="reply", message={"n": 2}, size=5000, seed=2)
        answer = asked.result(PATIENCE)
        assert (answer.type, answer.message, answer.sender) == ("reply", {"n": 2}, peer)
        assert answer.attachment == attachment_of(5000, 2)

        asked = ask(match=lambda message: message.message.get("right"))
        bob.expect("message", type="ask")
        for right in (False, True):
            bob.do("send", to="ada", type="reply", message={"right": right})
        assert asked.result(PATIENCE).message == {"right": True}

        asked = ask(reply_type="reply")
        bob.expect("message", type="ask")
        bob.do("close")
        with pytest.raises(RequestInterrupted, match="'bob' left before it answered the question 'ask'"):
            asked.result(PATIENCE)


@pytest.mark.parametrize("release", RELEASES)
def test_an_official_client_asks_a_handler_by_ordinary_messages(release: str, enter: Enter, served: Emulator) -> None:
    """Which says by what type it answers; clients of ours in the same room get answers of their own kind."""
    room = f"asking-{release}"
    with (
        meshsync.connect(room, url=served.url, token=served.token(room, "bot"), default_timeout=PATIENCE) as bot,
        meshsync.connect(room, url=served.url, token=served.token(room, "ada"), default_timeout=PATIENCE) as ada,
    ):

        @bot.messaging.on_request("double", reply_type="doubled")
        def double(event: RoomMessageEvent) -> tuple[dict[str, Any], bytes]:
            return {"n": 2 * event.message.message["n"]}, event.message.attachment

        bot.messaging.enable()
        ada.messaging.enable()
        bob = enter(release, "bob", room=room)
        bob.do("enable")
        bob.do("wait_for_peer", name="bot")
        bob.do("send", to="bot", type="double", message={"n": 4}, size=3000, seed=3)
        told = bob.expect("message", type="doubled")
        assert {"message": {"n": 8}, **fingerprint(attachment_of(3000, 3))}.items() <= told.items()
        peer = ada.messaging.wait_for_participant(name="bot")
        assert ada.messaging.ask(peer, "double", {"n": 5}).message == {"n": 10}
        with pytest.raises(RequestRefused):
            ada.messaging.ask(peer, "triple", {"n": 5})
        answers = list(ada.messaging.ask_all("double", {"n": 1}, timeout=PATIENCE))
        assert [answer.message for answer in answers] == [{"n": 2}]
        assert not bob.has("message")
