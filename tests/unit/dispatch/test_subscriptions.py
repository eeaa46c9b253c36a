"""Subscriptions: what matches, in order, until the end; and what happens when nobody reads."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.dispatch.subscriptions import Subscription
from meshsync.errors import ClientClosed, ConnectionLost, NotEnabled, ReceiveTimeout, UsageError, WouldDeadlock
from meshsync.messages import RoomMessage
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE

RUNTIME = ThreadRuntime()


class Owner:
    """Makes subscriptions, and notes those that closed."""

    def __init__(self) -> None:
        self.closed: list[Subscription] = []
        self.refusal: Exception | None = None

    def refuse(self, what: str) -> None:
        if self.refusal is not None:
            raise self.refusal

    def make(self, **options: Any) -> Subscription:
        """Return a subscription with the defaults of `MessagingClient.messages`."""
        defaults: dict[str, Any] = {"type": None, "sender": None, "timeout": 0, "maxsize": 1000, "overflow": "error"}
        return Subscription(RUNTIME, refuse_to_block=self.refuse, on_close=self.closed.append, **(defaults | options))


@pytest.fixture
def owner() -> Owner:
    """Return what makes subscriptions."""
    return Owner()


def chat(number: int = 0, type: str = "chat", sender: str = "p-2") -> RoomMessage:
    """Return a message."""
    return RoomMessage(type, {"number": number}, b"", sender)


def numbers(subscription: Subscription) -> list[int]:
    """Read it to its end or time limit."""
    return [message.message["number"] for message in subscription]


def test_messages_come_in_order_and_can_be_counted_before(owner: Owner) -> None:
    """``pending`` is how many wait to be read."""
    subscription = owner.make()
    for number in range(3):
        subscription._offer(chat(number))
    assert subscription.pending == 3
    assert numbers(subscription) == [0, 1, 2]
    assert subscription.pending == 0


def test_only_what_matches_type_and_sender_is_taken(owner: Owner) -> None:
    """Both have to fit, and None fits all."""
    both, by_type, all = owner.make(type="chat", sender="p-2"), owner.make(type="chat"), owner.make()
    offered = [chat(0), chat(1, type="other"), chat(2, sender="p-3"), chat(3)]
    for message in offered:
        for subscription in (both, by_type, all):
            subscription._offer(message)
    assert numbers(both) == [0, 3]
    assert numbers(by_type) == [0, 2, 3]
    assert numbers(all) == [0, 1, 2, 3]


def test_nothing_in_time_says_what_was_awaited(owner: Owner) -> None:
    """``get`` raises, safe to repeat; the text names type, sender and limit."""
    with pytest.raises(ReceiveTimeout, match=r"^no message came within 0 s$") as info:
        owner.make().get(0)
    assert (info.value.retryable, info.value.connection_alive) == (True, True)
    with pytest.raises(ReceiveTimeout, match=r"^no message of type 'chat' from p-2 came within 0 s$"):
        owner.make(type="chat", sender="p-2").get(0)


def test_time_limit_ends_the_loop_and_a_second_loop_goes_on(owner: Owner) -> None:
    """A ``for`` over a quiet subscription ends; what comes later can be read by another."""
    subscription = owner.make(timeout=0)
    assert numbers(subscription) == []
    subscription._offer(chat(1))
    assert numbers(subscription) == [1]


def test_own_limit_of_get_beats_the_subscriptions(owner: Owner) -> None:
    """A subscription without a limit can be polled."""
    with pytest.raises(ReceiveTimeout):
        owner.make(timeout=None).get(timeout=0)
    with pytest.raises(ReceiveTimeout):
        owner.make(timeout=0).get()


def test_waiting_reader_gets_what_is_offered(owner: Owner) -> None:
    """Somebody blocked with no limit is woken."""
    subscription, got = owner.make(timeout=None), list[RoomMessage]()
    reader = RUNTIME.spawn(lambda: got.append(subscription.get()), name="reads")
    subscription._offer(chat(7))
    assert reader.join(PATIENCE)
    assert got == [chat(7)]


def test_loss_comes_after_what_was_there(owner: Owner) -> None:
    """At the end of the connection the rest is read, then the loss is raised, each time anew; loops raise it too."""
    subscription = owner.make()
    subscription._offer(chat(1))
    subscription._end(ConnectionLost("gone", code=1006))
    subscription._offer(chat(2))
    assert subscription.get().message == {"number": 1}
    raised = []
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="gone") as info:
            subscription.get()
        raised.append(info.value)
    assert raised[0] is not raised[1]
    assert raised[1].code == 1006
    with pytest.raises(ConnectionLost):
        numbers(subscription)


def test_closing_the_client_ends_the_loop(owner: Owner) -> None:
    """After ``close()`` a loop ends without an error, and ``get`` says why there is nothing."""
    subscription = owner.make()
    subscription._offer(chat(1))
    subscription._end(ClientClosed("the client was closed by this program"))
    assert numbers(subscription) == [1]
    with pytest.raises(ClientClosed):
        subscription.get()


def test_closed_subscription_can_be_read_to_its_end(owner: Owner) -> None:
    """Closing tells the owner; the client lives, so the error afterwards is not that of a closed client."""
    with owner.make() as subscription:
        subscription._offer(chat(1))
    subscription._offer(chat(2))
    assert owner.closed == [subscription]
    assert numbers(subscription) == [1]
    with pytest.raises(UsageError, match=r"this subscription was closed: subscribe again with messages\(\)") as info:
        subscription.get()
    assert info.value.connection_alive


def test_overflow_ends_the_subscription_after_what_fitted(owner: Owner) -> None:
    """With 2 places the third message ends it: loudly, with what to do, and leaving the client."""
    subscription = owner.make(maxsize=2)
    for number in range(4):
        subscription._offer(chat(number))
    assert owner.closed == [subscription]
    assert [subscription.get().message["number"] for _ in range(2)] == [0, 1]
    with pytest.raises(UsageError, match="2 messages of this subscription were unread when another came: read faster"):
        subscription.get()
    assert subscription.dropped == 0


def test_dropping_keeps_the_newest_and_counts(owner: Owner) -> None:
    """With 2 places and 5 messages, 3 are dropped and it goes on."""
    subscription = owner.make(maxsize=2, overflow="drop_oldest")
    for number in range(5):
        subscription._offer(chat(number))
    assert subscription.dropped == 3
    assert numbers(subscription) == [3, 4]
    assert owner.closed == []


def test_refused_to_wait_still_reads_what_is_there(owner: Owner) -> None:
    """Where waiting would never end, only waiting is refused."""
    owner.refusal = WouldDeadlock("no")
    subscription = owner.make()
    subscription._offer(chat(1))
    assert subscription.get(None).message == {"number": 1}
    with pytest.raises(WouldDeadlock):
        subscription.get(None)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overflow": "drop"}, "overflow is 'error' or 'drop_oldest', not 'drop'"),
        ({"maxsize": 0}, "maxsize is at least 1, not 0"),
    ],
)
def test_senseless_options_are_refused(owner: Owner, options: dict[str, Any], text: str) -> None:
    """The text says what can be given."""
    with pytest.raises(ValueError, match=text):
        owner.make(**options)


def test_what_ends_just_behind_the_look_is_noticed(owner: Owner) -> None:
    """Between the look whether a message can come and the wait for it: the wait would be for ever."""
    looked: list[str] = []

    def refuse(what: str) -> None:
        looked.append(what)
        if len(looked) > 1:
            raise NotEnabled("messaging is not enabled")
        subscription._look_again()  # As when another task disables it, behind the look.

    subscription = owner.make(timeout=None, refuse_in_vain=refuse)
    with pytest.raises(NotEnabled):
        subscription.get(PATIENCE)
    assert looked == ["waiting for a message"] * 2
