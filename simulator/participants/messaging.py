"""Ready-made participants without a thread that send messages: in answer, repeatedly, or by a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from simulator.latency import Law, as_law
from simulator.participants.participant import Participant
from simulator.participants.peers import Message, Question

__all__ = ["Chatter", "Echo", "Scripted"]


class Echo(Participant):
    """Answers every message to its sender with the same type, body and attachment, and so every question.

    Args:
        delay: From a message to the answer, in seconds or as a law.
    """

    def __init__(
        self, name: str, delay: float | Law = 0.0, role: str = "agent", *, returns_after: float | Law | None = None
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        self.delay: Law = as_law(delay)

    def on_message(self, message: Message) -> None:
        """Answer, after the delay."""
        answer = (message.sender, message.type, message.message, message.attachment)
        self.after(self.delay, lambda: self.send(*answer))

    def on_request(self, question: Question) -> None:
        """Answer, after the delay."""
        self.after(self.delay, lambda: question.reply(question.message, question.attachment))


class Chatter(Participant):
    """Sends messages repeatedly, to all or to one participant.

    Args:
        interval: Between two messages, in seconds or as a law.
        to: The recipient's name; None broadcasts. While no participant has that name, nothing is sent.
        limit: The number of messages; None for no limit.
    Raises:
        ValueError: If ``limit`` is None and the interval's median is 0 seconds.
    """

    def __init__(
        self,
        name: str,
        interval: float | Law = 1.0,
        *,
        to: str | None = None,
        type: str = "chat",
        limit: int | None = None,
        role: str = "user",
        returns_after: float | Law | None = None,
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        self.interval: Law = as_law(interval)
        if limit is None and not self.interval.quantile(0.5) > 0:
            raise ValueError("with an interval of 0 seconds it would send for ever without the clock moving")
        self.to = to
        self.type = type
        self.limit = limit
        self.said: int = 0

    def on_start(self) -> None:
        """Begin, after one interval."""
        self._go_on()

    def _go_on(self) -> None:
        if self.limit is None or self.said < self.limit:
            self.after(self.interval, self._speak)

    def _speak(self) -> None:
        peer = None if self.to is None else self.peer(self.to)
        body = {"number": self.said + 1}
        if self.to is None:
            self.broadcast(self.type, body)
            self.said += 1
        elif peer is not None:
            self.send(peer, self.type, body)
            self.said += 1
        self._go_on()


class Scripted(Participant):
    """Does its steps one after the other.

    Args:
        steps: Pairs of a pause in seconds and the function called after it with this participant.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[tuple[float, Callable[[Scripted], object]]],
        role: str = "user",
        *,
        returns_after: float | Law | None = None,
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        self.steps: tuple[tuple[float, Callable[[Scripted], object]], ...] = tuple(steps)
        self.received: list[Message] = []
        """All messages so far."""

    def on_start(self) -> None:
        """Begin the first step's pause."""
        self._next(iter(self.steps))

    def _next(self, remaining: Iterator[tuple[float, Callable[[Scripted], object]]]) -> None:
        step = next(remaining, None)
        if step is None:
            return
        pause, action = step

        def act() -> None:
            action(self)
            if self.is_here:  # The step may have been to leave.
                self._next(remaining)

        self.after(pause, act)

    def on_message(self, message: Message) -> None:
        """Append it to ``received``."""
        self.received.append(message)
