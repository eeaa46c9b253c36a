"""All kinds of faults, by word: a registered kind can be planned, saved and loaded."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from meshsync.errors import UsageError
from simulator.faults.fault import Fault
from simulator.faults.layers import ConnectionFault, NetworkFault, ProgramFault, RoomFault, SimulationFault

__all__ = ["KINDS", "register"]

KINDS: dict[str, type[Fault]] = {}
"""All kinds by their words; filled by `register`."""

LAYERS: dict[type[Fault], tuple[str, ...]] = {
    ConnectionFault: ("strike",),
    SimulationFault: ("strike",),
    ProgramFault: ("hinder",),
    NetworkFault: ("on_link", "on_attempt"),
    RoomFault: ("on_request", "on_passage", "on_reply"),
}
"""The layers, each with the methods of which a kind overrides at least one."""

DISCRIMINATORS = ("when", "fault")
"""The members of an entry of a saved plan that tell its kind: of one planned for a time or an event, and of a fault."""

Kind = TypeVar("Kind", bound=Fault)


def register(kind: type[Kind]) -> type[Kind]:
    """Register a kind of fault; a decorator, to be put above ``@dataclass(frozen=True, slots=True)``.

    Registering a class again, as a notebook does that runs a cell twice, replaces it.

    Raises:
        UsageError: If it is no class, or lacks something that a kind needs; the text names it, and it is not
            registered.
    """
    if not isinstance(kind, type):
        raise UsageError(f"@register is put above a class; it got {kind!r:.100}")
    flaw = _flaw(kind)
    if flaw is not None:
        raise UsageError(f"{kind.__name__} is no kind of fault: {flaw}")
    KINDS[kind.word] = kind
    return kind


def _flaw(kind: type[Fault]) -> str | None:
    """Return the text of the first flaw of a kind of fault, None if it has none."""
    layers = [layer for layer in LAYERS if issubclass(kind, layer)]
    if len(layers) != 1:
        names = ", ".join(layer.__name__ for layer in LAYERS)
        return f"it belongs to {'no' if not layers else 'more than one'} layer; derive it from one of {names}"
    (layer,) = layers
    if all(getattr(kind, method) is getattr(layer, method) for method in LAYERS[layer]):
        return f"it does nothing; define {' or '.join(LAYERS[layer])} as {layer.__name__} has it"
    if "__dataclass_fields__" not in vars(kind):
        return "it is no dataclass; put @dataclass(frozen=True, slots=True) below @register"
    unchecked = [field.name for field in dataclasses.fields(kind) if "check" not in field.metadata]
    if unchecked:
        return f"{unchecked[0]} has no check; give it one of simulator.faults.fields as its metadata"
    taken = [field.name for field in dataclasses.fields(kind) if field.name in DISCRIMINATORS]
    if taken:
        return f"a field is called {taken[0]}, which in a saved plan tells the kind of an entry; give it another name"
    word: object = kind.word
    if not isinstance(word, str) or not word:  # (A field called so is a descriptor here.)
        return "it has no word; define word: ClassVar[str], by which plans and transcripts call it"
    other = KINDS.get(kind.word)
    if other is not None and (other.__module__, other.__name__) != (kind.__module__, kind.__name__):
        return f"its word {kind.word!r} is that of {other.__module__}.{other.__name__}"
    return None
