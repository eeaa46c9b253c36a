"""A search by workers reports what the same search in order does, whatever becomes of them."""

from __future__ import annotations

import io
import itertools
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from meshsync.errors import UsageError
from simulator.engine.os_process import own_processor
from simulator.errors import SimulationNested, SweepBroken, WorkerDied, WorkerFailed
from simulator.exploring import sweeps
from simulator.exploring.crews import crew_of
from simulator.exploring.exploration import Failure, explore
from simulator.exploring.progress_bar import progress_bar
from simulator.simulation import Simulation
from tests.support.sweeping import Order, RecordingExecutor, fails_at_some, is_overdue_at_times, overtakes, passes

SEEDS = range(40)


def shuffled(seed: int) -> Order:
    """Return an order of completion that chance decides."""
    source = random.Random(seed)
    return source.randrange


ORDERS = {
    "first": lambda waiting: 0,
    "last": lambda waiting: waiting - 1,
    "one chance": shuffled(1),
    "another": shuffled(2),
}


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has sweeps wait for an executor's jobs by letting it do one, and returns it."""

    def use(executor: RecordingExecutor) -> RecordingExecutor:
        monkeypatch.setattr(sweeps, "wait", executor.wait)
        return executor

    return use


def searched(program: Any, **options: Any) -> tuple[Failure | None, list[str]]:
    """Return what a search finds and what it reports."""
    reports: list[str] = []
    failure = explore(program, options.pop("seeds", SEEDS), **{"save": None, "report": reports.append} | options)
    return failure, reports


# --- the report is that of running in order ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", [passes, fails_at_some, is_overdue_at_times], ids=lambda one: one.__name__)
def test_report_does_not_depend_on_the_order_of_completion(using, program, order):
    """The same seed, the same counts of runs and of overdue seeds, the same text and transcripts."""
    compare(using(RecordingExecutor(ORDERS[order])), program, SEEDS, "mixed")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", [is_overdue_at_times, overtakes], ids=lambda one: one.__name__)
def test_report_with_mutants_does_not_depend_on_it_either(using, program, order):
    """Of which each seed has sixteen."""
    compare(using(RecordingExecutor(ORDERS[order])), program, range(5), "guided")


def compare(executor: RecordingExecutor, program: Any, seeds: range, schedule: str) -> None:
    """Check that a search tells the same with an executor and without."""
    expected, expected_reports = searched(program, seeds=seeds, schedule=schedule)
    failure, reports = searched(program, seeds=seeds, schedule=schedule, executor=executor)
    assert reports == expected_reports
    assert (failure is None) == (expected is None)
    if failure is not None and expected is not None:
        assert (failure.seed, failure.runs) == (expected.seed, expected.runs)
        assert failure.run.digests == expected.run.digests


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", [passes, fails_at_some, is_overdue_at_times], ids=lambda one: one.__name__)
def test_report_does_not_depend_on_batches(using, program, order):
    """Runs of 10 ms travel together until a batch takes 50 ms, and the report is that of running each alone."""
    _, expected = searched(program)
    executor = using(RecordingExecutor(ORDERS[order], seconds=0.01))
    _, reports = searched(program, executor=executor)
    assert reports == expected
    assert max(map(len, executor.batches)) == 5
    assert [seed for batch in executor.batches for seed in batch] == list(range(sum(map(len, executor.batches))))


def test_batch_grows_as_its_jobs_are_short(using):
    """Twice as many as before, at most as many as take 50 ms, at most 64; one of a second each travels alone."""
    sizes = {}
    for seconds in (0.01, 0.0001, 1.0):
        executor = using(RecordingExecutor(workers=1, seconds=seconds))
        searched(passes, seeds=range(200), schedule="fifo", executor=executor)
        sizes[seconds] = [len(batch) for batch in executor.batches]
    assert sizes[0.01][:7] == [1, 1, 2, 4, 5, 5, 5]
    assert sizes[0.0001] == [1, 1, 2, 4, 8, 16, 32, 64, 64, 8]
    assert set(sizes[1.0]) == {1}


def test_nothing_behind_a_failing_seed_of_a_batch_is_run(using):
    """What would hang there must not keep its failure back; of two overdue ones the first ends a batch if it counts."""
    executor = using(RecordingExecutor(workers=1, seconds=0.0125))
    failure, _ = searched(fails_at_some, executor=executor)
    assert failure is not None
    assert [16, 17, 18, 19] in executor.batches
    assert executor.done == [*range(18)]

    for count_overdue in (False, True):
        executor = using(RecordingExecutor(workers=1, seconds=0.0125))
        searched(is_overdue_at_times, seeds=range(25), count_overdue=count_overdue, executor=executor)
        assert (executor.done == [*range(25)]) == (not count_overdue)


def test_mutant_fails_its_seed(using):
    """It is told as one run of several, and kept like any other; the runs of all seeds are counted."""
    executor = using(RecordingExecutor(ORDERS["last"]))
    failure, _ = searched(overtakes, schedule="guided", shrinking=0, executor=executor)
    assert failure is not None
    assert failure.found.case.deviations is not None
    assert failure.runs > 1 + int(failure.seed) + 1
    assert failure.replay().is_identical


def test_overdue_mutants_are_counted(using):
    """As runs, of which one seed may have several; the pilot is one run."""
    _, (report,) = searched(
        is_overdue_at_times, seeds=range(3), schedule="guided", executor=using(RecordingExecutor(ORDERS["last"]))
    )
    match = re.match(
        r"none of 3 seeds fails, but 3 of them, in (\d+) of 52 runs, passed a time limit by lateness and ended with",
        report,
    )
    assert match is not None, report
    assert int(match[1]) > 3


def test_overdue_seeds_are_counted_up_to_the_failing_one(using):
    """The program is one of which some are overdue, so that the test above compares something."""
    _, reports = searched(is_overdue_at_times, seeds=range(30), executor=using(RecordingExecutor(ORDERS["last"])))
    assert reports[0].startswith("none of 30 seeds fails, but ")
    found, _ = searched(
        is_overdue_at_times, seeds=range(30), count_overdue=True, executor=using(RecordingExecutor(ORDERS["last"]))
    )
    assert found is not None
    assert isinstance(found.error, TimeoutError)


def test_seeds_are_taken_when_there_is_room(using):
    """Of 3 workers at most 6 seeds are away, and no seed is asked for before it can be."""
    executor = using(RecordingExecutor(ORDERS["one chance"]))
    asked = itertools.count()

    def seeds() -> Iterator[int]:
        for seed in SEEDS:
            assert seed <= len(executor.done) + 6
            assert next(asked) == seed
            yield seed

    searched(passes, seeds=seeds(), executor=executor)
    assert max(waiting for _, waiting in executor.submitted) == 6
    assert sorted(executor.done) == list(SEEDS)


def test_nothing_beyond_a_failing_seed_is_begun(using):
    """When 20 is known to fail, none above is sent; when 17 is, 18 and 19 are taken back, and 15 and 16 still done."""
    turns = iter([0] * 15 + [5, 2])
    executor = using(RecordingExecutor(lambda waiting: next(turns, waiting - 1)))
    failure, _ = searched(fails_at_some, executor=executor)
    assert failure is not None
    assert failure.seed == 17
    assert executor.done == [*range(15), 20, 17, 16, 15]
    assert max(seed for seed, _ in executor.submitted) == 20
    assert not executor.is_shut_down


def test_pilot_runs_once_and_its_draws_travel(using):
    """The workers get 30 seeds, each with a lateness of its own."""
    cases: list[dict[str, Any]] = []
    executor = using(RecordingExecutor(edit=lambda job: cases.append(job["case"])))
    _, reports = searched(is_overdue_at_times, seeds=range(30), schedule="late", executor=executor)
    assert "none of 30 seeds fails, but" in reports[0]
    assert len(cases) == 30
    assert all(case["lateness"] for case in cases)
    assert len({tuple(case["lateness"]) for case in cases}) > 5


def test_failure_of_the_pilot_is_the_first(using):
    """Nothing is given to the workers."""
    executor = using(RecordingExecutor())
    failure, _ = searched(fails_at_some, seeds=[17, 1], executor=executor)
    assert failure is not None
    assert (failure.seed, executor.submitted) == (17, [])


# --- workers that die -------------------------------------------------------------------------------------------------


def factory_of(monkeypatch: pytest.MonkeyPatch, order: Order, kills: Counter[int], seconds: float = 1.0) -> Any:
    """Return a callable that makes an executor, and a list of those that it made."""
    made: list[RecordingExecutor] = []

    def make() -> Executor:
        made.append(RecordingExecutor(order, kills=kills, seconds=seconds))
        monkeypatch.setattr(sweeps, "wait", made[-1].wait)
        return made[-1]

    return make, made


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seconds", [1.0, 0.01])
def test_worker_that_dies_changes_nothing(monkeypatch, order, seconds):
    """What was away with it runs again, each seed alone, and then all goes on."""
    expected, expected_reports = searched(fails_at_some)
    make, made = factory_of(monkeypatch, ORDERS[order], Counter({9: 1}), seconds)
    failure, reports = searched(fails_at_some, executor=make)
    assert reports == expected_reports
    assert expected is not None
    assert failure is not None
    assert failure.runs == expected.runs
    assert len(made) >= 2
    again = [waiting for _, waiting in made[1].submitted[:3]]
    assert again == [1, 1, 1]
    assert [len(batch) for batch in made[1].batches[:3]] == [1, 1, 1]
    assert all(executor.is_shut_down for executor in made)


def test_seed_that_its_process_dies_of_twice_fails(monkeypatch):
    """It is named with how the process ended, made no smaller, and not run in this process."""
    make, made = factory_of(monkeypatch, ORDERS["one chance"], Counter({5: 2}))
    failure, (report,) = searched(passes, executor=make)
    assert failure is not None
    assert (failure.seed, type(failure.error), failure.is_repeatable) == (5, WorkerDied, True)
    assert report.splitlines()[:2] == [
        "seed 5 fails: WorkerDied at tests.support.sweeping:passes",
        "  the process that ran it died twice, the second time with no other seed beside: a worker died of SIGSEGV",
    ]
    assert len(made) == 3


def test_seed_below_one_that_kills_is_found_first(monkeypatch):
    """Of two that fail the lower one is reported, though the other broke the executor."""
    make, _ = factory_of(monkeypatch, ORDERS["last"], Counter({19: 2}))
    failure, _ = searched(fails_at_some, executor=make)
    assert failure is not None
    assert failure.seed == 17


def test_job_that_a_cluster_gave_up_runs_again_alone(using):
    """Dask's workers are others then, and what is with them goes on; the second time it is the seed that fails."""
    for times, seed in ((1, 17), (2, 9)):
        executor = using(RecordingExecutor(ORDERS["one chance"], given_up=Counter({9: times})))
        failure, _ = searched(fails_at_some, executor=executor)
        assert failure is not None
        assert failure.seed == seed
        assert [waiting for again, waiting in executor.submitted if again == 9][1:] == [1]


def test_given_executor_that_breaks_ends_the_search(using, tmp_path: Path):
    """The error has how far it came; with the file another executor goes on, to the same report."""
    expected, expected_reports = searched(fails_at_some)
    kept = tmp_path / "kept.json"
    reports: list[str] = []
    broken = using(RecordingExecutor(kills=Counter({9: 1})))
    with pytest.raises(SweepBroken, match="none of the first 9 seeds fails"):
        explore(fails_at_some, SEEDS, save=None, resume=kept, executor=broken, report=reports.append)
    assert reports[0].splitlines() == [
        "interrupted: none of the first 9 seeds fails",
        f"python -m simulator explore --resume {kept}",
    ]
    executor = using(RecordingExecutor())
    failure, again = searched(fails_at_some, resume=kept, executor=executor)
    assert again == expected_reports
    assert failure is not None
    assert expected is not None
    assert failure.runs == expected.runs
    assert min(executor.done) == 9
    assert not kept.exists()


def test_failure_on_a_worker_alone_is_none_that_repeats(using):
    """A seed that fails there and runs through here is reported as such."""

    def edit(answer: dict[str, Any]) -> None:
        answer |= {"symptom": ["KeyError", "there.py:3 in there", ""], "text": "'key'"}

    failure, (report,) = searched(passes, executor=using(RecordingExecutor(answer=edit)))
    assert failure is not None
    assert (type(failure.error), failure.is_repeatable) == (WorkerFailed, False)
    assert report.splitlines()[:2] == [
        "seed 0 fails: KeyError at there.py:3 in there",
        "  on a worker, and not in this process: 'key'",
    ]


# --- interrupted, and going on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "schedule", "seeds"),
    # Of the first 30 seeds none of the second program fails, and some are overdue.
    [(fails_at_some, "late", 30), (is_overdue_at_times, "late", 30), (is_overdue_at_times, "guided", 6)],
)
def test_interrupted_search_goes_on(using, tmp_path: Path, program, schedule, seeds):
    """Ctrl-C leaves a file beside what is saved; the report at last is that of a search that was not interrupted."""
    _, expected = searched(program, schedule=schedule, seeds=range(seeds))
    reports: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        order = shuffled(3) if schedule == "late" else ORDERS["first"]
        executor = using(RecordingExecutor(order, interrupt_after=seeds // 2))
        explore(program, range(seeds), schedule=schedule, save=tmp_path, executor=executor, report=reports.append)
    kept = tmp_path / f"search-{program.__name__}.json"
    assert reports[0].startswith("interrupted: none of the first ")
    assert ("late for a time limit" in reports[0]) == (program is is_overdue_at_times)
    _, again = searched(program, schedule=schedule, seeds=range(seeds), resume=kept)
    assert again == expected
    assert expected
    assert not kept.exists()


def test_other_search_does_not_go_on_from_it(using, tmp_path: Path):
    """The first argument that differs is named, and nothing is run."""
    kept = tmp_path / "kept.json"
    with pytest.raises(KeyboardInterrupt):
        searched(passes, resume=kept, executor=using(RecordingExecutor(interrupt_after=4)))
    for options, text in (
        ({"latency": 0.5}, "its latency is"),
        ({"seeds": range(3)}, r"its seeds \(0, 40, 1\)"),
        ({"count_overdue": True}, "its count_overdue is False"),
    ):
        with pytest.raises(UsageError, match=text):
            searched(passes, resume=kept, **options)
    with pytest.raises(UsageError, match=r"its program tests\.support\.sweeping:passes"):
        searched(fails_at_some, resume=kept)
    assert kept.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"search": 9}', '{"search": 1, "program": null}'])
def test_file_that_is_no_search_is_refused(tmp_path: Path, text):
    """The error has the path."""
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"kept\.json is no search kept by version 1"):
        searched(passes, resume=path)


# --- workers that cannot be used --------------------------------------------------------------------------------------


def test_threads_are_refused():
    """One process simulates one thing at a time."""
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(UsageError, match="executor of threads makes nothing faster"),
    ):
        searched(passes, executor=executor)


@pytest.mark.parametrize("executor", ["threads", 3, lambda: 3], ids=["name", "number", "callable"])
def test_what_is_no_executor_is_refused(executor):
    """The text has what can be given."""
    with pytest.raises(UsageError, match="executor"):
        searched(passes, executor=executor)


def test_program_without_a_name_is_refused(using):
    """A worker could not import it."""
    with pytest.raises(UsageError, match="a worker could not find the program"):
        searched(lambda sim: None, executor=using(RecordingExecutor()))


@pytest.mark.parametrize("what", ["Python", "sources of meshsync and simulator", "source of the program"])
def test_worker_of_another_version_is_refused(using, what):
    """What differs is named, with both versions."""

    def edit(job: dict[str, Any]) -> None:
        job["versions"][what] = "9"

    with pytest.raises(UsageError, match=rf"a worker differs from this process: {what} \S+ there and 9 here"):
        searched(passes, executor=using(RecordingExecutor(edit=edit)))


def test_program_that_a_worker_cannot_find_is_an_error(using):
    """The text is that of the worker."""

    def edit(job: dict[str, Any]) -> None:
        job["program"] = "no_such_module:program"

    with pytest.raises(UsageError, match="no module is named 'no_such_module'"):
        searched(passes, executor=using(RecordingExecutor(edit=edit)))


def test_workers_that_do_not_start_are_no_fault_of_a_seed():
    """An executor that takes nothing is refused at once."""
    executor = RecordingExecutor()
    executor.is_broken = True
    with pytest.raises(UsageError, match="the workers cannot start: it is broken"):
        searched(passes, executor=executor)


@pytest.mark.parametrize("schedule", ["fifo", "late"])
def test_search_in_a_simulation_is_refused_at_once(using, schedule):
    """Nothing is started, whose threads would be actors of it; the text has the line."""
    made: list[Executor] = []
    with Simulation(), pytest.raises(SimulationNested, match=r"since .*test_sweeps\.py:\d+ in test_search"):
        searched(passes, schedule=schedule, executor=lambda: made.append(RecordingExecutor()) or made[-1])
    assert made == []


def test_no_seed_is_an_error(using):
    """As it is without workers."""
    with pytest.raises(UsageError, match="there is no seed to try"):
        searched(passes, seeds=[], executor=using(RecordingExecutor()))


def test_crew_knows_how_many_there_are():
    """Of an executor's own number, or of a client of Dask."""

    class Client:
        def nthreads(self) -> dict[str, int]:
            return {"a": 2, "b": 3}

        def get_executor(self, **options: Any) -> Executor:
            assert options == {"pure": False}
            executor = RecordingExecutor()
            executor._client = self  # type: ignore[attr-defined]
            return executor

    assert crew_of(RecordingExecutor(workers=7)).workers == 7
    assert crew_of(Client()).workers == 5


# --- processors, and progress -----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="no such call")
def test_worker_keeps_to_one_processor_while_it_runs():
    """And may use all others again behind it."""
    before = os.sched_getaffinity(0)
    with own_processor():
        assert len(os.sched_getaffinity(0)) == 1 or len(before) > 1
        assert os.sched_getaffinity(0) <= before
    assert os.sched_getaffinity(0) == before


class Terminal(io.StringIO):
    """Takes text as a terminal does."""

    def isatty(self) -> bool:
        return True


def test_terminal_shows_seeds_and_failures(monkeypatch):
    """How many of how many are done, and how many failed; elsewhere nothing is written."""
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(range(8)) as show:
        show(3, 0)
        show(8, 2)
    assert "8/8" in terminal.getvalue()
    assert "failures=2" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(range(8)) as show:
        show(8, 2)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_plan_that_cannot_be_sent_is_an_error(using):
    """Without workers it would be refused when the first run begins."""
    with pytest.raises(UsageError, match="the latency or the plan cannot be sent to a worker"):
        searched(passes, schedule="random", plan=["no fault"], executor=using(RecordingExecutor()))
