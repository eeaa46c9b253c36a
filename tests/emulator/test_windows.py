"""Both packages on a double of Windows: `select` for `poll`, no fork, no `flock`, few signals, files that stay.

What is run there is what runs everywhere, in a process of its own: `tests/support/windows.py` has to come first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUITES = (
    "tests/contract/test_transport.py",
    "tests/unit/files",
    "tests/emulator/test_client.py",
    "tests/simulation/test_determinism.py",
)
"""Sockets and their waiting, files, a client against an emulator, and simulations with their known digests."""

NOT_THERE = (
    # A file with two names is left by a transfer that links, and none does there.
    "tests/unit/files/test_exclusive.py::test_a_file_that_has_its_own_name_already_is_not_written_to",
    # Links, other users and named pipes, of which a program there meets none.
    "tests/unit/files/test_exclusive.py::test_what_is_no_file_of_this_user_is_left_alone",
    "tests/unit/files/test_transfer.py::test_a_pipe_is_refused_without_waiting_for_its_writer",
    # Seconds of computing that are the same everywhere, or in processes that are no double.
    "tests/unit/files/test_transfer.py::test_a_sparse_file_of_2_gib_takes_the_memory_of_a_few_chunks",
    "tests/simulation/test_determinism.py::test_twenty_runs_are_the_same_under_every_hash_seed",
    # The error is another one there.
    "tests/unit/files/test_transfer.py::test_a_path_that_is_no_file_opens_no_stream",
)
"""Tests of what only other systems have, and long ones."""


def run(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout, in which nothing of the packages is imported yet."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clients_files_and_simulations_work_there() -> None:
    """The tests of all that does something else there, but for those of what it does not have."""
    left_out = [argument for name in NOT_THERE for argument in ("--deselect", name)]
    options = ("-p", "tests.support.windows", "-p", "no:cacheprovider", "-q", *left_out)
    done = run("-m", "pytest", *options, *SUITES, timeout=590)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(rf"(\d+) passed, {len(NOT_THERE)} deselected", done.stdout)
    assert passed is not None and int(passed[1]) > 350, done.stdout[-500:]


def test_the_double_is_what_the_packages_see() -> None:
    """And what they see alone; it refuses what Windows refuses."""
    program = """
import os, select, sys, tempfile
import tests.support.windows
from meshsync.files import exclusive, partial_file
from meshsync.transport import acknowledgements, poller
from simulator.engine import os_process

assert (sys.platform, os.name) == ("linux", "posix") and hasattr(select, "poll") and hasattr(os, "fork")
assert (exclusive.sys.platform, partial_file.os.name) == ("win32", "nt")
assert not hasattr(poller.select, "poll") and not hasattr(os_process.os, "sched_setaffinity")
assert not hasattr(exclusive, "fcntl") and acknowledgements.unacknowledged(0) is None
with tempfile.NamedTemporaryFile() as file:
    for refused in (partial_file.os.unlink, lambda path: partial_file.os.replace(path, path + "x")):
        try:
            refused(file.name)
        except PermissionError:
            continue
        raise AssertionError("an open file was removed or renamed")
"""
    done = run("-c", program, timeout=50)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_emulator_run_there() -> None:
    """With the signals that there are; the program that ``exec`` starts connects."""
    program = """
import sys
import tests.support.windows
from simulator.cli.main import main
client = "import meshsync; print(meshsync.connect('lab', name='ada').state.name)"
main(["exec", "--port", "0", "--", sys.executable, "-c", client])
"""
    done = run("-c", program, timeout=50)
    assert (done.returncode, done.stdout) == (0, "ONLINE\n"), done.stderr
