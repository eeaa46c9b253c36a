"""Making a test out of a record: the file of a pytest test in which one participant is a program."""

from __future__ import annotations

import json
import keyword
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from pprint import pformat
from typing import Any

from meshsync.errors import UsageError
from simulator.errors import ReplayFailed
from simulator.record.comparing import Event, Route, diff, differing_paths, events_by_route
from simulator.record.comparing import Path as PathInMessage
from simulator.record.records import Record, Records
from simulator.record.transcript import Transcript
from simulator.record.wording import counted
from simulator.replaying.replay import stall_of
from simulator.replaying.steps import PRESENCE, Sent, Step, mapped, read_script, sha256_of, texts_in
from simulator.replaying.testing import APART, Casting
from simulator.replaying.venues import WorldName

__all__ = ["MadeTest", "make_test"]

_OTHERWISE = {"seed": 1, "latency": 0.013, "start": "2031-08-09T10:11:12Z"}
"""The simulation of the second run: whatever depends on clock or chance differs from the first."""
_WIDTH = 120


@dataclass(frozen=True, slots=True)
class MadeTest:
    """The test of a participant."""

    path: Path
    """Its file."""
    masked: tuple[PathInMessage, ...]
    """What differed between two runs of the program, and is not compared: a message's type, and where in it."""
    notes: tuple[str, ...]
    """What a person should know: attachments that the record lacks, what is left out, where the program does something
    else than in the record."""

    def __str__(self) -> str:
        lines = [f"{self.path}: masked {', '.join(map(repr, self.masked)) or 'nothing'}", *self.notes]
        return "\n".join(lines)


def make_test(
    record: Records | str | PathLike[str],
    subject: str,
    *,
    program: str | None = None,
    command: Sequence[str] | None = None,
    world: WorldName | None = None,
    output: str | PathLike[str] | None = None,
    stall: float | None = None,
) -> MadeTest:
    """Write a pytest file in which every participant of a record but one is scripted, and that one is a program.

    The program is run twice, in the present directory. The test expects what it does in the first run; what differs in
    the second one is masked.

    Args:
        record: A transcript, or the file of one.
        subject: The participant that the program is.
        program: ``FILE.py:FUNCTION``, which takes nothing, or the simulation.
        command: Or a command, beside an emulator.
        world: ``"simulation"`` or ``"emulator"``; by default a simulation, but for a command.
        output: The file; by default ``test_SUBJECT.py``. It is overwritten if it was made so before.
        stall: Seconds without any progress after which the program has failed; by default 10, or twice the longest
            silence of the record.
    Raises:
        ReplayFailed: If the program fails, or does something else in the second run; nothing is written.
        UsageError: If the record or the program is none, or the file is another one.
    """
    records = record if isinstance(record, Records) else Transcript.load(str(record))
    script = read_script(records)
    if subject not in script.participants:
        names = ", ".join(map(repr, script.participants)) or "none"
        raise UsageError(f"in the record of room {records.room!r} there is no {subject!r}; these are: {names}")
    path = Path(output) if output is not None else Path(f"test_{_identifier(subject)}.py")
    _check_output(path)
    casting = Casting(
        records.room, subject, world or ("simulation" if command is None else "emulator"), Path.cwd(), program, command
    )
    limit = stall_of(script) if stall is None else stall
    linked = _send_back(script.steps, subject)
    first = casting.play(linked, limit, {"seed": 0})
    second = casting.play(linked, limit, _OTHERWISE)
    masked = _masks(first, second, subject)
    steps = _as_played(linked, first, subject)
    notes = [f"the record lacks the attachment of {one}; the test sends an empty one" for one in script.missing]
    notes += [f"left out: {counted(count, 'record')} of what is {what}" for what, count in script.left_out.items()]
    changed = diff(records, first, ["time", "id", *APART, *masked], sender=subject)
    if changed:
        notes.append(
            f"{subject} no longer does what the record has; the test expects what it does now: {changed.first}"
        )
    kept, contents = _put_aside(steps, subject)
    aside = path.with_name(f"{path.stem}_attachments")
    if contents:
        aside.mkdir(exist_ok=True)
    for hash, content in contents.items():
        (aside / hash).write_bytes(content)
    text = _file(casting, kept, masked, limit, path, aside if contents else None)
    path.write_text(text, encoding="utf-8")
    return MadeTest(path, masked, tuple(notes))


def _send_back(steps: Sequence[Step], subject: str) -> list[Step]:
    """Return the steps in which others send back what the program has just sent, such as the id of a question."""
    made: list[Step] = []
    sent: dict[str, dict[str, Sent]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for step in steps:
        if step.who != subject:
            body = mapped(step.body, partial(_sent_or, sent.get(step.who, {})))
            made.append(replace(step, body=body))
            continue
        made.append(step)
        for name in step.recipients if step.verb in ("send", "broadcast", "ask", "reply") else ():
            number = counts[name, step.type]
            counts[name, step.type] += 1
            for path, text in texts_in(step.body):
                if len(text) >= _SHORTEST_ID and any(map(str.isdigit, text)):
                    sent.setdefault(name, {})[text] = Sent(step.type, number, *path)
    return made


def _sent_or(known: Mapping[str, Sent], value: Any) -> Any:
    return known.get(value, value) if isinstance(value, str) else value


_SHORTEST_ID = 8
"""Characters of a text with a digit that counts as made by the program, so that others send back what it made anew."""


# --- what the program does --------------------------------------------------------------------------------------------


def _masks(first: Records, second: Records, subject: str) -> tuple[PathInMessage, ...]:
    """Return what differs between two runs.

    Raises:
        ReplayFailed: If more than values does.
    """
    found: dict[PathInMessage, None] = {}
    ours, theirs = _events(first, subject), _events(second, subject)
    for route in ours.keys() & theirs.keys():
        for (one, _), (other, _) in zip(ours[route], theirs[route], strict=False):
            if (one.kind, one.type) == (other.kind, other.type):
                found.update(dict.fromkeys(_differences(one, other)))
    masked = tuple(sorted(found, key=repr))
    difference = diff(first, second, ["time", "id", *APART, *masked], sender=subject)
    if difference:
        text = f"two runs of {subject} differ in more than values, so that a test of it would fail at times"
        raise ReplayFailed(f"{text}: {difference}")
    return masked


def _events(records: Records, subject: str) -> dict[Route, list[tuple[Event, Record]]]:
    found = events_by_route(records, None, subject)
    return {route: [one for one in events if one[0].kind not in APART] for route, events in found.items()}


def _differences(one: Event, other: Event) -> Iterator[PathInMessage]:
    for path in differing_paths(json.loads(one.body), json.loads(other.body)):
        yield (one.type, "message", *path)
    if one.attachment != other.attachment:
        yield (one.type, "attachment")


def _as_played(steps: Sequence[Step], happened: Records, subject: str) -> tuple[Step, ...]:
    """Return the steps with those of the subject as it did them now, on each route in their order."""
    now: dict[tuple[str, str], list[Step]] = {}
    for step in read_script(happened).steps:
        for one in _apart(step) if step.who == subject and step.verb not in PRESENCE else ():
            now.setdefault(_way(one), []).append(one)
    made: list[Step] = []
    for step in steps:
        if step.who != subject or step.verb in PRESENCE:
            made.append(step)
            continue
        own = [now[_way(one)].pop(0) for one in _apart(step) if now.get(_way(one))]
        made += _together([replace(one, at=step.at) for one in own])
    last = steps[-1].at
    rest = [one for left in now.values() for one in left]
    return (*made, *(replace(one, at=max(last, one.at)) for one in rest))


def _way(step: Step) -> tuple[str, str]:
    return str(step.to), step.stream


def _apart(step: Step) -> list[Step]:
    """Return a broadcast as sends, which is what its recipients see."""
    if step.verb != "broadcast" or not step.to:
        return [step]
    return [replace(step, verb="send", to=to) for to in step.to]


def _together(steps: Sequence[Step]) -> list[Step]:
    """Return sends of one message as a broadcast."""
    if len(steps) > 1 and all(replace(step, to=steps[0].to) == steps[0] for step in steps):
        return [replace(steps[0], verb="broadcast", to=tuple(str(step.to) for step in steps))]
    return list(steps)


# --- the file ---------------------------------------------------------------------------------------------------------

_HEAD = '''\
"""A test of one participant of a recorded conversation, which is a program.

The others do their steps, each when all above it has happened again; what the program does is compared with its own.
Edit it as you like: a `Step` is documented in simulator/replaying/steps.py, the rest at `check_subject`.
Made by: python -m simulator as-test
"""
'''
_MARK = "Made by: python -m simulator as-test"


def _check_output(path: Path) -> None:
    if path.is_file() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{path} is there, and was not made by as-test: give another name with -o")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}")


def _put_aside(steps: Sequence[Step], subject: str) -> tuple[list[Step], dict[str, bytes]]:
    """Return the steps with the hashes of long attachments, and those that others than the subject send."""
    made: list[Step] = []
    contents: dict[str, bytes] = {}
    for step in steps:
        if isinstance(step.attachment, str) and step.who != subject:
            made.append(replace(step, attachment=b""))  # The record lacks it.
            continue
        if isinstance(step.attachment, bytes) and len(step.attachment) > _LONG:
            hash = sha256_of(step.attachment)
            if step.who != subject:
                contents[hash] = step.attachment
            step = replace(step, attachment=hash)
        made.append(step)
    return made, contents


def _file(
    casting: Casting,
    steps: Sequence[Step],
    masked: Sequence[PathInMessage],
    stall: float,
    path: Path,
    aside: Path | None,
) -> str:
    """Return the text of a test."""
    used = [name for name in ("Id", "Sent") if f"{name}(" in repr([step.body for step in steps])]
    names = ", ".join([*used, "Step", "check_subject"])
    given = {
        "subject": casting.subject,
        **({"program": casting.program} if casting.command is None else {"command": list(casting.command)}),
        "folder": _seen_from(casting.folder, path),
        "world": casting.world,
        "room": casting.room,
        "stall": float(stall),
        **({"attachments": aside.name} if aside is not None else {}),
    }
    lines = [
        _HEAD,
        f"from simulator.replaying import {names}\n",
        "# What differed between two runs, and is not compared: the type of a message, and where in it.",
        *(["MASKED = [", *(f"    {one!r}," for one in masked), "]\n"] if masked else ["MASKED = []\n"]),
        "STEPS = [",
        *map(_step, steps),
        "]\n\n",
        f"def test_{_identifier(casting.subject)}_does_what_it_did():",
        "    check_subject(",
        "        STEPS,",
        *(f"        {name}={value!r}," for name, value in given.items()),
        "        file=__file__,",
        "        masked=MASKED,",
        "    )",
    ]
    return "\n".join(lines) + "\n"


def _step(step: Step) -> str:
    """Return a step as Python: one line, or one more for each value that is too long for it."""
    given = {name: getattr(step, name) for name in _NAMED if getattr(step, name) != getattr(_BLANK, name)}
    begin = f"    Step({step.at!r}, {step.who!r}, {step.verb!r}"
    line = ", ".join([begin, *(f"{name}={value!r}" for name, value in given.items())])
    if len(line) <= _WIDTH - 2:
        return f"{line}),"
    short = {name: value for name, value in given.items() if name not in ("body", "attachment")}
    lines = [", ".join([begin, *(f"{name}={value!r}" for name, value in short.items())])]
    for name in [name for name in given if name not in short]:
        text = pformat(given[name], width=_WIDTH - 20, sort_dicts=False)
        lines.append(f"         {name}={text}".replace("\n", "\n" + " " * (10 + len(name))))
    return ",\n".join(lines) + "),"


_LONG = 64
"""Bytes of the longest attachment that stands in the file itself, and not in one of its own, by its hash."""
_BLANK = Step(0.0, "", "leave")
_NAMED = [field.name for field in fields(Step) if field.name not in ("at", "who", "verb")]


def _seen_from(folder: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(folder, path.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        return str(folder)


def _identifier(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain and not keyword.iskeyword(plain) else "subject"
