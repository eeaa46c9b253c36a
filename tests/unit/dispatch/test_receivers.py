"""What ``on`` and ``on_message`` register: in order, by event and type, and undone one by one or all at once."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest

from meshsync.dispatch.receivers import Receiver, Receivers, check_type
from meshsync.messages import RoomMessage, RoomMessageEvent


def event(name: str = "message", type: str = "chat") -> RoomMessageEvent:
    """Return an event."""
    return RoomMessageEvent(name, RoomMessage(type, {}))


def called(receivers: Receivers, of: RoomMessageEvent) -> list[Receiver]:
    """Return the receivers of an event."""
    return [registration.receiver for registration in receivers.matching(of)]


def first(event: RoomMessageEvent) -> None:
    """Receive."""


def second(event: RoomMessageEvent) -> None:
    """Receive too."""


@pytest.fixture
def receivers() -> Receivers:
    """Return receivers with none."""
    return Receivers()


def test_receivers_come_in_order_of_registering(receivers: Receivers) -> None:
    """And not in that of calling them."""
    for receiver in (second, first):
        receivers.add("message", receiver)
    assert called(receivers, event()) == [second, first]


class Bot:
    """Something with a method that receives."""

    def receive(self, event: RoomMessageEvent) -> None:
        """Receive."""


def test_receiver_that_is_registered_again_is_called_once(receivers: Receivers) -> None:
    """Also a method, which is another object each time; both registrations are one."""
    bot = Bot()
    registrations = [
        receivers.add("message", receiver, "chat") for receiver in (first, first, bot.receive, bot.receive)
    ]
    assert registrations[0] is registrations[1]
    assert called(receivers, event()) == [first, bot.receive]
    registrations[0].cancel()
    receivers.off("message", bot.receive)
    assert receivers.is_empty


def receiver_of(name: str) -> Receiver:
    """Return another function of that name each time, as a cell of a notebook does that is run again."""

    def receive(event: RoomMessageEvent) -> None:
        """Receive."""

    receive.__qualname__ = name
    return receive


def test_an_earlier_definition_that_is_called_too_is_told_in_an_interactive_session(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a cell is run again; not if the name or the type is another, nor of lambdas, nor in a program."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, type in (("show", "chat"), ("show", "chat"), ("<lambda>", "chat"), ("again", None)):
            receivers.add("message", receiver_of(name), type)
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
        for name, type in (("show", "news"), ("other", "chat"), ("<lambda>", "chat")):
            receivers.add("message", receiver_of(name), type)
    with pytest.warns(
        RuntimeWarning, match=r"of .*\.show is registered for messages of type 'chat' and is called, too"
    ):
        receivers.add("message", receiver_of("show"), "chat")
    with pytest.warns(RuntimeWarning, match=r"of .*\.again is registered for 'message' .* off\('message'\) before"):
        receivers.add("message", receiver_of("again"))


def test_receiver_of_several_types_gets_each(receivers: Receivers) -> None:
    """Only for the same type is it the same registration."""
    for type in ("chat", "news", "chat"):
        receivers.add("message", first, type)
    assert [called(receivers, event(type=type)) for type in ("chat", "news", "other")] == [[first], [first], []]


def test_receiver_of_a_type_gets_only_that(receivers: Receivers) -> None:
    """Receivers of all messages and of one type keep their common order."""
    receivers.add("message", first, "chat")
    receivers.add("message", second)
    assert called(receivers, event(type="chat")) == [first, second]
    assert called(receivers, event(type="other")) == [second]


def test_message_named_like_an_event_is_only_a_message(receivers: Receivers) -> None:
    """A peer that sends the type ``disconnected`` fires no receiver of that event, nor the other way round."""
    receivers.add("disconnected", first)
    receivers.add("message", second, "disconnected")
    assert called(receivers, event("message", "disconnected")) == [second]
    assert called(receivers, event("disconnected", "disconnected")) == [first]


def test_cancelled_registration_is_called_no_more(receivers: Receivers) -> None:
    """Cancelling takes out that one registration, and again does nothing, nor to one that was made since."""
    registration = receivers.add("message", first)
    receivers.add("message", second)
    registration.cancel()
    receivers.add("message", first)
    registration.cancel()
    assert called(receivers, event()) == [second, first]


def test_receiver_cancelled_by_one_before_it_is_not_called(receivers: Receivers) -> None:
    """Cancelling holds for the event that is being told, too."""
    receivers.add("message", first)
    later = receivers.add("message", second)
    called: list[Any] = []
    for receiver in (registration.receiver for registration in receivers.matching(event())):
        called.append(receiver)
        later.cancel()
    assert called == [first]


def test_receiver_registered_meanwhile_waits_for_the_next_event(receivers: Receivers) -> None:
    """One that registers others does not run for ever."""
    receivers.add("message", first)
    called = []
    for receiver in (registration.receiver for registration in receivers.matching(event())):
        called.append(receiver)
        receivers.add("message", second)
    assert called == [first]


def test_removing_takes_out_what_matches(receivers: Receivers) -> None:
    """By receiver, or all of an event; other events are left alone."""
    receivers.add("message", first)
    receivers.add("message", second, "chat")
    receivers.add("disconnected", first)
    receivers.remove(lambda registration: registration.receiver is second, "message")
    assert called(receivers, event()) == [first]
    receivers.remove(lambda registration: True, "message")
    assert called(receivers, event()) == []
    assert called(receivers, event("disconnected")) == [first]


def test_unknown_event_is_refused_with_the_list_of_events(receivers: Receivers) -> None:
    """A misspelled event is noticed at once, by ``add`` and by ``remove``."""
    with pytest.raises(ValueError, match=r"no event 'mesage'; there are message, .*, messages_dropped"):
        receivers.add("mesage", first)
    with pytest.raises(ValueError, match="no event 'mesage'"):
        receivers.remove(lambda registration: True, "mesage")


def test_what_could_never_receive_is_refused(receivers: Receivers) -> None:
    """Neither what cannot be called nor what would have to be awaited."""

    async def asynchronous(event: RoomMessageEvent) -> None: ...

    with pytest.raises(TypeError, match="7 cannot be called"):
        receivers.add("message", 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="coroutine function"):
        receivers.add("message", asynchronous)


def test_registration_says_what_it_is(receivers: Receivers) -> None:
    """Event, type and receiver, and not its owner."""
    registration = receivers.add("message", first, "chat")
    assert (registration.event, registration.type, registration.receiver) == ("message", "chat", first)
    assert "_owner" not in repr(registration)


@pytest.mark.parametrize("type", [first, ["chat"], 5, b"chat", None])
def test_type_that_no_message_has_is_refused(type: Any) -> None:
    """A message's type is a text, and never a function that a bare decorator was given."""
    with pytest.raises(TypeError, match="the type of a message is a str, not"):
        check_type(type)


@pytest.mark.parametrize("name", [first, ["message"], None])
def test_name_of_an_event_that_is_no_text_is_refused(receivers: Receivers, name: Any) -> None:
    """Also one that could not be looked up at all."""
    with pytest.raises(TypeError, match="the name of an event is a str, not"):
        receivers.add(name, first)
