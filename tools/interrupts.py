"""Find loops whose jump back to their beginning lies outside of the ``with`` or ``try`` around them.

Python 3.12 and 3.13 raise KeyboardInterrupt at such a jump, and leave out the jumps that end with a condition when they
write down what a ``with`` or ``try`` covers (python/cpython#130279): a lock stays held, a thread stays. Where the
condition comes first (``while True: if …: break``) or the loop is in a function of its own, nothing is left out.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType
from typing import Any


def uncovered(source: str, name: str) -> list[str]:
    """Return a line for each function with such a loop, as this Python compiles it; none before Python 3.11."""
    return [f"{name}: {code.co_name}" for code in _codes(compile(source, name, "exec")) if _jumps_out(code)]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _jumps_out(code: CodeType) -> bool:
    bytecode = dis.Bytecode(code)
    entries: list[Any] = getattr(bytecode, "exception_entries", [])
    if not entries:
        return False
    instructions = list(bytecode)
    opnames = {instruction.offset: instruction.opname for instruction in instructions}

    def handlers(offset: int) -> int:
        """Return how many ``with`` and ``try`` handle what is raised at a place."""
        found: list[int] = []
        while True:
            targets = [entry.target for entry in entries if entry.start <= offset < entry.end]
            if not targets or targets[0] in found:
                # Comprehensions and generators have handlers, too, which only clear up behind themselves.
                return [opnames[target] for target in found].count("PUSH_EXC_INFO")
            offset = targets[0]
            found.append(offset)

    # Behind a CLEANUP_THROW is what a generator does that an exception was thrown into, which is no loop.
    return any(
        handlers(jump.argval) > handlers(jump.offset)
        for before, jump in pairwise(instructions)
        if jump.opname == "JUMP_BACKWARD" and before.opname != "CLEANUP_THROW"
    )
