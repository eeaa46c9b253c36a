"""The confirmed messages that a participant without a thread gets. It sends none, and so begins no proof by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from meshsync.confirming.bodies import ATTRIBUTE, OWN_PREFIX
from meshsync.confirming.exchange import Arrival, Exchange
from meshsync.confirming.proofs import Proven
from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.protocol.operations import Push, Request, Send

__all__ = ["ConfirmedMessages", "visible"]


class Attending(Protocol):
    """A participant in its room, as its confirmed messages need it."""

    @property
    def is_here(self) -> bool: ...
    def now(self) -> float: ...
    def issue(self, request: Request, size: int) -> None: ...
    def attributes_of(self, id: str) -> Mapping[str, Any]: ...
    def confirmed(self, arrival: Arrival) -> None: ...
    def replaced(self, id: str) -> None: ...
    def look_at(self, when: float, look: Callable[[], None]) -> None: ...


class ConfirmedMessages:
    """The exchange of one participant.

    Args:
        entropy: Returns so many bytes.
    """

    def __init__(self, attending: Attending, entropy: Callable[[int], bytes]) -> None:
        self._attending = attending
        self._exchange = Exchange(entropy)

    def attribute(self, *, resumes: bool) -> JsonObject:
        """Return the value of the participant's own attribute.

        Args:
            resumes: Whether its streams outlive losses.
        """
        own = self._exchange.attribute
        return own if resumes else {name: value for name, value in own.items() if name != "resume"}

    def connect(self, own_id: str) -> None:
        """Begin a stay under that participant id."""
        self._exchange.connect(own_id)

    def disconnect(self) -> None:
        """End a stay."""
        self._exchange.disconnect()

    def leave(self, id: str) -> None:
        """Note that a peer has left."""
        self._exchange.leave(id)

    def take(self, push: Push) -> bool:
        """Take a message, and return whether it was one of this package's own."""
        if not push.type.startswith(OWN_PREFIX):
            return False
        exchange, attending = self._exchange, self._attending
        # Only those that send any are entered: a thousand participants need not know a thousand each.
        exchange.enter(attending.now(), push.sender, attending.attributes_of(push.sender))
        try:
            exchange.take(attending.now(), push.sender, push.type, push.message, bytes(push.attachment))
        except ProtocolError:
            return True  # As a client drops it.
        for event in exchange.take_events():
            if isinstance(event, Proven) and event.replaced is not None:
                attending.replaced(event.replaced)
        while (arrival := exchange.first) is not None:
            exchange.place()
            self._send()  # Before the participant gets it, which may leave then.
            attending.confirmed(arrival)
        self._send()
        return True

    def _send(self) -> None:
        for direct in self._exchange.drain() if self._attending.is_here else ():
            size = len(encode_object(direct.message, direct.type, forwarded=True))
            self._attending.issue(Send(direct.to, direct.type, direct.message), size)
        if self._exchange.deadline is not None:
            self._attending.look_at(self._exchange.deadline, self._look)

    def _look(self) -> None:
        self._exchange.look(self._attending.now())
        self._send()


def visible(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return attributes as participants see them: without this package's own."""
    if ATTRIBUTE not in attributes:
        return attributes
    return {name: value for name, value in attributes.items() if name != ATTRIBUTE}
