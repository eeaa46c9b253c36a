"""`VirtualRuntime` where it meets real time: blocking for real, computing, Ctrl-C."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.engine.invariants import Claim
from simulator.engine.runtime import VirtualRuntime
from simulator.errors import WorldStalled
from tests.support.waiting import EARLY

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="sends itself signals")


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    """Open a simulation, first-in-first-out."""
    with VirtualRuntime(7) as runtime:
        yield runtime


def run(script: str, timeout: float = 50.0) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter that finds this checkout, and return what it printed."""
    imports = """
        import _thread, os, signal, threading, time
        from simulator.errors import *
        from simulator.engine.runtime import VirtualRuntime
        strikes = []
        def interrupts():
            # Return what asks for a Ctrl-C, soon, from a thread that is no actor: it starts before the simulation.
            asked = threading.Semaphore(0)
            def interrupt():
                while True:
                    asked.acquire()
                    time.sleep(0.05)
                    strikes.append(1)
                    os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt, daemon=True).start()
            return asked.release
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(imports) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


@pytest.mark.parametrize("block", ["sleep", "queue", "join"])
def test_actor_that_blocks_for_real_is_named_with_its_line(block: str) -> None:
    """``time.sleep`` or ``queue.get`` in an actor stalls everyone: the main thread is told the line."""
    release = threading.Event()
    outsider = threading.Thread(target=release.wait, args=(50,), daemon=True)
    outsider.start()
    with pytest.warns(RuntimeWarning, match="1 of the actors did not end"), pytest.raises(WorldStalled) as caught:
        with VirtualRuntime(7, stall_after=0.2) as runtime:

            def stall() -> None:
                if block == "sleep":
                    time.sleep(50)
                elif block == "queue":
                    queue.Queue[int]().get(timeout=50)
                else:
                    threading.Thread.join(outsider)

            runtime.spawn(stall, name="stall")
            runtime.sleep(1)
    release.set()
    assert "actor 'stall' blocks for real" in str(caught.value)
    assert "test_virtual_runtime.py" in str(caught.value).split(";", maxsplit=1)[0]
    assert "in stall" in str(caught.value).split(";", maxsplit=1)[0]


def test_computing_for_long_is_no_stall() -> None:
    """An actor that uses the processor for three times the limit is left alone."""
    with VirtualRuntime(7, stall_after=0.1) as runtime:

        def compute() -> None:
            until = time.process_time() + 0.3
            while time.process_time() < until:
                pass

        assert runtime.spawn(compute, name="compute").join()


def test_running_at_speed_takes_real_time(runtime: VirtualRuntime) -> None:
    """Ten virtual seconds at a hundredfold speed take a tenth of a real one."""
    task = runtime.spawn(lambda: [runtime.sleep(1) for _ in range(8)] and None, name="work")
    begun = time.monotonic()
    runtime.run(10, speed=100)
    assert time.monotonic() - begun >= 0.1 - EARLY
    assert (task.is_done, runtime.now) == (True, 10)


@posix
def test_interrupt_reaches_main_while_actors_are_busy() -> None:
    """Ctrl-C pulls the main thread out of a wait at the next hand-over; actors end properly."""
    outcome = run("""
        interrupt = interrupts()
        before = set(threading.enumerate())
        try:
            with VirtualRuntime(1) as runtime:
                condition = runtime.condition()
                def busy():
                    try:
                        runtime.sleep(1000)
                        interrupt()
                        while True:
                            runtime.sleep(1)
                    finally:
                        print("ended")
                runtime.spawn(busy, name="busy")
                with condition:
                    condition.wait()
        except KeyboardInterrupt:
            print("interrupted", runtime.is_open, runtime.now > 1000)
        print(set(threading.enumerate()) <= before, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """)
    assert outcome.stdout == "ended\ninterrupted False True\nTrue True\n", outcome.stderr


@posix
def test_interrupts_one_after_the_other_leave_the_world_usable() -> None:
    """Each Ctrl-C that was answered counts for itself: a second one later does not end the simulation."""
    outcome = run("""
        interrupt = interrupts()
        with VirtualRuntime(1) as runtime:
            def busy():
                while True:
                    runtime.sleep(1)
            runtime.spawn(busy, name="busy")
            for _ in range(3):
                try:
                    interrupt()
                    runtime.sleep(1e12)
                except KeyboardInterrupt:
                    print("interrupted")
            runtime.sleep(5)
            print(runtime.is_open)
    """)
    assert outcome.stdout == "interrupted\n" * 3 + "True\n", outcome.stderr


@posix
def test_interrupt_outside_the_engine_strikes_at_once() -> None:
    """While the main thread runs its own code Ctrl-C is as ever, and the simulation can go on."""
    outcome = run("""
        interrupt = interrupts()
        with VirtualRuntime(1) as runtime:
            try:
                interrupt()
                time.sleep(1000)
            except KeyboardInterrupt:
                print("interrupted")
            runtime.sleep(5)
            print(runtime.now)
    """)
    assert outcome.stdout == "interrupted\n5.0\n", outcome.stderr


@posix
@pytest.mark.parametrize("hold_up", ["while True: pass", "time.sleep(60)"])
def test_second_interrupt_leaves_a_world_that_is_held_up(hold_up: str) -> None:
    """An actor that never hands over cannot keep the main thread from a second Ctrl-C; the rest ends properly."""
    outcome = run(f"""
        interrupt = interrupts()
        def insist():
            # The first that main has not answered with its end is followed by a second, and by more if two came as one.
            started.wait()
            for pause in (0.3, 5, 5, 5):
                interrupt()
                time.sleep(pause)
        started = threading.Event()
        threading.Thread(target=insist, daemon=True).start()
        try:
            with VirtualRuntime(1, stall_after=60) as runtime:
                def polite():
                    try:
                        runtime.sleep(100)
                    finally:
                        print("ended")
                def hog():
                    started.set()
                    {hold_up}
                runtime.spawn(polite, name="polite")
                runtime.spawn(hog, name="hog")
                runtime.sleep(1)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("interrupted", runtime.is_open, len(strikes) >= 2)
    """)
    assert outcome.stdout == "ended\ninterrupted False True\n", outcome.stderr
    assert "actors did not end" in outcome.stderr
    assert "'hog'" in outcome.stderr


@posix
def test_exception_from_another_signal_leaves_the_world() -> None:
    """A handler that raises in the waiting main thread, as a test's time limit does, ends the simulation properly."""
    outcome = run("""
        class TooLong(BaseException):
            pass
        def limit(number, frame):
            raise TooLong
        signal.signal(signal.SIGALRM, limit)
        try:
            with VirtualRuntime(1) as runtime:
                busy_ones, ended = [], []
                def busy():
                    try:
                        busy_ones.append(1)
                        if len(busy_ones) == 4:
                            signal.setitimer(signal.ITIMER_REAL, 0.05)
                        while True:
                            runtime.sleep(1)
                    finally:
                        ended.append("ended")
                for _ in range(3):
                    runtime.spawn(busy, name="busy")
                runtime.spawn(busy, name="busy").join()
        except TooLong:
            print("left", runtime.is_open, len(ended))
    """)
    assert outcome.stdout == "left False 4\n", outcome.stderr


@posix
def test_hail_of_interrupts_never_tears_the_engine() -> None:
    """After two hundred interrupts at arbitrary moments the world still works: no actor lost, nothing held."""
    outcome = run("""
        import random
        draw, armed, seen = random.Random(3), False, 0
        def handler(number, frame):
            if armed:
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        def hail():
            while True:
                time.sleep(draw.random() * 0.004)
                _thread.interrupt_main()
        threading.Thread(target=hail, daemon=True).start()
        with VirtualRuntime(1) as runtime:
            condition, counts = runtime.condition(), [0] * 3
            def work(me):
                while True:
                    runtime.sleep(0.01)
                    with condition:
                        counts[me] += 1
                        condition.notify_all()
                        condition.wait(0.02)
            for me in range(3):
                runtime.spawn(lambda me=me: work(me), name="work")
            while seen < 200:
                try:
                    armed = True
                    while True:
                        runtime.sleep(0.01)
                        with condition:
                            condition.notify_all()
                            condition.wait(0.01)
                except KeyboardInterrupt:
                    armed = False
                    seen += 1
                    assert condition.owner is None or condition.owner.label != "main"
            before = list(counts)
            runtime.sleep(10)
            print(all(new - old > 200 for new, old in zip(counts, before)))
    """)
    assert outcome.stdout == "True\n", (outcome.stdout, outcome.stderr)


@posix
@pytest.mark.parametrize("who", ["main", "actor"])
def test_predicate_that_blocks_for_real_is_named_with_its_line(who: str) -> None:
    """Whoever's turn it was that it was asked after."""

    def stall() -> bool:
        if runtime.now >= 1:
            time.sleep(5)
        return True

    with warnings.catch_warnings(), pytest.raises(WorldStalled, match="blocks for real") as caught:
        warnings.simplefilter("ignore", RuntimeWarning)
        with VirtualRuntime(7, stall_after=0.2) as runtime:
            runtime.watch_main()
            runtime.invariants.add(Claim.ALWAYS, stall)
            if who == "actor":
                runtime.spawn(lambda: (runtime.sleep(1), runtime.sleep(1)), name="worker")
                runtime.sleep(9)
            runtime.sleep(1)
            runtime.sleep(1)
    assert "in stall" in str(caught.value).split(";", maxsplit=1)[0]


@posix
def test_ctrl_c_in_a_predicate_is_raised_where_the_program_waits() -> None:
    """It ends the predicate, and is no failure of it."""

    def looks() -> bool:
        if runtime.now >= 1 and not asked:
            asked.append("interrupted")
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):  # A signal is handled at the next jump.
                pass
            asked.append("went on")
        return True

    asked: list[str] = []
    with VirtualRuntime(7) as runtime:
        runtime.invariants.add(Claim.ALWAYS, looks)
        with pytest.raises(KeyboardInterrupt):
            runtime.sleep(2)
        runtime.sleep(1)
        assert runtime.invariants.conclude() is None
    assert asked == ["interrupted"]
