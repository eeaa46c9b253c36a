"""What to write in place of names that programs try in vain at the package of faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from simulator.spellings import answered, each

__all__ = ["SPELLINGS", "missing"]

SPELLINGS: dict[str, str] = {
    **each("disconnect kick close cut abort", "reset(name), drop(name), or leave(name)"),
    **each("kill stop terminate", "crash(program), of one that sim.spawn began"),
    **each("delay lag slow_network jitter", "latency(law, name)"),
    **each("slow", "slow_program(program, factor=…), or latency(law, name) for its connections"),
    **each("split netsplit isolate network_partition disconnect_all", "partition(names)"),
    **each("freeze hang stall suspend", "pause(name, seconds), or pause_program(program, seconds)"),
    **each(
        "lose loss drop_messages drop_packets packet_loss", "block(sender, to, loses=True): connections lose nothing"
    ),
    **each("bandwidth rate_limit limit", "throttle(name, bandwidth)"),
    **each("reject refuse", "reject_streams(name), or refuse_connect(name)"),
    **each("error errors fail failure", "error_replies(name, code)"),
    **each("timeout no_reply silence", "late_replies(name, seconds), or half_open(name)"),
    **each("skew clock clock_skew", "skew_clock(program, seconds)"),
    **each("reboot restart_room restart_server", "restart(down=seconds)"),
    **each("reconnect heal repair", "nothing: clients come back by themselves; what is lasting ends with during"),
    **each("after when once schedule", "at(seconds, fault), or on(event).do(fault)"),
    **each("until between", "during(start, end, fault)"),
    **each("repeat periodically", "every(interval, fault)"),
    **each("always now", "the fault by itself, which holds from now on"),
    **each("end stop_all clear", "quiet(after=seconds)"),
}

missing: Callable[[str], NoReturn] = answered("simulator.faults", SPELLINGS)
"""The face's ``__getattr__``."""
