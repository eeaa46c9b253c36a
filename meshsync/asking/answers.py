"""The answers to one question that many were asked, as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from types import TracebackType
from typing import Any, Generic, TypeVar

from meshsync.asking.asking import Asking
from meshsync.asking.pending import Pending
from meshsync.errors import InvalidMessage, MeshsyncError
from meshsync.hints import Hinted
from meshsync.messages import RoomMessage
from meshsync.participants import RemoteParticipant
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Condition

__all__ = ["Answers"]

_has_news = attrgetter("has_news")

A_co = TypeVar("A_co", covariant=True)


class Answers(Hinted, Generic[A_co]):
    """An iterator of answers, in order of arrival; made by ``ask_all``.

    It ends when all that were asked have answered or cannot, when ``n`` have answered, or when the time is over. A_co
    context manager, or ``close``, ends it before; what comes then is dropped and counted.
    """

    def __init__(
        self,
        asking: Asking,
        pending: dict[RemoteParticipant, Pending],
        not_asked: tuple[RemoteParticipant, ...],
        condition: Condition,
        deadline: Deadline,
        limit: float | None,
        n: int | None,
        decode: Callable[[RoomMessage], Any],
        refuse_to_block: Callable[[str], None],
    ) -> None:
        self._asking = asking
        self._pending = pending
        self._not_asked = not_asked
        self._condition = condition
        self._deadline = deadline
        self._limit = limit
        self._left = len(pending) if n is None else n
        self._decode = decode
        self._refuse_to_block = refuse_to_block
        self._asked = tuple(pending)
        self._failures: dict[RemoteParticipant, MeshsyncError] = {}

    @property
    def asked(self) -> tuple[RemoteParticipant, ...]:
        """Those that were asked, in order of their arrival in the room."""
        return self._asked

    @property
    def not_asked(self) -> tuple[RemoteParticipant, ...]:
        """Those that are no clients of this package, where neither ``reply_type`` nor ``match`` tells their answers."""
        return self._not_asked

    @property
    def failures(self) -> dict[RemoteParticipant, MeshsyncError]:
        """Why those that cannot answer cannot, so far; at the end of the time `ReceiveTimeout` for the rest."""
        return dict(self._failures)

    def __iter__(self) -> Iterator[A_co]:
        return self

    def __next__(self) -> A_co:
        """Return the next answer.

        Raises:
            ConnectionLost: If the client has ended; `ClientClosed` if the program closed it.
        """
        while self._left > 0 and self._pending:
            for participant, pending in list(self._pending.items()):
                result = pending.poll()
                if result is None:
                    continue
                self._finish(participant)
                error: MeshsyncError
                if isinstance(result, RoomMessage):
                    try:
                        answer: A_co = self._decode(result)
                    except InvalidMessage as wrong:
                        self._failures[participant] = wrong
                        continue
                    self._left -= 1
                    if not self._left:
                        self.close()
                    return answer
                error = self._asking.explained(pending, result, self._deadline, self._limit)
                if not error.connection_alive:
                    self.close()
                    raise error
                self._failures[participant] = error
            if self._pending and not self._wait():
                for participant, pending in list(self._pending.items()):
                    self._failures[participant] = self._asking.late(pending, self._limit)
                    self._finish(participant)
        self.close()
        raise StopIteration

    def _wait(self) -> bool:
        self._refuse_to_block("waiting for an answer")
        waiting = list(self._pending.values())
        with self._condition:
            return self._condition.wait_for(lambda: any(map(_has_news, waiting)), self._deadline.left())

    def _finish(self, participant: RemoteParticipant) -> None:
        self._asking.finish(self._pending.pop(participant))

    def close(self) -> None:
        """Take no more answers. Later calls do nothing."""
        for participant in list(self._pending):
            self._finish(participant)

    def __enter__(self) -> Answers[A_co]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
