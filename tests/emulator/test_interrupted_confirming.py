"""Ctrl-C at each place of a call that has something confirmed: the next one works, and nothing is handled twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

import pytest

from meshsync import MeshsyncError, RemoteParticipant, RoomClient, RoomMessageEvent, UsageError
from tests.support.interrupts import CtrlC
from tests.support.rooms import Ears, Join, start

PATIENCE = 20.0
"""The longest wait for what is due, in seconds."""
MOST = 3000
"""Places."""

Call = Callable[[RoomClient, RemoteParticipant, int], object]


class InConfirming(CtrlC):
    """Strikes where messages are confirmed, questions asked and answered, alone: all else has tests of its own."""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if "confirm" in frame.f_code.co_filename or "asking" in frame.f_code.co_filename:
            super().__call__(frame, event, argument)


def sweep(call: Callable[[], object]) -> Iterator[None]:
    """Call again and again, interrupted at the first place, the second …; yield after each."""
    for place in range(1, MOST):
        was_interrupted = InConfirming(place).run(call)
        yield
        if not was_interrupted:
            assert place > 10, "it has no places"
            return
    raise AssertionError("it has no end")


def send(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Send one message."""
    ada.messaging.send_message(ben, "work", {"n": n}, confirm=True, timeout=PATIENCE)


def hand_over(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Hand two messages over, and wait for neither."""
    for type in ("work", "more work"):
        ada.messaging.send_message_nowait(ben, type, {"n": n}, confirm=True, timeout=PATIENCE)


def ask(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Ask a question."""
    ada.messaging.ask(ben, "question", {"n": n}, timeout=PATIENCE)


def ask_all(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Ask everybody a question."""
    list(ada.messaging.ask_all("question", {"n": n}, n=1, timeout=PATIENCE))


def give_up(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Ask a question, and wait for no answer."""
    with suppress(MeshsyncError):
        ada.messaging.ask(ben, "question", {"n": n}, timeout=0)


def disable(ada: RoomClient, ben: RemoteParticipant, n: int) -> None:
    """Take part no more, with something under way."""
    ada.messaging.send_message_nowait(ben, "work", {"n": n}, confirm=True, timeout=PATIENCE)
    ada.messaging.disable()


class Listener:
    """A client that keeps what it gets, and answers questions."""

    def __init__(self, room: RoomClient) -> None:
        self.handled: list[tuple[str, str, int]] = []
        for type in ("work", "more work", "still here"):
            room.messaging.on_message(type, self.note)
        room.messaging.on_request("question", self.note)

    def note(self, event: RoomMessageEvent) -> None:
        """Keep it."""
        message = event.message
        self.handled.append((message.from_participant_id, message.type, message.message["n"]))

    def check_once(self) -> None:
        """Check that nothing came twice."""
        assert len(self.handled) == len(set(self.handled))


def meet(ada: RoomClient) -> RemoteParticipant:
    """Return the recipient, as it is known now."""
    ada.messaging.enable()
    return ada.messaging.wait_for_participant(name="ben", timeout=PATIENCE)


@pytest.mark.parametrize("call", [ask, disable])
def test_after_ctrl_c_at_each_place_a_stranger_is_reached(join: Join, call: Call) -> None:
    """The first message of all has its recipient prove itself; none is handled twice."""
    listener = Listener(join("ben"))
    pair: list[Any] = []

    def begin() -> None:
        ada = join("ada")
        pair[:] = ada, meet(ada)

    begin()
    for _ in sweep(lambda: call(*pair, 1)):
        ada = pair[0]
        send(ada, meet(ada), 2)
        ada.close()
        begin()
    listener.check_once()


@pytest.mark.parametrize("call", [send, hand_over, ask, ask_all, give_up, disable])
def test_after_ctrl_c_at_each_place_the_next_message_is_confirmed(join: Join, call: Call) -> None:
    """To a recipient that has proven itself before; none is handled twice."""
    listener = Listener(join("ben"))
    ada, numbers = join("ada"), count()
    send(ada, meet(ada), next(numbers))
    for _ in sweep(lambda: call(ada, meet(ada), next(numbers))):
        send(ada, meet(ada), next(numbers))
    listener.check_once()


def test_an_answer_that_ctrl_c_cut_short_can_be_given_again(join: Join) -> None:
    """The asker gets one, and waits for none."""
    ada, ben = join("ada"), join("ben")
    to_ada = ben.messaging.wait_for_participant(name="ada", timeout=PATIENCE)
    questions = Ears()
    ada.messaging.on_message("question", questions)
    for place in range(1, MOST):
        answer = start(ben.messaging.ask, to_ada, "question", {"n": place}, timeout=PATIENCE)
        question = questions.next()
        reply = partial(question.reply, {"n": place})
        was_interrupted = InConfirming(place).run(reply)
        if not was_interrupted:
            break
        with suppress(UsageError):  # It had gone out.
            reply()
        assert answer.result(PATIENCE).message == {"n": place}
    assert 10 < place < MOST - 1
