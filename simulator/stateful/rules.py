"""What a machine is made of: rules with their arguments, preconditions, bundles, invariants; and how a class has them.

The words are those of Hypothesis's ``RuleBasedStateMachine``. What differs follows from this: a program is drawn before
it runs. So an argument out of a bundle is a place in it, which is looked up when its turn has come, and a rule whose
precondition is not met by then is passed over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshsync.errors import UsageError

__all__ = [
    "Bundle",
    "Consumed",
    "Rule",
    "Several",
    "by",
    "consumes",
    "invariant",
    "invariants_of",
    "multiple",
    "precondition",
    "rule",
    "rules_of",
]

_MARK = "_simulator_stateful"


class Bundle:
    """Values that rules of any participant have returned, in their order, for rules of any participant to use.

    ``@rule(target=BUNDLE)`` puts what the rule returns there, ``@rule(item=BUNDLE)`` takes one of them: the rule is
    passed over as long as there is none.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Bundle({self.name!r})"


@dataclass(frozen=True, slots=True)
class Consumed:
    """A value of a bundle that no later rule gets."""

    bundle: Bundle


@dataclass(frozen=True, slots=True)
class Several:
    """Values that a rule puts into its bundles one by one."""

    values: tuple[Any, ...]


def consumes(bundle: Bundle) -> Consumed:
    """Take a value out of a bundle: ``@rule(item=consumes(ITEMS))``."""
    if not isinstance(bundle, Bundle):
        raise UsageError(f"consumes() is for a bundle, not for {bundle!r:.100}")
    return Consumed(bundle)


def multiple(*values: object) -> Several:
    """Put several values into the rule's bundle, or none, when a rule returns this."""
    return Several(values)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a machine."""

    name: str
    function: Callable[..., object]
    arguments: Mapping[str, SearchStrategy[Any] | Bundle | Consumed]
    targets: tuple[Bundle, ...]
    preconditions: tuple[Callable[..., object], ...]
    names: tuple[str, ...]
    """Of the participants that may run it; empty for all."""


@dataclass(slots=True)
class _Mark:
    """What the decorators have said of a function."""

    arguments: dict[str, Any] | None = None
    targets: tuple[Bundle, ...] = ()
    preconditions: list[Callable[..., object]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    is_invariant: bool = False


Function = TypeVar("Function", bound="Callable[..., Any]")


def _mark(function: Callable[..., Any]) -> _Mark:
    if not inspect.isfunction(function):
        raise UsageError(f"rules, preconditions and invariants are functions of a class, not {function!r:.100}")
    mark: _Mark | None = getattr(function, _MARK, None)
    if mark is None:
        mark = _Mark()
        setattr(function, _MARK, mark)
    return mark


def rule(*, target: Bundle | Sequence[Bundle] = (), **arguments: Any) -> Callable[[Function], Function]:
    """Let participants run a method: ``(self, me, …)``, with ``me`` the `Member` that runs it.

    Args:
        target: The bundle, or bundles, that what it returns is put into.
        arguments: Strategies of Hypothesis, bundles, and ``consumes(BUNDLE)``, by the names of its arguments. They are
            drawn before anything runs, so that ``st.data()`` is refused.
    Raises:
        UsageError: If an argument is none of these, or the method does not take them.
    """
    targets = (target,) if isinstance(target, Bundle) else tuple(target)
    if not all(isinstance(one, Bundle) for one in targets):
        raise UsageError(f"target: a bundle, or several, not {target!r:.100}")
    for name, argument in arguments.items():
        if not isinstance(argument, (SearchStrategy, Bundle, Consumed)):
            raise UsageError(f"{name}: a strategy of Hypothesis or a bundle, not {argument!r:.100}")
        if repr(argument) == repr(st.data()):
            raise UsageError(f"{name}: st.data() draws while a rule runs, and all is drawn before: use st.composite")

    def decorate(function: Function) -> Function:
        mark = _mark(function)
        if mark.arguments is not None or mark.is_invariant:
            raise UsageError(f"{function.__name__} is a rule or an invariant already")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise UsageError(f"{function.__name__} would return before it has run: a rule is a plain function")
        try:
            inspect.signature(function).bind(None, None, **dict.fromkeys(arguments))
        except TypeError as error:
            raise UsageError(f"the rule {function.__name__} takes self, me and its arguments: {error}") from None
        mark.arguments, mark.targets = arguments, targets
        return function

    return decorate


def precondition(predicate: Callable[..., object]) -> Callable[[Function], Function]:
    """Run a rule only where ``predicate(self, me)`` is true when its turn has come; else it is passed over."""

    def decorate(function: Function) -> Function:
        _mark(function).preconditions.append(predicate)
        return function

    return decorate


def by(*names: str) -> Callable[[Function], Function]:
    """Let only these participants run a rule."""

    def decorate(function: Function) -> Function:
        _mark(function).names += names
        return function

    return decorate


def invariant() -> Callable[[Function], Function]:
    """Claim what has to hold at every step of the run, as by ``sim.always``, once all participants are there.

    The method takes ``self``; it returns whether it holds, or asserts it and returns nothing.
    """

    def decorate(function: Function) -> Function:
        mark = _mark(function)
        if mark.arguments is not None:
            raise UsageError(f"{function.__name__} is a rule already")
        mark.is_invariant = True
        return function

    return decorate


def _marked(machine: type) -> dict[str, tuple[Callable[..., Any], _Mark]]:
    """Return the decorated methods of a class, in the order of definition, those of its bases first."""
    names = dict.fromkeys(name for kind in reversed(machine.__mro__) for name in vars(kind))
    methods = {name: inspect.getattr_static(machine, name) for name in names}
    return {name: (one, mark) for name, one in methods.items() if (mark := getattr(one, _MARK, None)) is not None}


def rules_of(machine: type, participants: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules of a class.

    Raises:
        UsageError: If it has none, a rule is for participants that it does not have, or a precondition is of no rule.
    """
    rules = []
    for name, (function, mark) in _marked(machine).items():
        if mark.arguments is None:
            if mark.preconditions or mark.names:
                raise UsageError(f"{machine.__name__}.{name} has a precondition or names, and is no rule: add @rule()")
            continue
        if unknown := [one for one in mark.names if one not in participants]:
            there_are = ", ".join(participants)
            raise UsageError(f"{machine.__name__}.{name} is for {unknown[0]!r}; the participants are {there_are}")
        rules.append(Rule(name, function, mark.arguments, mark.targets, tuple(mark.preconditions), mark.names))
    if not rules:
        raise UsageError(f"{machine.__name__} has no rule: decorate methods with @rule()")
    return tuple(rules)


def invariants_of(machine: type) -> tuple[str, ...]:
    """Return the names of the invariants of a class."""
    return tuple(name for name, (_, mark) in _marked(machine).items() if mark.is_invariant)
