"""What is published: the source distribution, the wheel made from it, and both as they work away from a checkout.

It asks the package index for what the extras need, once; everything is then installed from one directory alone.
"""

from __future__ import annotations

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from meshsync import __version__

pytest.importorskip("build")

ROOT = Path(__file__).parents[2]
SOURCES = ("meshsync", "simulator", "README.md", "LICENSE", "setup.cfg", "pyproject.toml")
EXTRAS = "cli,crypto,emulator,files,speed"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command as from any directory, and return what it prints; it has to succeed."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "COV", "MESHAGENT_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what is built from, so that nothing is left in the checkout."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """Return the directory with the source distribution, and the wheel made from that."""
    run(sys.executable, "-m", "build", "--no-isolation", ".", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def binaries(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the programs of an environment with the package, its extras and pytest."""
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "pip", "wheel", "-q", "-w", dist, f"{wheel}[{EXTRAS}]", "pytest", "mypy", cwd=dist)
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", place, cwd=dist)
    binaries = place / ("Scripts" if os.name == "nt" else "bin")
    wanted = f"meshsync-client[{EXTRAS}]"
    offline = ("--no-index", "--find-links", dist)
    run(binaries / "python", "-m", "pip", "install", "-q", *offline, wanted, "pytest", "mypy", cwd=dist)
    return binaries


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a directory that is in no checkout."""
    assert ROOT not in tmp_path.parents
    return tmp_path


# --- contents ---------------------------------------------------------------------------------------------------------


def test_the_wheel_has_both_packages_and_nothing_else(dist: Path) -> None:
    """Every module and both markers of types; no tests, no tools, nothing at the top."""
    (wheel,) = dist.glob("meshsync_client-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"meshsync_client-{__version__}.dist-info/"
    ours = {name for name in names if not name.startswith(info)}
    files = [file for package in ("meshsync", "simulator") for file in (ROOT / package).rglob("*")]
    assert ours == {
        file.relative_to(ROOT).as_posix() for file in files if file.suffix == ".py" or file.name == "py.typed"
    }
    assert {f"{info}METADATA", f"{info}entry_points.txt", f"{info}RECORD"} <= names
    assert any(name.startswith(info) and name.endswith("/LICENSE") for name in names)


def test_the_metadata_are_those_of_the_package(dist: Path) -> None:
    """Its version is that of the module; its commands and its plug-in are there; each extra is known."""
    (wheel,) = dist.glob("meshsync_client-*.whl")
    info = f"meshsync_client-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(f"{info}/entry_points.txt").decode())
    assert (metadata["Name"], metadata["Version"]) == ("meshsync-client", __version__)
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(EXTRAS.split(",")) <= set(metadata.get_all("Provides-Extra"))
    assert dict(entries["pytest11"]) == {"meshsync": "meshsync.pytest_plugin"}
    assert set(entries["console_scripts"]) == {"meshsync", "meshsync-simulator"}


def test_the_source_distribution_is_enough_to_build_from(dist: Path) -> None:
    """The wheel was made from it; it has its license and its README, and no tests."""
    (archive,) = dist.glob("meshsync_client-*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"LICENSE", "README.md", "setup.cfg", "pyproject.toml", "meshsync/py.typed", "simulator/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "tools", "docs"))]


# --- installed --------------------------------------------------------------------------------------------------------


def test_its_commands_run_away_from_a_checkout(binaries: Path, elsewhere: Path) -> None:
    """Each by its script and by its module, and they are those that were installed."""
    place = run(binaries / "python", "-c", "import meshsync, simulator; print(simulator.__file__)", cwd=elsewhere)
    assert Path(place.strip()).is_relative_to(binaries.parent)
    version = f"meshsync {__version__}\n"
    assert run(binaries / "meshsync", "--version", cwd=elsewhere) == version
    assert run(binaries / "python", "-m", "meshsync", "--version", cwd=elsewhere) == version
    for command in ((binaries / "meshsync-simulator",), (binaries / "python", "-m", "simulator")):
        assert "explore" in run(*command, "--help", cwd=elsewhere)
    demo = run(binaries / "python", "-m", "simulator", "demo", cwd=elsewhere)
    assert run(binaries / "meshsync", "demo", cwd=elsewhere) == demo
    assert "No broken requirements" in run(binaries / "python", "-m", "pip", "check", cwd=elsewhere)


PROJECT = """
import meshsync
from simulator import participants

def test_emulator(emulator):
    emulator.add("lab", participants.Echo("bot"))
    with meshsync.connect("lab", name="ada") as ada:
        ada.messaging.enable()
        assert ada.messaging.wait_for_participant(name="bot", timeout=20)

def test_simulation(sim_room):
    assert sim_room.join("alice", enable=True).messaging.is_enabled
"""


def test_pytest_finds_the_fixtures_by_itself(binaries: Path, elsewhere: Path) -> None:
    """And leaves them out where the plug-in is not wanted."""
    (elsewhere / "test_project.py").write_text(PROJECT)
    pytest_there = (binaries / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "2 passed" in run(*pytest_there, cwd=elsewhere)
    (elsewhere / "test_project.py").write_text("def test_plain(request): pass\n")
    printed = run(*pytest_there, "-p", "no:meshsync", "--fixtures", cwd=elsewhere)
    assert "sim_room" not in printed


def test_a_type_checker_finds_the_types(binaries: Path, elsewhere: Path) -> None:
    """Of a program of a user's, by the markers in both packages."""
    program = """
        import meshsync
        from simulator import Emulator

        with Emulator() as emulator, emulator.connect("lab", "ada") as room:
            reveal_type(room)
            reveal_type(room.messaging.remote_participants)
    """
    (elsewhere / "program.py").write_text(re.sub(r"^ {8}", "", program, flags=re.MULTILINE))
    printed = run(binaries / "python", "-m", "mypy", "--strict", "program.py", cwd=elsewhere)
    assert 'Revealed type is "meshsync.room.RoomClient"' in printed
    assert "RemoteParticipant" in printed


def test_the_line_of_the_readme_installs_and_runs(tree: Path) -> None:
    """The first command that it shows, in a copy of the checkout, as it stands there."""
    (line,) = re.findall(r"^python3 -m venv .*simulator demo$", (ROOT / "README.md").read_text(), re.MULTILINE)
    line = line.replace("python3", sys.executable, 1)
    printed = run("sh", "-c", line, cwd=tree)
    assert "alice" in printed or "bot" in printed
