"""Which participant of the moment is which client, proven by a secret that the two exchanged. Sans-I/O.

An attribute with a client's instance is public, so it is a mere claim. Two clients exchange halves of a secret by
direct messages when one first wants something confirmed, and from then on each participant id that makes the same claim
is challenged: it answers with a keyed hash over both instances, both participant ids and a nonce of each side, so that
an answer is good for one route alone, in one direction (PROTOCOL.md, section 13).

The first exchange is believed, since there is nothing to hold against it; the claim's name, which the room shows, is
all that tells claims of one instance apart then. An exchanged secret holds when an answer under it was verified, and
then nothing replaces it: two clients that lost it, which takes an attack on their first exchange, stay unproven.

Not the business of this module: what may go to a proven peer.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from meshsync.confirming.bodies import KEY_SIZE, Hello, Identity, Proof
from meshsync.runtime.lifecycle import move

__all__ = ["KNOWN", "Proofs", "Proven"]

FIRST_REPEAT, LAST_REPEAT = 5.0, 60.0
"""Seconds after which a challenge that has no answer is repeated: at first, and at most; it doubles in between.

No connection loses one, but a room may refuse it.
"""
KNOWN = 4096
"""The most identities remembered; beyond it those are forgotten that are absent and for whom nothing waits."""
_TENTATIVE = 4
"""The most secrets of one identity that no answer has confirmed yet, from as many interrupted first exchanges."""


class RouteState(Enum):
    """What is known of a participant that makes a claim."""

    CLAIMED = "claimed"
    PROVEN = "proven"
    REPLACED = "replaced"
    """The same client has proven another participant id that came later."""


_MOVES = {
    RouteState.CLAIMED: {RouteState.PROVEN, RouteState.REPLACED},
    RouteState.PROVEN: {RouteState.CLAIMED, RouteState.REPLACED},  # Back where the room refuses to send to it.
}


@dataclass(frozen=True, slots=True)
class Proven:
    """A participant has proven who it is."""

    identity: Identity
    participant_id: str
    replaced: str | None
    """The participant id of before, where the room still lists it: a connection that the room has not missed yet."""
    upto: int
    arrived: int
    """What it has got from here; see `Confirmed`."""


@dataclass(slots=True)
class _Route:
    """One participant that makes a claim, as seen from one connection of this client."""

    identity: Identity
    state: RouteState = RouteState.CLAIMED
    nonce: bytes = field(default=b"", repr=False)
    """This client's, empty before it is needed; the peer's first one stays too."""
    peer_nonce: bytes | None = field(default=None, repr=False)
    half: bytes = field(default=b"", repr=False)
    secret: bytes | None = field(default=None, repr=False)
    """Of both halves; None while the peer's is unknown, or not wanted."""
    has_answered: bool = False
    interval: float = FIRST_REPEAT
    """Seconds until the next repetition of the challenge."""


@dataclass(slots=True)
class _Acquaintance:
    """What is remembered of an identity."""

    secret: bytes | None = field(default=None, repr=False)
    tentative: deque[bytes] = field(default_factory=lambda: deque(maxlen=_TENTATIVE), repr=False)
    participant_id: str = ""
    """The last one proven."""


class Proofs:
    """The participants that make claims, and what this client knows of them. Not safe to use from two tasks at once.

    Args:
        instance: This client's, 32 hexadecimal digits.
        entropy: Returns so many unpredictable bytes.
        progress: Returns what came from an identity, ``upto`` and ``arrived`` of `Confirmed`.
        is_busy: Whether something waits for an identity, which then is not forgotten.
    """

    def __init__(
        self,
        instance: str,
        entropy: Callable[[int], bytes],
        progress: Callable[[Identity], tuple[int, int]],
        is_busy: Callable[[Identity], bool],
    ) -> None:
        self._instance = instance
        self._entropy = entropy
        self._progress = progress
        self._is_busy = is_busy
        self._own_id = ""
        self._routes: dict[str, _Route] = {}
        """By participant id, in order of arrival."""
        self._claims: dict[Identity, dict[str, None]] = {}
        """The participant ids of each claim, in order of arrival."""
        self._known: dict[Identity, _Acquaintance] = {}
        """In order of their last proof or first exchange."""
        self._wanted: set[Identity] = set()
        self._repeats: dict[str, float] = {}
        """When each challenge that has no answer is repeated, on the caller's clock."""
        self._outgoing: list[tuple[str, Hello | Proof]] = []
        self._proven: list[Proven] = []
        self._forgotten: list[Identity] = []

    # --- who is there -------------------------------------------------------------------------------------------------

    def connect(self, own_id: str) -> None:
        """Begin a connection under a participant id: no other is there, and who comes has proven nothing on it."""
        self.disconnect()
        self._own_id = own_id

    def disconnect(self) -> None:
        """End the connection; secrets stay."""
        self._routes.clear()
        self._claims.clear()
        self._repeats.clear()
        self._outgoing.clear()

    def enter(self, now: float, participant_id: str, identity: Identity) -> None:
        """Note a participant and its claim. The first claim of an id stays until it leaves; none can claim to be us."""
        if participant_id in self._routes or identity.instance == self._instance:
            return
        self._routes[participant_id] = _Route(identity)
        self._claims.setdefault(identity, {})[participant_id] = None
        if self._is_asked_of(participant_id, identity):
            self._challenge(now, participant_id)

    def leave(self, participant_id: str) -> None:
        """Note that a participant is gone."""
        route = self._routes.pop(participant_id, None)
        if route is not None:
            self._repeats.pop(participant_id, None)
            claims = self._claims[route.identity]
            del claims[participant_id]
            if not claims:
                del self._claims[route.identity]

    def identity_of(self, participant_id: str) -> Identity | None:
        """Return the claim of a participant that is there, None if it makes none."""
        route = self._routes.get(participant_id)
        return None if route is None else route.identity

    def is_proven(self, participant_id: str) -> bool:
        """Return whether a participant is the client that it claims to be, and its present id."""
        route = self._routes.get(participant_id)
        return route is not None and route.state is RouteState.PROVEN

    def find(self, identity: Identity) -> str | None:
        """Return the proven participant id of an identity, None while there is none."""
        known = self._known.get(identity)
        return known.participant_id if known is not None and self.is_proven(known.participant_id) else None

    def want(self, now: float, identity: Identity) -> None:
        """Challenge whoever makes this claim, now and later, until `unwant`."""
        if identity not in self._wanted:
            self._wanted.add(identity)
            self._challenge_all(now, identity)

    def doubt(self, now: float, participant_id: str) -> None:
        """Challenge a participant that acts as if it were proven, unless that is under way or in vain."""
        route = self._routes.get(participant_id)
        if route is not None and route.state is RouteState.CLAIMED and participant_id not in self._repeats:
            known = self._known.get(route.identity)
            if known is not None:
                self._challenge(now, participant_id)

    def lose(self, now: float, participant_id: str) -> None:
        """Note that the room refused to send to a participant: it is to prove itself again, if it is still there."""
        route = self._routes.get(participant_id)
        if route is not None and route.state is RouteState.PROVEN:
            route.state = move(_MOVES, route.state, RouteState.CLAIMED, participant_id)
            route.interval = FIRST_REPEAT
            self._repeats[participant_id] = now + route.interval

    def unwant(self, identity: Identity) -> None:
        """Stop asking for an identity."""
        self._wanted.discard(identity)

    # --- what comes in and goes out -----------------------------------------------------------------------------------

    def take(self, now: float, participant_id: str, body: Hello | Proof) -> None:
        """Note a challenge or an answer from a participant. One that does not fit its claim or its nonce is ignored."""
        route = self._routes.get(participant_id)
        if route is None or route.state is RouteState.REPLACED or route.peer_nonce not in (None, body.nonce):
            return
        if isinstance(body, Hello):
            if body.instance == route.identity.instance:
                route.peer_nonce = body.nonce
                self._learn(route, body.half)
                if not self._answer(participant_id, route):
                    self._challenge(now, participant_id)
        elif route.nonce and hmac.compare_digest(body.echo, route.nonce):
            route.peer_nonce = body.nonce
            self._learn(route, body.half)
            secret = self._verify(participant_id, route, body.code)
            if secret is not None:
                if route.state is not RouteState.PROVEN:
                    self._accept(participant_id, route, secret, body)
                if not route.has_answered:
                    self._answer(participant_id, route)

    @property
    def deadline(self) -> float | None:
        """When to call `look` next, on the caller's clock; None for never."""
        return min(self._repeats.values(), default=None)

    def look(self, now: float) -> None:
        """Repeat the challenges that are due."""
        for participant_id in [id for id, when in self._repeats.items() if when <= now]:
            del self._repeats[participant_id]
            if self._is_asked_of(participant_id, self._routes[participant_id].identity):
                self._challenge(now, participant_id)

    @property
    def is_due(self) -> bool:
        """Whether there is something to drain."""
        return bool(self._outgoing)

    def drain(self) -> list[tuple[str, Hello | Proof]]:
        """Return what is to be sent, each with its recipient, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_proven(self) -> list[Proven]:
        """Return the proofs since the last time, in order."""
        proven, self._proven = self._proven, []
        return proven

    def take_forgotten(self) -> list[Identity]:
        """Return the identities forgotten since the last time."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    # --- a route ------------------------------------------------------------------------------------------------------

    def _is_asked_of(self, participant_id: str, identity: Identity) -> bool:
        """Return whether a participant that came is to prove its claim: also one that may replace another id."""
        known = self._known.get(identity)
        has_moved = known is not None and known.secret is not None and known.participant_id != participant_id
        return has_moved or identity in self._wanted

    def _challenge_all(self, now: float, identity: Identity) -> None:
        if self.find(identity) is None:
            for participant_id in self._claims.get(identity, ()):
                if self._routes[participant_id].state is RouteState.CLAIMED:
                    self._challenge(now, participant_id)

    def _challenge(self, now: float, participant_id: str) -> None:
        route = self._routes[participant_id]
        self._prepare(route)
        self._outgoing.append((participant_id, Hello(self._instance, route.nonce, self._half_of(route))))
        self._repeats[participant_id] = now + route.interval
        route.interval = min(2 * route.interval, LAST_REPEAT)

    def _prepare(self, route: _Route) -> None:
        if not route.nonce:
            route.nonce, route.half = self._entropy(KEY_SIZE), self._entropy(KEY_SIZE)

    def _half_of(self, route: _Route) -> bytes | None:
        """Return the half to send: none once a secret holds, which no exchange replaces."""
        known = self._known.get(route.identity)
        return route.half if known is None or known.secret is None else None

    def _learn(self, route: _Route, half: bytes | None) -> None:
        """Make a secret of the peer's half, if none holds yet."""
        self._prepare(route)
        known = self._known.get(route.identity)
        if half is None or route.secret is not None or (known is not None and known.secret is not None):
            return
        halves = sorted([(self._instance, route.half), (route.identity.instance, half)])
        route.secret = _keyed(halves[0][1] + halves[1][1], "secret", *(instance for instance, _ in halves))
        self._remember(route.identity).tentative.append(route.secret)

    def _answer(self, participant_id: str, route: _Route) -> bool:
        """Answer the peer's challenge; return whether there is a secret to do so with."""
        known = self._known.get(route.identity)
        secret = route.secret if known is None or known.secret is None else known.secret
        if secret is None or route.peer_nonce is None:
            return False
        ids = (self._instance, route.identity.instance, self._own_id, participant_id)
        code = _keyed(secret, "proof", *ids, route.nonce.hex(), route.peer_nonce.hex())
        answer = Proof(route.nonce, route.peer_nonce, code, *self._progress(route.identity), self._half_of(route))
        self._outgoing.append((participant_id, answer))
        route.has_answered = True
        return True

    def _verify(self, participant_id: str, route: _Route, code: bytes) -> bytes | None:
        """Return the secret under which the peer's answer is right; None if it is wrong."""
        known = self._known.get(route.identity)
        if known is None or route.peer_nonce is None:
            return None
        ids = (route.identity.instance, self._instance, participant_id, self._own_id)
        for secret in (known.secret,) if known.secret is not None else tuple(known.tentative):
            right = _keyed(secret, "proof", *ids, route.peer_nonce.hex(), route.nonce.hex())
            if hmac.compare_digest(code, right):
                return secret
        return None

    def _accept(self, participant_id: str, route: _Route, secret: bytes, proof: Proof) -> None:
        identity = route.identity
        known = self._known.pop(identity)
        self._known[identity] = known  # The last proven is the last to be forgotten.
        known.secret, before, known.participant_id = secret, known.participant_id, participant_id
        known.tentative.clear()
        route.state = move(_MOVES, route.state, RouteState.PROVEN, participant_id)
        self._repeats.pop(participant_id, None)
        replaced = before if before != participant_id and before in self._routes else None
        for other in self._claims[identity]:  # In order of arrival.
            if other == participant_id:
                break
            if self._routes[other].state is not RouteState.REPLACED:
                self._routes[other].state = move(_MOVES, self._routes[other].state, RouteState.REPLACED, other)
            self._repeats.pop(other, None)
        self._proven.append(Proven(identity, participant_id, replaced, proof.upto, proof.arrived))

    def _remember(self, identity: Identity) -> _Acquaintance:
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = _Acquaintance()
            if len(self._known) > KNOWN:
                self._forget()
        return known

    def _forget(self) -> None:
        """Forget the identity that was longest not heard of, of those that can be spared: not of a participant here."""
        for identity in self._known:
            if identity not in self._claims and not self._is_busy(identity):
                del self._known[identity]
                self._forgotten.append(identity)
                return


def _keyed(key: bytes, label: str, *parts: str) -> bytes:
    """Return HMAC-SHA256 over texts, each behind its length, so that no two lists of texts are the same."""
    texts = [f"meshsync {label} 1".encode(), *(part.encode("utf-8", "surrogatepass") for part in parts)]
    return hmac.digest(key, b"".join(len(text).to_bytes(4, "big") + text for text in texts), "sha256")
