"""Faults and fault plans of a simulation, as data, and the injector that carries them out.

Programs make them with the functions here: ``sim.plan(faults.during(2, 6, faults.partition({"bob"})))``.

To add a kind of fault, write a module in `simulator.faults.kinds`, or a class in a program of your own. The class is a
frozen dataclass under ``@register`` (`simulator.faults.registry`) that derives from the class of its layer
(`simulator.faults.layers`, which has the verdicts too), has a ``word``, fields with a check each
(`simulator.faults.fields`), and methods for its effect: ``strike``, or the verdicts that it gives::

    from dataclasses import dataclass, field
    from typing import ClassVar

    from simulator.faults import fields
    from simulator.faults.layers import PASS, ConnectionFault, Limit, NetworkFault, Pass, StruckConnection
    from simulator.faults.registry import register

    @register
    @dataclass(frozen=True, slots=True)
    class Evict(ConnectionFault):
        word: ClassVar[str] = "evict"
        name: str = field(metadata=fields.name)

        def strike(self, connection: StruckConnection) -> None:
            connection.close(4000, "evicted")

    @register
    @dataclass(frozen=True, slots=True)
    class Narrow(NetworkFault):
        word: ClassVar[str] = "narrow"
        bandwidth: float = field(metadata=fields.number(is_zero_fine=False))

        def on_link(self, name: str) -> Pass | Limit:
            return Limit(self.bandwidth) if name else PASS

    plan = [at(2, Evict("bob")), during(3, 9, Narrow(5000))]

Plans, replay files, transcripts and charts then know the kind. ``kinds/partition.py`` is another example; the function
there that makes the fault has the docstring for users, and is imported below.
"""

from typing import TYPE_CHECKING

from simulator.faults.fault import Fault, happens
from simulator.faults.kinds.block import block
from simulator.faults.kinds.connecting import delay_connect, refuse_connect
from simulator.faults.kinds.crash import crash
from simulator.faults.kinds.drop import drop
from simulator.faults.kinds.half_open import half_open
from simulator.faults.kinds.join import join
from simulator.faults.kinds.latency import latency
from simulator.faults.kinds.leave import leave
from simulator.faults.kinds.offers import delay_accept, reject_streams
from simulator.faults.kinds.partition import partition
from simulator.faults.kinds.pause import pause
from simulator.faults.kinds.programs import pause_program, skew_clock, slow_program
from simulator.faults.kinds.pushes import malformed_push, oversized_push
from simulator.faults.kinds.replies import error_replies, late_replies
from simulator.faults.kinds.reset import reset
from simulator.faults.kinds.restart import restart
from simulator.faults.kinds.throttle import throttle
from simulator.faults.plans import (
    EVENTS,
    At,
    During,
    Every,
    On,
    Planned,
    Quiet,
    Trigger,
    at,
    during,
    every,
    from_json,
    names,
    on,
    quiet,
    to_json,
)

__all__ = [
    "EVENTS",
    "At",
    "During",
    "Every",
    "Fault",
    "On",
    "Planned",
    "Quiet",
    "Trigger",
    "at",
    "block",
    "crash",
    "delay_accept",
    "delay_connect",
    "drop",
    "during",
    "error_replies",
    "every",
    "from_json",
    "half_open",
    "happens",
    "join",
    "late_replies",
    "latency",
    "leave",
    "malformed_push",
    "names",
    "on",
    "oversized_push",
    "partition",
    "pause",
    "pause_program",
    "quiet",
    "refuse_connect",
    "reject_streams",
    "reset",
    "restart",
    "skew_clock",
    "slow_program",
    "throttle",
    "to_json",
]

if not TYPE_CHECKING:  # To type checkers a wrong name is wrong.
    from simulator.faults.spellings import missing as _missing

    __getattr__ = _missing
