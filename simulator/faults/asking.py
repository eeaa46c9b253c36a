"""Asks faults for their verdicts, and makes them strike. Whatever goes wrong in a kind of fault, its word is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

from meshsync.errors import UsageError
from simulator.faults.fault import Fault
from simulator.faults.layers import (
    ConnectionFault,
    Delay,
    Fail,
    Hold,
    Limit,
    Lose,
    NetworkFault,
    Pass,
    Postpone,
    ProgramFault,
    Refuse,
    RejectOffer,
    RoomFault,
    SimulationFault,
    StruckConnection,
    StruckPrograms,
    StruckSimulation,
    Withhold,
)

__all__ = ["ask", "hinder", "strike_connection", "strike_simulation"]

_VERDICTS: dict[str, tuple[type, ...]] = {
    NetworkFault.on_link.__name__: (Pass, Hold, Delay, Limit),
    NetworkFault.on_attempt.__name__: (Pass, Refuse, Delay),
    RoomFault.on_request.__name__: (Pass, Postpone, RejectOffer, Fail),
    RoomFault.on_passage.__name__: (Pass, Withhold, Lose),
    RoomFault.on_reply.__name__: (Pass, Postpone),
}
"""The verdicts that each question allows, as `simulator.faults.layers` has them."""

Asked = TypeVar("Asked", NetworkFault, RoomFault)
Verdict = TypeVar("Verdict")
Arguments = ParamSpec("Arguments")


def ask(
    question: Callable[Concatenate[Asked, Arguments], Verdict],
    fault: Asked,
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Verdict:
    """Return the verdict of a fault on one of its layer's questions, such as ``RoomFault.on_reply``.

    Raises:
        UsageError: If the fault raises, or gives a verdict of another question or none at all.
    """
    name = question.__name__
    try:
        verdict: Verdict = getattr(fault, name)(*arguments, **options)
    except Exception as error:
        raise _failed(fault, name, error) from error
    if not isinstance(verdict, _VERDICTS[name]):
        *others, last = (kind.__name__ for kind in _VERDICTS[name])
        layer = question.__qualname__.partition(".")[0]
        raise UsageError(
            f"{fault.word}: {name} returned {verdict!r:.100}, which is no verdict on that question; "
            f"a {layer} returns {', '.join(others)} or {last} there"
        )
    return verdict


def strike_connection(fault: ConnectionFault, connection: StruckConnection) -> None:
    """Strike one connection.

    Raises:
        UsageError: If the fault raises.
    """
    with _naming(fault, "strike"):
        fault.strike(connection)


def strike_simulation(fault: SimulationFault, simulation: StruckSimulation) -> None:
    """Strike the simulation.

    Raises:
        UsageError: If the fault raises.
    """
    with _naming(fault, "strike"):
        fault.strike(simulation)


def hinder(fault: ProgramFault, programs: StruckPrograms) -> None:
    """Let a fault begin to hinder a program.

    Raises:
        UsageError: If the fault raises.
    """
    with _naming(fault, "hinder"):
        fault.hinder(programs)


@contextmanager
def _naming(fault: Fault, method: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _failed(fault, method, error) from error


def _failed(fault: Fault, method: str, error: Exception) -> UsageError:
    if isinstance(error, UsageError):
        return UsageError(f"{fault.word}: {error}")
    return UsageError(f"{fault.word}: {method} raised {type(error).__name__}: {error}")
