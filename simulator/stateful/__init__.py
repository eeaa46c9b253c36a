"""Concurrent stateful testing with Hypothesis: rules that several participants run at once, in one simulation.

::

    from hypothesis import strategies as st
    from simulator.stateful import ConcurrentMachine, rule

    class Accounts(ConcurrentMachine):
        @rule(amount=st.integers(1, 3))
        def deposit(self, me, amount):
            ...

    TestAccounts = Accounts.TestCase

``docs/stateful.md`` has the whole of it.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "simulator.stateful needs Hypothesis: pip install 'meshsync-client[stateful]'", name="hypothesis"
    ) from _error

from simulator.stateful.machine import ConcurrentMachine, run_as_test
from simulator.stateful.members import Member
from simulator.stateful.rules import Bundle, by, consumes, invariant, multiple, precondition, rule

__all__ = [
    "Bundle",
    "ConcurrentMachine",
    "Member",
    "by",
    "consumes",
    "invariant",
    "multiple",
    "precondition",
    "rule",
    "run_as_test",
]
