"""The fixture that gives a test an emulator."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from simulator import Emulator
from simulator.emulator import CLEARED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def misleading_environment(monkeypatch):
    """Set what would lead a client past the emulator."""
    for name in CLEARED:
        monkeypatch.setenv(name, "wss://elsewhere.invalid")


@pytest.mark.usefixtures("misleading_environment")
def test_emulator_runs_and_the_environment_leads_to_it(emulator):
    """Every variable of its is set, and none that would lead past it."""
    assert isinstance(emulator, Emulator)
    assert emulator.is_open
    assert {name: os.environ.get(name) for name in emulator.env} == dict(emulator.env)
    assert not set(CLEARED) & set(os.environ)


def test_each_test_has_its_own_and_leaves_nothing_behind(tmp_path):
    """In a project that has nothing but the plugin: the environment is restored, and nobody listens any more."""
    program = """
        import os, threading
        import pytest

        seen = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_with(emulator, turn):
            seen.append(emulator)
            assert os.environ["MESHAGENT_SECRET"] == emulator.secret
            assert "MESHAGENT_TOKEN" not in os.environ

        def test_without():
            assert len({id(emulator) for emulator in seen}) == 2
            assert not any(emulator.is_open for emulator in seen)
            assert os.environ["MESHAGENT_SECRET"] == "before"
            assert os.environ["MESHAGENT_TOKEN"] == "before"
            assert threading.active_count() == 1
    """
    (tmp_path / "test_it.py").write_text(textwrap.dedent(program))
    variables = {"MESHAGENT_SECRET": "before", "MESHAGENT_TOKEN": "before", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "simulator.pytest_plugin", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
        env=os.environ | variables | {"PYTHONPATH": str(ROOT)},
    )

    assert "3 passed" in done.stdout, done.stdout + done.stderr
