"""Who is next, in a conversation that is replayed: each step waits for all that stand above it.

So it is the same conversation: whatever a participant had got before a step, it has got again, and the others had done
as much. A step of the subject, the one participant that is a program and has no script, has been done when a scripted
participant has got what it was; what none of them gets is not waited for.

Nothing here knows clients: players tell what has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from meshsync.runtime.interfaces import Condition
from simulator.errors import ReplayFailed, ReplayStalled
from simulator.replaying.steps import ANSWERING, PRESENCE, Step, refused_by_client

__all__ = ["Director", "plain_names"]

DONE = ""
"""The part of a step that is its doing; its other parts are its arrivals, by the names of the recipients."""


class Director:
    """Keeps the order of a conversation. Any task may call any method.

    Args:
        steps: The conversation.
        condition: What all wait on.
        now: Returns the seconds of the world in which it is replayed.
        stall: Seconds without any progress after which it is given up.
        subject: The participant without a script; None if all have one.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        condition: Condition,
        now: Callable[[], float],
        *,
        stall: float,
        subject: str | None = None,
    ) -> None:
        self.steps = steps
        self.stall: float = stall
        self._longest = stall
        self.subject = subject
        self._condition = condition
        self._now = now
        plan = _Plan(steps, subject)
        self._open = plan.parts
        self._places = plan.places
        left = [place for place, step in enumerate(steps) if (step.who, step.verb) == (subject, "leave")]
        self.sees_leaving: bool = bool(left) and bool(self._open[left[-1]])
        """Whether the subject leaves in the end, and is seen to."""
        self._next = 0
        """The first step that is open."""
        self._plain = plain_names(steps)
        self._seen: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._unexpected: list[str] = []
        self._waiting: set[int] = set()
        """The steps whose turn is awaited."""
        self._last_progress = now()
        self._is_over = False
        self._failure: BaseException | None = None

    # --- names and ids ------------------------------------------------------------------------------------------------

    def plain(self, name: str) -> str:
        """Return the display name of the participant that the steps call so."""
        return self._plain.get(name, name)

    def met(self, id: str, name: str) -> None:
        """Note the id that a scripted participant has now."""
        with self._condition:
            self._ids[name] = id
            self._names[id] = name

    def known(self, id: str, display_name: str | None) -> str:
        """Return what the steps call the participant with an id: a scripted one, or else by its display name."""
        with self._condition:
            name = self._names.get(id)
            if name is not None:
                return name
            is_subject = self.subject is not None and display_name == self.plain(self.subject)
            if not is_subject:
                return display_name or id
            assert self.subject is not None
            self._ids[self.subject] = id
            return self.subject

    def id_of(self, name: str) -> str:
        """Return the id of a participant, the last one that it had; a name of which none is known is one itself."""
        with self._condition:
            return self._ids.get(name, name)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def await_turn(self, place: int) -> None:
        """Wait until the step at a place may be done.

        Raises:
            ReplayStalled: If nothing happens for too long.
            ReplayFailed: If the conversation has ended otherwise.
        """
        step = self.steps[place]
        self._await(place, lambda: self._first >= place)
        # Where no scripted participant had been there to see the subject come, it may have come in time or not.
        self._await(place, lambda: all(name in self._ids for name in step.recipients))

    def await_arrival(self, place: int) -> None:
        """Wait until the step at a place has come to all who notice it; raises likewise."""
        self._await(None, lambda: not self._open[place] - {DONE})

    def await_all(self) -> None:
        """Wait until all is done and has come; raises what ended the conversation before."""
        with suppress(ReplayFailed):
            self._await(None, lambda: self._first == len(self.steps))
        self.check()

    def await_quiet(self, seconds: float) -> None:
        """Wait until nothing has come for so long; raises likewise."""
        with self._condition:
            while True:
                if self._failure is not None:
                    raise self._failure
                left = self._last_progress + seconds - self._now()
                if left <= 0:
                    return
                self._condition.wait(left)

    def check(self) -> None:
        """Raise what ended the conversation, if anything has."""
        with self._condition:
            if self._failure is not None:
                raise self._failure

    def _await(self, place: int | None, is_time: Callable[[], bool]) -> None:
        with self._condition:
            if place is not None:
                self._waiting.add(place)
            while True:
                if is_time():
                    break
                self._wait()
            self._check_on()
            if place is not None:
                self._waiting.discard(place)

    @property
    def _first(self) -> int:
        """The place of the first step that was not done, or has not come; the number of steps if there is none."""
        while self._next < len(self.steps) and not self._open[self._next]:
            self._next += 1
        return self._next

    def _wait(self) -> None:
        """Wait for news; give up if there were none for too long."""
        self._check_on()
        left = self._last_progress + self.stall - self._now()
        if left > 0:
            self._condition.wait(left)
            return
        self._failure = ReplayStalled(self._describe_stall())
        self._condition.notify_all()

    def _check_on(self) -> None:
        # An error of its own for each task; that of the conversation is raised by `check`.
        if self._failure is not None or self._is_over:
            raise ReplayFailed("the conversation is over")

    # --- what happens -------------------------------------------------------------------------------------------------

    def done(self, place: int) -> None:
        """Note that the step at a place was done."""
        with self._condition:
            self._settle(place, DONE)

    def arrived(
        self,
        recipient: str,
        sender: str,
        verb: str,
        what: str,
        first: Callable[[Step], None] = lambda step: None,
    ) -> None:
        """Note that something has come from one participant to another one.

        Args:
            what: A message's or a question's type, a stream's name, or that of the question that is answered; empty for
                the offer of a stream.
            first: Called with the step that it is, if it is one, before any participant goes on for it. It must not
                wait.
        """
        with self._condition:
            self._last_progress = self._now()
            places = self._places.get((recipient, sender, verb, what))
            if places:
                place = places.popleft()
                first(self.steps[place])
                self._settle(place, recipient)
            elif verb in ("send", "ask", "open", "reject", *ANSWERING):
                text = repr(what) if verb == "send" else f"{verb} {what}".strip()
                self._unexpected.append(f"{text} from {sender} to {recipient}")
            self._condition.notify_all()

    def seen(self, observer: str, name: str, verbs: Iterable[str]) -> None:
        """Note that a scripted participant has learned what another one did to its presence or its attributes."""
        if name != self.subject:
            return
        with self._condition:
            place = self._next_of(name, verbs, self._seen.get(observer, -1) + 1)
            if place is not None:
                self._seen[observer] = place
                self._settle(place, DONE)

    def _next_of(self, name: str, verbs: Iterable[str], begin: int) -> int | None:
        """Return the place of the first step, from a place on, that is one of these of a participant."""
        for place, step in enumerate(self.steps[begin:], begin):
            if step.who == name and step.verb in verbs:
                return place
        return None

    def observes(self, observer: str, place: int) -> None:
        """Note that a scripted participant is about to enable messaging: what it learns first is what is the case."""
        with self._condition:
            self._seen[observer] = self._last_before_enabling(place)

    def _last_before_enabling(self, place: int) -> int:
        """Return the place behind which the subject's steps are news to one who enables messaging at a place."""
        enabled = place
        for earlier, step in enumerate(self.steps[:place]):
            if step.who == self.subject and step.verb == "enable":
                enabled = earlier - 1
            elif step.who == self.subject and step.verb in ("disable", "leave"):
                enabled = place
        return enabled

    def fail(self, error: BaseException) -> None:
        """End the conversation with an error, the first one."""
        with self._condition:
            self._failure = self._failure or error
            self._condition.notify_all()

    def hurry(self, stall: float | None) -> None:
        """Give up earlier from now on: the subject has ended, and only what is under way can still come.

        Args:
            stall: Seconds; None for the limit of the beginning, as the subject was started again.
        """
        with self._condition:
            self.stall = self._longest if stall is None else min(self.stall, stall)
            self._condition.notify_all()

    def end(self) -> None:
        """End all waits: the conversation is over."""
        with self._condition:
            self._is_over = True
            self._condition.notify_all()

    def _settle(self, place: int, part: str) -> None:
        self._last_progress = self._now()
        self._open[place].discard(part)
        self._condition.notify_all()

    # --- what went wrong ----------------------------------------------------------------------------------------------

    def _describe_stall(self) -> str:
        first = self._first
        texts = [f"nothing has happened for {self.stall:g} s", self._describe_wait(first)]
        if self._unexpected:
            texts.append(f"what came besides: {', '.join(self._unexpected[:5])}")
        return "; ".join(texts).replace("; ", ": ", 1)

    def _describe_wait(self, first: int) -> str:
        waiting = min(self._waiting, default=None)
        if waiting is not None and waiting <= first:  # It waits for none of the steps.
            step = self.steps[waiting]
            absent = [name for name in step.recipients if name not in self._ids]
            return f"{step.who} waits for {', '.join(absent)} to enable messaging"
        step = self.steps[first]
        missing = [name for name in step.recipients if name in self._open[first]]
        what = f"{step}, which the record has at {step.at:g} s"
        if missing:
            return f"{', '.join(missing)} waits for {what}"
        return f"all wait for {what}"


class _Plan:
    """What is to be waited for of each step.

    Attributes:
        parts: By place, what is open of a step.
        places: By recipient, sender, verb and subject matter, the places of what is to come, in order.
    """

    def __init__(self, steps: Sequence[Step], subject: str | None) -> None:
        self._subject = subject
        self._scripted = {step.who for step in steps} - {subject}
        self._enabled: set[str] = set()
        self._over: set[str] = set()
        """Streams that have ended: what still crosses the end reaches no program."""
        self._streams: dict[str, tuple[str, str]] = {}
        self._refused = refused_by_client(steps)
        self.parts: list[set[str]] = []
        self.places: dict[tuple[str, str, str, str], deque[int]] = {}
        for place, step in enumerate(steps):
            self.parts.append(self._parts(place, step))

    def _parts(self, place: int, step: Step) -> set[str]:
        parts = {DONE} if step.who in self._scripted or self._is_seen(step) else set()
        self._apply(step)
        if step.stream and step.stream in self._over and step.verb != "open":
            return parts
        for name in dict.fromkeys(step.recipients):
            if name not in self._scripted or (step.verb == "open" and step.stream in self._refused):
                continue
            parts.add(name)
            what = "" if step.verb == "open" else step.stream or step.type
            what = step.question if step.verb in ANSWERING else what
            verb = {"broadcast": "send", "cancel": "end", "close": "end"}.get(step.verb, step.verb)
            self.places.setdefault((name, step.who, verb, what), deque()).append(place)
        self._apply_end(step)
        return parts

    def _is_seen(self, step: Step) -> bool:
        """Return whether a step of the subject without a recipient is noticed."""
        if step.who != self._subject or step.outcome:
            return False
        if step.verb == "connect":  # Its program is started for it.
            return True
        has_witness = bool(self._enabled & self._scripted)
        return has_witness and (
            step.verb == "enable" or (step.who in self._enabled and step.verb in (*PRESENCE, "set"))
        )

    def _apply(self, step: Step) -> None:
        if step.outcome:
            return
        if step.verb == "enable":
            self._enabled.add(step.who)
        elif step.verb in ("disable", "leave"):
            self._enabled.discard(step.who)
            self._over |= {stream for stream, ends in self._streams.items() if step.who in ends}
        elif step.verb == "open":
            self._streams[step.stream] = (step.who, str(step.to))

    def _apply_end(self, step: Step) -> None:
        if step.verb in ("close", "cancel", "reject") or (step.verb == "open" and step.outcome):
            self._over.add(step.stream)


def plain_names(steps: Iterable[Step]) -> dict[str, str]:
    """Return the display name of each participant: ``bob#2`` is a second ``bob`` beside the first."""
    present: set[str] = set()
    plain: dict[str, str] = {}
    for step in steps:
        if step.verb == "connect":
            name, mark, number = step.who.rpartition("#")
            plain[step.who] = name if mark and number.isdecimal() and name in present else step.who
            present.add(step.who)
        elif step.verb == "leave":
            present.discard(step.who)
    return plain
