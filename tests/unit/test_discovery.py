"""Which files of emulators are believed, where they lie, and what is left of emulators that were killed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshsync import discovery
from meshsync.discovery import Registry, RunningEmulator, System, announce, choose, find_emulator, find_emulators, only
from meshsync.errors import UsageError

URL = "ws://127.0.0.1:6374"
ENV = {"MESHAGENT_API_URL": "http://127.0.0.1:6374", "MESHAGENT_SECRET": "a 'secret'"}


class ScriptedSystem(System):
    """A machine whose users, processes and directories a test decides on."""

    def __init__(self, root: Path, *, is_windows: bool = False, host: str = "here") -> None:
        super().__init__()
        self.home, self.temporary, self.host = str(root / "home"), str(root / "tmp"), host
        for path in (self.home, self.temporary):
            Path(path).mkdir(mode=0o700, exist_ok=True)
        self.environ: dict[str, str] = {}
        if is_windows:
            self.user = None
        self.processes: dict[int, str] = {}
        """Each process with what tells it from others; empty texts where the system does not."""
        self.answering: dict[str, bool | None] = {}
        self.addresses = {"127.0.0.1", "::1", "localhost"}

    def process(self, pid: int) -> str | None:
        """Return what the test has put down."""
        return self.processes.get(pid)

    def answers(self, url: str) -> bool | None:
        """Return what the test has put down; nothing is connected to."""
        return self.answering.get(url)

    def has_address(self, host: str) -> bool:
        """Return what the test has put down; no name is looked up."""
        return host in self.addresses

    def directory(self, *parts: str) -> Path:
        """Make a directory that only this user may use."""
        path = Path(*parts)
        path.mkdir(mode=0o700, exist_ok=True)
        return path


@pytest.fixture
def system(tmp_path: Path) -> ScriptedSystem:
    """Return a machine with a home, on which process 7 runs."""
    system = ScriptedSystem(tmp_path)
    system.processes[7] = "7 at dawn"
    return system


def emulator(url: str = URL, pid: int = 7, started: float = 1_000.0) -> RunningEmulator:
    """Return an emulator as it announces itself."""
    return RunningEmulator(url, pid, started, ENV)


def announced(system: System, running: RunningEmulator | None = None) -> Path:
    """Announce an emulator, and return its file."""
    path = Registry(system).announce(running or emulator())
    assert path is not None
    return path


# --- what is written --------------------------------------------------------------------------------------------------


def test_announced_emulator_is_found_with_all_that_clients_need(system: ScriptedSystem) -> None:
    """What was written is what is read."""
    announced(system)
    assert Registry(system).find() == (emulator(),)


def test_file_and_directory_are_private_whatever_the_umask(system: ScriptedSystem) -> None:
    """Mode 0600 in a directory of mode 0700."""
    before = os.umask(0)
    try:
        path = announced(system)
    finally:
        os.umask(before)
    assert (path.stat().st_mode & 0o7777, path.parent.stat().st_mode & 0o7777) == (0o600, 0o700)


def test_secret_is_shown_by_no_text(system: ScriptedSystem) -> None:
    """Neither in a log of the object nor in an error that lists it."""
    announced(system)
    (found,) = Registry(system).find()
    assert "secret" not in f"{found!r} {found}"


def test_nothing_else_is_left_beside_the_file(system: ScriptedSystem) -> None:
    """The file under which it was written has been renamed."""
    path = announced(system)
    assert list(path.parent.iterdir()) == [path]


def test_failed_writing_leaves_nothing(system: ScriptedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is removed, in each directory that was tried."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert Registry(system).announce(emulator()) is None
    assert [path for path in Path(system.home).parent.rglob("*") if path.is_file()] == []


# --- where it lies ----------------------------------------------------------------------------------------------------


def test_runtime_directory_is_preferred(system: ScriptedSystem, tmp_path: Path) -> None:
    """The one that is cleared when the user logs out."""
    system.environ["XDG_RUNTIME_DIR"] = str(system.directory(str(tmp_path), "run"))
    assert announced(system).parent == tmp_path / "run" / "meshsync-emulators"


def test_without_it_the_file_lies_in_the_cache(system: ScriptedSystem, tmp_path: Path) -> None:
    """Which is made where it is missing."""
    assert announced(system).parent == tmp_path / "home" / ".cache" / "meshsync-emulators"


def test_cache_may_be_elsewhere(system: ScriptedSystem, tmp_path: Path) -> None:
    """Where the variable of the XDG base directories says."""
    system.environ["XDG_CACHE_HOME"] = str(system.directory(str(tmp_path), "cache"))
    assert announced(system).parent == tmp_path / "cache" / "meshsync-emulators"


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_runtime_directory_in_which_others_may_write_is_not_used(
    system: ScriptedSystem, tmp_path: Path, mode: int
) -> None:
    """They could put a directory of theirs in the place of this user's."""
    run = system.directory(str(tmp_path), "run")
    run.chmod(mode)
    system.environ["XDG_RUNTIME_DIR"] = str(run)
    assert announced(system).parent.parent.name == ".cache"


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_CACHE_HOME"])
def test_directory_that_is_missing_is_neither_used_nor_made(
    system: ScriptedSystem, tmp_path: Path, variable: str
) -> None:
    """Whoever named it has erred; only the usual cache is made in a home."""
    system.environ[variable] = str(tmp_path / "missing")
    announced(system)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("run", ["run", ""])
def test_relative_runtime_directory_is_not_used(system: ScriptedSystem, run: str) -> None:
    """It depends on where a program is started. Source: XDG base directory specification."""
    system.environ["XDG_RUNTIME_DIR"] = run
    assert announced(system).parent.parent.name == ".cache"


@pytest.mark.parametrize("home", ["~", "/nowhere/at/all"])
def test_without_a_home_the_file_lies_in_the_temporary_directory(
    system: ScriptedSystem, tmp_path: Path, home: str
) -> None:
    """Under a name with the user's number; and a home that is missing is not made."""
    system.home = home
    assert announced(system).parent == tmp_path / "tmp" / f"meshsync-emulators-{os.geteuid()}"
    assert not Path("/nowhere").exists()


def test_home_that_cannot_be_written_in_is_not_used(
    system: ScriptedSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose file system is read-only but for the temporary directory."""
    mkdir = Path.mkdir

    def mkdir_outside_of_home(path: Path, mode: int = 0o777, **options: bool) -> None:
        if Path(system.home) in path.parents:
            raise OSError(30, "Read-only file system")
        mkdir(path, mode, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir_outside_of_home)
    assert announced(system).parent.parent == tmp_path / "tmp"


def test_home_of_another_user_is_left_alone(system: ScriptedSystem, tmp_path: Path) -> None:
    """With sudo HOME may still name it, and this user's files would be in that user's way."""
    system.user = os.geteuid() + 1
    assert Registry(system).announce(emulator()) is None
    assert list((tmp_path / "home").iterdir()) == []


def test_windows_has_its_own_place(tmp_path: Path) -> None:
    """The user's local application data; modes tell nothing there."""
    system = ScriptedSystem(tmp_path, is_windows=True)
    system.processes[7] = ""
    system.answering[URL] = True
    system.environ["LOCALAPPDATA"] = str(tmp_path / "home")
    path = announced(system)
    path.chmod(0o666)
    path.parent.chmod(0o777)
    assert path.parent == tmp_path / "home" / "meshsync-emulators"
    assert Registry(system).find() == (emulator(),)


def test_no_place_at_all_is_one_warning(system: ScriptedSystem, caplog: pytest.LogCaptureFixture) -> None:
    """It says what was tried, and that the emulator serves."""
    system.home = "~"
    system.temporary = "/nowhere"
    with caplog.at_level(logging.WARNING):
        assert Registry(system).announce(emulator()) is None
    (record,) = caplog.records
    assert record.getMessage() == (
        'the emulator at ws://127.0.0.1:6374 serves, but is not found by url="emulator": '
        f"/nowhere/meshsync-emulators-{os.geteuid()}: No such file or directory"
    )


def test_directory_that_others_may_read_is_not_used(system: ScriptedSystem, tmp_path: Path) -> None:
    """Neither to write in nor to read from: the next place is."""
    path = announced(system)
    path.parent.chmod(0o755)
    assert Registry(system).find() == ()
    assert announced(system).parent.parent == tmp_path / "tmp"


def test_directory_that_is_a_link_is_not_used(system: ScriptedSystem, tmp_path: Path) -> None:
    """It may lead to another user's."""
    path = announced(system)
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.symlink_to(tmp_path / "elsewhere")
    assert Registry(system).find() == ()
    assert announced(system).parent.parent == tmp_path / "tmp"


def test_cache_may_be_a_link(system: ScriptedSystem, tmp_path: Path) -> None:
    """Homes are small in some places, and the cache lies on another disk."""
    system.directory(str(tmp_path), "disk")
    Path(system.home, ".cache").symlink_to(tmp_path / "disk")
    assert announced(system).resolve().parent.parent == tmp_path / "disk"


# --- what is believed -------------------------------------------------------------------------------------------------


def spoil(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return what changes the data in a file."""

    def spoil_file(path: Path) -> None:
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return spoil_file


def replace_by_pipe(path: Path) -> None:
    """Put in its place what a reader would wait at."""
    path.unlink()
    os.mkfifo(path, 0o600)


def replace_by_link(path: Path) -> None:
    """Put in its place a link to a file that could be believed."""
    path.rename(path.parent.parent / "target")
    path.symlink_to(path.parent.parent / "target")


def replace_by_directory(path: Path) -> None:
    """Put a directory in its place."""
    path.unlink()
    path.mkdir(0o700)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "others may read it": lambda path: path.chmod(0o604),
    "the group may write it": lambda path: path.chmod(0o620),
    "a link": replace_by_link,
    "a pipe": replace_by_pipe,
    "a directory": replace_by_directory,
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "no UTF-8": lambda path: path.write_bytes(b"\xff"),
    "deep": lambda path: path.write_text("[" * 60_000),
    "a list": lambda path: path.write_text("[]"),
    "large": spoil(lambda data: data.update(more="x" * 65_536)),
    "a later format": spoil(lambda data: data.update(format=2)),
    "no process": spoil(lambda data: data.pop("pid")),
    "process 0": spoil(lambda data: data.update(pid=0)),
    "a process group": spoil(lambda data: data.update(pid=-1)),
    "a large number": spoil(lambda data: data.update(pid=2**31)),
    "no number": spoil(lambda data: data.update(pid=True)),
    "no time": spoil(lambda data: data.update(started=float("nan"))),
    "a late time": spoil(lambda data: data.update(started=1e300)),
    "a text as time": spoil(lambda data: data.update(started="now")),
    "another machine": spoil(lambda data: data.update(url="ws://203.0.113.5:6374")),
    "no address": spoil(lambda data: data.update(url="ws://[::1")),
    "no port": spoil(lambda data: data.update(url="ws://127.0.0.1")),
    "a port that is none": spoil(lambda data: data.update(url="ws://127.0.0.1:70000")),
    "TLS": spoil(lambda data: data.update(url="wss://127.0.0.1:6374")),
    "a path": spoil(lambda data: data.update(url="ws://127.0.0.1:6374/rooms/lab")),
    "a user": spoil(lambda data: data.update(url="ws://ada@127.0.0.1:6374")),
    "a variable of another program": spoil(lambda data: data["env"].update(PATH="/tmp")),
    "a value that is no text": spoil(lambda data: data["env"].update(MESHAGENT_SECRET=["x"])),
    "a value with a zero byte": spoil(lambda data: data["env"].update(MESHAGENT_SECRET="a\0b")),
    "variables that are none": spoil(lambda data: data.update(env=["MESHAGENT_SECRET"])),
    "a mark that is no text": spoil(lambda data: data.update(process=1)),
    "a host that is no text": spoil(lambda data: data.update(host=None)),
}


@pytest.mark.parametrize("spoil_file", FOREIGN.values(), ids=FOREIGN)
def test_foreign_file_is_ignored_and_left_alone(system: ScriptedSystem, spoil_file: Callable[[Path], object]) -> None:
    """It is none of an emulator of this user and this machine; the next emulator does not remove it."""
    path = announced(system)
    assert Registry(system).find() == (emulator(),)
    spoil_file(path)
    assert Registry(system).find() == ()
    system.processes.clear()
    system.processes[8] = "8 at dawn"
    announced(system, emulator(pid=8))
    assert os.path.lexists(path)


def test_file_of_another_user_is_ignored(system: ScriptedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even in a directory of this user."""
    path = announced(system)
    fstat = os.fstat

    def fstat_of_another_user(descriptor: int) -> os.stat_result:
        status = list(fstat(descriptor))
        status[4] = os.geteuid() + 1
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat_of_another_user)
    assert Registry(system).find() == ()
    assert path.exists()


# --- what is gone -----------------------------------------------------------------------------------------------------


def test_file_of_a_dead_emulator_is_ignored_and_removed_by_the_next(system: ScriptedSystem) -> None:
    """Looking for emulators removes nothing."""
    dead = announced(system)
    system.processes = {8: "8 at dawn"}
    assert Registry(system).find() == ()
    assert dead.exists()
    announced(system, emulator(pid=8))
    assert not dead.exists()
    assert Registry(system).find() == (emulator(pid=8),)


def test_another_process_with_the_same_id_is_no_emulator(system: ScriptedSystem) -> None:
    """The system tells when each was started; nothing is asked over the network."""
    announced(system)
    system.processes[7] = "7 at noon"
    system.answering[URL] = True
    assert Registry(system).find() == ()


@pytest.mark.parametrize(
    ("answer", "is_found", "is_kept"), [(True, True, True), (False, False, False), (None, False, True)]
)
def test_where_start_times_are_not_told_the_emulator_has_to_answer(
    system: ScriptedSystem, answer: bool | None, is_found: bool, is_kept: bool
) -> None:
    """Where nothing listens it is gone; where nothing answers in time it may be busy, so its file stays."""
    system.processes[7] = ""
    path = announced(system)
    system.answering[URL] = answer
    assert bool(Registry(system).find()) is is_found
    announced(system, emulator("ws://127.0.0.1:6375"))
    assert path.exists() is is_kept


def test_file_of_another_machine_that_shares_the_home_is_left_alone(system: ScriptedSystem, tmp_path: Path) -> None:
    """There the process may run."""
    other = announced(system)
    here = ScriptedSystem(tmp_path, host="other")
    here.processes[8] = "8 at dawn"
    announced(here, emulator(pid=8))
    assert other.exists()
    assert Registry(here).find() == (emulator(pid=8),)


def test_what_a_killed_emulator_had_begun_to_write_is_removed(system: ScriptedSystem) -> None:
    """A minute later; what is being written now is not."""
    directory = announced(system).parent
    old, new = directory / "5-old.tmp", directory / "6-new.tmp"
    old.touch()
    new.touch()
    os.utime(old, (1_000, 1_000))
    announced(system)
    assert (old.exists(), new.exists()) == (False, True)


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_several_are_listed_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With address, process and time, and with the way to choose one."""
    monkeypatch.setattr(discovery.time, "localtime", discovery.time.gmtime)
    with pytest.raises(UsageError) as caught:
        choose((emulator(), emulator("ws://127.0.0.1:6375", 8, 2_000)))
    assert str(caught.value) == (
        "2 emulators of this user run on this machine: ws://127.0.0.1:6374 (process 7, since 1970-01-01 00:16:40), "
        "ws://127.0.0.1:6375 (process 8, since 1970-01-01 00:33:20); choose one by its port, as "
        'url="emulator:6374" (--port 6374)'
    )


def test_one_of_several_is_chosen_by_its_port() -> None:
    """Whichever is older."""
    running = (emulator(), emulator("ws://127.0.0.1:6375", 8, 2_000))
    assert choose(running, 6375) is running[1]


def test_none_says_how_to_start_one() -> None:
    """And a port at which none listens says which there are."""
    with pytest.raises(UsageError, match=r"no emulator of this user runs .* 'python -m simulator serve'"):
        choose(())
    with pytest.raises(
        UsageError, match=r"listens on port 1 of this machine; there is ws://127.0.0.1:6374 \(process 7,"
    ):
        choose((emulator(),), 1)


def test_emulators_come_in_the_order_of_their_start(system: ScriptedSystem) -> None:
    """Whatever their files are called, and once each though one file should lie in two places."""
    system.processes[8] = system.processes[9] = "at noon"
    for pid, started in ((8, 3_000.0), (7, 2_000.0), (9, 1_000.0)):
        announced(system, emulator(pid=pid, started=started))
    assert [found.pid for found in Registry(system).find()] == [9, 7, 8]


# --- the only one -----------------------------------------------------------------------------------------------------


def test_program_with_an_emulator_of_its_own_finds_no_other(system: ScriptedSystem) -> None:
    """Though others run."""
    announced(system)
    system.environ.update(only("ws://127.0.0.1:6375", ENV))
    (found,) = Registry(system).find()
    assert (found.url, dict(found.env), found.pid) == ("ws://127.0.0.1:6375", ENV, os.getpid())


@pytest.mark.parametrize(
    "text", ["", "x", "ws://127.0.0.1:6375", "\udc80", only("ws://203.0.113.5:6374", ENV)["MESHSYNC_EMULATOR"]]
)
def test_variable_that_is_no_emulator_of_this_machine_is_ignored(system: ScriptedSystem, text: str) -> None:
    """Files are looked for, as without it."""
    announced(system)
    system.environ["MESHSYNC_EMULATOR"] = text
    assert Registry(system).find() == (emulator(),)


# --- this machine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this process, and those that it starts, a runtime directory of its own; return where files lie."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "meshsync-emulators"


def test_announcement_ends_with_its_block(private: Path) -> None:
    """An error in the block changes nothing about that."""
    with pytest.raises(ZeroDivisionError), announce(URL, ENV):
        found = find_emulator()
        assert (found.url, found.pid, dict(found.env)) == (URL, os.getpid(), ENV)
        raise ZeroDivisionError
    assert find_emulators() == ()
    assert list(private.iterdir()) == []


FORK = """
import os
from meshsync.discovery import announce, find_emulators
try:
    with announce("ws://127.0.0.1:1", {"MESHAGENT_SECRET": "x"}):
        child = os.fork()
        if not child:
            raise SystemExit  # leaves the block, as the child's copy of it
        os.waitpid(child, 0)
        print(len(find_emulators()), end=" ")
finally:
    print(len(find_emulators()), end=" ")
"""


def test_child_process_does_not_end_it(private: Path) -> None:
    """One that was forked in the block and leaves it: it still finds the emulator, as does its parent."""
    result = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "1", "0"]


def test_file_that_is_gone_already_is_no_error(private: Path) -> None:
    """Whoever clears the directory has done what the end would do."""
    with announce(URL, ENV):
        for path in private.iterdir():
            path.unlink()
    assert find_emulators() == ()


def test_address_of_another_machine_is_not_announced(private: Path, caplog: pytest.LogCaptureFixture) -> None:
    """203.0.113.0/24 is nowhere. Source: RFC 5737."""
    with announce("ws://203.0.113.5:6374", ENV):
        assert find_emulators() == ()
    assert "ws://203.0.113.5:6374 is no address of this machine" in caplog.text


ANNOUNCE = """
import sys
from meshsync.discovery import announce
with announce(f"ws://127.0.0.1:{sys.argv[1]}", {"MESHAGENT_SECRET": "x"}):
    print("announced", flush=True)
    sys.stdin.read()
"""


def start(port: int) -> subprocess.Popen[str]:
    """Start a process that announces an emulator until its standard input ends."""
    command = [sys.executable, "-c", ANNOUNCE, str(port)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_killed_emulator_is_found_no_more_even_before_it_is_waited_for(private: Path) -> None:
    """Until then its process is there, as a zombie. The next emulator removes what it has left."""
    with start(1) as killed, start(2) as other:
        assert killed.stdout is not None and other.stdout is not None
        assert (killed.stdout.readline(), other.stdout.readline()) == ("announced\n", "announced\n")
        assert {found.port for found in find_emulators()} == {1, 2}
        killed.kill()
        killed.stdout.read()  # ends with the process
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        assert [found.pid for found in find_emulators()] == [other.pid]
        assert len(list(private.iterdir())) == 2
        with announce(URL, ENV):
            assert len(list(private.iterdir())) == 2
        other.communicate()
    assert list(private.iterdir()) == []


def test_emulators_that_start_at_once_are_all_found(private: Path) -> None:
    """None is in the way of another, though the directory is missing at first."""
    processes = [start(port) for port in range(1, 6)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "announced\n"
    assert {found.pid for found in find_emulators()} == {process.pid for process in processes}
    for process in processes:
        process.communicate()
    assert list(private.iterdir()) == []


def test_this_process_differs_from_every_other() -> None:
    """By its start time, where the system tells; a process that is not there is none."""
    system = System()
    own = system.process(os.getpid())
    assert own is not None and own == system.process(os.getpid())
    assert own == "" or own != system.process(os.getppid())
    assert system.process(2**30) is None


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("203.0.113.5", False),
        ("8.8.8.8", False),
        ("", False),
    ],
)
def test_addresses_of_this_machine_are_known(host: str, is_here: bool) -> None:
    """By listening at them, which sends nothing."""
    assert System().has_address(host) is is_here
