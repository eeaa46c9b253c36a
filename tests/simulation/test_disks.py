"""Disks that outlive the lives of programs: what was written at the instant of a crash counts, and nothing later."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import meshsync
from meshsync.runtime.interfaces import TaskExit
from simulator import Simulation, faults
from tests.support.worlds import simulated


def content(disk: Path) -> dict[str, str]:
    """Return the content of each file, by path."""
    files = (path for path in sorted(disk.rglob("*")) if path.is_file())
    return {path.relative_to(disk).as_posix(): path.read_text() for path in files}


def crashed(program: Callable[[Simulation, Path], None], how: str = "process") -> dict[str, str]:
    """Return what is on the disk of a program that waits for ever at its end, when that has crashed."""

    def run(sim: Simulation) -> None:
        program(sim, sim.disk("server"))
        meshsync.sleep(1e9)

    with simulated() as sim:
        sim.spawn(run, sim, name="server")
        sim.sleep(1)
        assert sim.crash("server", how) is not None
        return content(sim.disk("server"))


def write(path: Path, text: str, *, sync: bool = False) -> None:
    """Write a file whole."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


# --- a process --------------------------------------------------------------------------------------------------------


def test_what_was_flushed_or_closed_counts_and_what_was_not_does_not() -> None:
    """The file objects are in a frame that unwinds, which closes them, and so flushes."""

    def program(sim: Simulation, disk: Path) -> None:
        write(disk / "closed", "closed")
        flushed, buffered = (disk / "flushed").open("w"), (disk / "buffered").open("w")
        flushed.write("flushed")
        flushed.flush()
        flushed.write(", and more")
        buffered.write("never")
        with flushed, buffered:
            meshsync.sleep(1e9)

    assert crashed(program) == {"closed": "closed", "flushed": "flushed", "buffered": ""}


def test_what_unwinding_writes_renames_and_removes_is_undone() -> None:
    """By the names of files, in ``finally`` blocks."""

    def program(sim: Simulation, disk: Path) -> None:
        for name in ("kept", "changed", "removed", "renamed"):
            write(disk / name, name)
        (disk / "below").mkdir()
        write(disk / "below" / "deep", "deep")
        try:
            meshsync.sleep(1e9)
        finally:
            write(disk / "changed", "by unwinding")
            write(disk / "new", "by unwinding")
            (disk / "removed").unlink()
            (disk / "renamed").rename(disk / "kept")
            (disk / "below" / "deep").unlink()
            (disk / "below").rmdir()
            write(disk / "below", "a file now")

    assert crashed(program) == {
        "below/deep": "deep",
        "changed": "changed",
        "kept": "kept",
        "removed": "removed",
        "renamed": "renamed",
    }


@pytest.mark.parametrize("by", ["itself", "a timer", "a plan", "another"])
def test_it_is_undone_whoever_lets_it_crash(by: str) -> None:
    """Also where the life unwinds when the crash is over, as in a callback, or in the call itself."""

    def program(sim: Simulation) -> None:
        disk = sim.disk("server")
        write(disk / "file", "before")
        try:
            meshsync.sleep(1)
            if by == "itself":
                sim.crash("server")
            meshsync.sleep(1e9)
        finally:
            write(disk / "file", "by unwinding")

    with simulated() as sim:
        sim.spawn(program, sim, name="server")
        if by == "a timer":
            sim.kernel.after(1, lambda: sim.crash("server"))
        elif by == "a plan":
            sim.plan(faults.at(1, faults.crash("server")))
        elif by == "another":
            sim.spawn(lambda: (meshsync.sleep(1), sim.crash("server")))
        sim.sleep(2)
        assert len(sim.crashes) == 1
        assert content(sim.disk("server")) == {"file": "before"}


def test_a_file_that_a_dead_life_leaves_open_writes_nothing_later() -> None:
    """Its object outlives the life, as in a global; its buffer goes nowhere when that is closed."""
    held = []

    def program(sim: Simulation) -> None:
        file = (sim.disk("server") / "log").open("a")
        file.write("flushed;")
        file.flush()
        file.write("buffered;")
        held.append(file)
        meshsync.sleep(1e9)

    with simulated() as sim:
        sim.spawn(program, sim, name="server")
        sim.sleep(1)
        sim.crash("server")
        sim.restart("server")
        sim.sleep(1)
        held[0].close()
        assert content(sim.disk("server")) == {"log": "flushed;flushed;"}
        held[1].close()
        assert content(sim.disk("server")) == {"log": "flushed;flushed;buffered;"}


def test_files_of_a_disk_of_others_stay_open_for_them() -> None:
    """A program that lives goes on writing to its file, though a life that unwinds wrote to that disk as well."""

    def survivor(sim: Simulation) -> None:
        with (sim.disk("store") / "mine").open("w") as file:
            for number in range(3):
                file.write(f"{number};")
                file.flush()
                meshsync.sleep(1)

    def program(sim: Simulation) -> None:
        try:
            meshsync.sleep(1e9)
        finally:
            write(sim_disk[0] / "mine", "by unwinding")
            write(sim_disk[0] / "theirs", "by unwinding")

    sim_disk = list[Path]()
    with simulated() as sim:
        sim_disk.append(sim.disk("store"))
        sim.spawn(survivor, sim, name="survivor")
        sim.spawn(program, sim, name="server")
        sim.sleep(1.5)
        sim.crash("server", "machine")
        sim.sleep(5)
        assert content(sim.disk("store")) == {"mine": "0;1;2;"}


# --- a machine --------------------------------------------------------------------------------------------------------


def test_only_what_was_synchronized_survives_its_machine() -> None:
    """Contents count from ``os.fsync``, names at once; what was written to a file behind it is lost."""

    def program(sim: Simulation, disk: Path) -> None:
        write(disk / "synced", "synced", sync=True)
        write(disk / "flushed", "flushed")
        write(disk / "replaced", "old", sync=True)
        write(disk / "temporary", "new", sync=True)
        (disk / "temporary").replace(disk / "replaced")
        write(disk / "unsynced", "new")
        (disk / "unsynced").replace(disk / "empty")
        write(disk / "removed", "removed", sync=True)
        (disk / "removed").unlink()
        with (disk / "appended").open("a") as file:
            file.write("one;")
            file.flush()
            os.fsync(file)
            file.write("two;")

    assert crashed(program, "machine") == {
        "appended": "one;",
        "empty": "",
        "flushed": "",
        "replaced": "new",
        "synced": "synced",
    }
    assert crashed(program)["appended"] == "one;two;"


def test_what_was_synchronized_stays_so_over_crashes() -> None:
    """Of a process, which gives each file a new inode, and then of the machine, twice."""

    def program(sim: Simulation) -> None:
        path = sim.disk("server") / "log"
        with path.open("a") as file:
            file.write("life;")
            file.flush()
            if len(sim.crashes) != 1:
                os.fsync(file.fileno())
            meshsync.sleep(1e9)

    with simulated() as sim:
        sim.spawn(program, sim, name="server")
        seen = []
        for how in ("process", "machine", "machine", "process"):
            sim.sleep(1)
            sim.crash("server", how)
            seen.append(content(sim.disk("server"))["log"])
            sim.restart("server")
        assert seen == ["life;", "life;", "life;" * 2, "life;" * 3]


def test_the_inode_of_a_removed_file_gives_another_no_content() -> None:
    """A new file may get it; what was never synchronized is empty behind a crash of the machine all the same."""

    def program(sim: Simulation, disk: Path) -> None:
        for number in range(20):
            write(disk / "file", f"{number}", sync=True)
            (disk / "file").unlink()
        write(disk / "file", "never synchronized")

    assert crashed(program, "machine") == {"file": ""}


# --- directories ------------------------------------------------------------------------------------------------------


def test_disks_are_told_apart_and_begin_empty_and_go() -> None:
    """Each simulation has its own; a name may be any text; ``of`` names the program on whose machine it is."""
    with simulated() as sim:
        disks = [sim.disk(name) for name in ("a", "b", "../é/ x", "")]
        assert len(set(disks)) == 4
        assert all(disk.is_dir() and not content(disk) for disk in disks)
        assert sim.disk("a") == disks[0]
        write(disks[0] / "file", "there")
        shared = sim.disk("wal", of="server")
        assert sim.disk("wal") == shared == sim.disk("wal", of="server")
        with pytest.raises(ValueError, match="of: disk 'wal' belongs to 'server' already, not to 'other'"):
            sim.disk("wal", of="other")
        sync = os.fsync
    assert os.fsync is not sync
    assert not disks[0].parent.exists()
    with simulated() as sim:
        assert content(sim.disk("a")) == {}


def test_the_disk_that_a_program_is_given_is_its_own_by_of() -> None:
    """So that the crash of its machine loses what was not synchronized there."""

    def program(disk: Path) -> None:
        write(disk / "file", "flushed")
        meshsync.sleep(1e9)

    with simulated() as sim:
        sim.spawn(program, sim.disk("wal", of="server"), name="server")
        sim.sleep(1)
        sim.crash("server", "machine")
        assert content(sim.disk("wal")) == {"file": ""}


def test_links_and_special_files_are_no_trouble() -> None:
    """A link is restored as one, also where it leads nowhere; a pipe is left out."""

    def program(sim: Simulation, disk: Path) -> None:
        write(disk / "file", "text")
        (disk / "link").symlink_to("file")
        (disk / "nowhere").symlink_to("missing")
        if hasattr(os, "mkfifo"):
            os.mkfifo(disk / "pipe")
        try:
            meshsync.sleep(1e9)
        finally:
            (disk / "nowhere").unlink()

    assert crashed(program) == {"file": "text", "link": "text"}


def test_a_program_that_recovers_from_its_disk() -> None:
    """A counter that is synchronized before it is told loses nothing that was told, whenever its machine crashes."""
    told = list[int]()

    def counter(sim: Simulation) -> None:
        path = sim.disk("counter") / "value"
        value = int(path.read_text()) if path.exists() else 0
        while True:
            value += 1
            temporary = path.with_suffix(".new")
            write(temporary, str(value), sync=True)
            temporary.replace(path)
            told.append(value)
            meshsync.sleep(0.1)

    with simulated() as sim:
        sim.plan(*(faults.at(at, faults.crash("counter", "machine", restart_after=0.5)) for at in (1, 2.05, 3, 4)))
        sim.spawn(counter, sim, name="counter")
        sim.sleep(6)
    assert told == [*range(1, len(told) + 1)]
    assert len(told) > 30


def test_it_is_of_no_use_to_a_dead_life() -> None:
    """Asking for it raises `TaskExit`."""
    seen = list[str]()

    def program(sim: Simulation) -> None:
        try:
            meshsync.sleep(1e9)
        finally:
            with suppress(TaskExit):
                sim.disk("server")
                seen.append("got it")

    with simulated() as sim:
        sim.spawn(program, sim, name="server")
        sim.sleep(1)
        sim.crash("server")
    assert seen == []
