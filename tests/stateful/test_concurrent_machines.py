"""Machines whose rules several participants run at once: what is found, how small it is made, and the report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reproduce_failure, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase

import meshsync
from meshsync.errors import UsageError
from simulator import faults, linearizable
from simulator.errors import InvariantViolated, SimulationDeadlock
from simulator.exploring.runs import Case, run
from simulator.histories import counter
from simulator.stateful import (
    Bundle,
    ConcurrentMachine,
    Member,
    by,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_as_test,
)
from simulator.stateful.performance import Performance
from simulator.stateful.rules import rules_of
from simulator.stateful.scripts import Bounds, Script, schedule_of, scripts
from tests.support.profiles import examples

pytestmark = pytest.mark.timeout(300)  # Making a failure small takes hundreds of runs: seconds, or a minute under load.

USUAL = settings(max_examples=100, derandomize=True, database=None, print_blob=True)


class Till(ConcurrentMachine):
    """A number that an actor keeps, and participants that add to it by reading it and writing it back."""

    participants = ("ada", "bob", "cem")
    save = None

    def setup(self) -> None:
        self.value = 0
        self.sim.spawn(self.serve, name="keeper")

    def serve(self) -> None:
        with meshsync.connect("stage", name="keeper") as room:

            def answer(event: Any) -> None:
                message = event.message
                if message.type == "set":
                    self.value = message.message["value"]
                elif message.type == "add":
                    self.value += message.message["amount"]
                room.messaging.send_message(event.participant, "value", {"value": self.value})

            for kind in ("get", "set", "add"):
                room.messaging.on_message(kind, answer)
            room.messaging.enable()
            room.run_forever()

    def enter(self, me: Member) -> None:
        super().enter(me)
        me.keeper = me.room.messaging.wait_for_participant(name="keeper", timeout=10)

    def ask(self, me: Member, kind: str, **message: Any) -> Any:
        with me.room.messaging.messages(type="value", sender=me.keeper) as replies:
            me.room.messaging.send_message(me.keeper, kind, message)
            return replies.get(timeout=30).message["value"]

    @rule()
    def read(self, me: Member) -> None:
        with self.history.operation(me.name, "read") as operation:
            operation.result = self.ask(me, "get")

    @rule(amount=st.integers(1, 5))
    def add(self, me: Member, amount: int) -> None:
        with self.history.operation(me.name, "add", amount):
            self.ask(me, "set", value=self.ask(me, "get") + amount)

    def check(self) -> None:
        found = linearizable(self.history, counter())
        assert found, str(found)


class SafeTill(Till):
    """The keeper adds."""

    @rule(amount=st.integers(1, 5))
    def add(self, me: Member, amount: int) -> None:
        with self.history.operation(me.name, "add", amount):
            self.ask(me, "add", amount=amount)


TestSafeTill = SafeTill.TestCase
TestSafeTill.settings = examples(100)


def failure(machine: type[ConcurrentMachine], chosen: settings = USUAL) -> tuple[BaseException, str]:
    """Return how a machine fails, and what Hypothesis has to say of that."""
    with pytest.raises(Exception) as caught:
        run_as_test(machine, settings=chosen)
    return caught.value, "\n".join(caught.value.__notes__)


def calls(report: str) -> list[tuple[str, str]]:
    """Return who did what, in the order of the report."""
    return re.findall(r"^ +[\d.]+ s  (\w+) +(\w+\(.*?\))", report, re.MULTILINE)


def test_lost_update_is_made_as_small_as_it_can_be() -> None:
    """Two of three participants add at once, first come first served and nothing late; one of them sees the result."""
    error, report = failure(Till)
    assert isinstance(error, AssertionError)
    assert "not linearizable" in str(error)
    assert sorted(calls(report)[:2]) == [("ada", "add(amount=1)"), ("bob", "add(amount=1)")]
    assert [call for _, call in calls(report)[2:]] == ["read()"]
    assert "Till fails with ada and bob:" in report
    assert "order of actors: fifo" in report
    assert " late at " not in report
    assert "1.120 s  |<------" in report, "the chart of the room"


class Door(ConcurrentMachine):
    """One opens and the others use what is open: that the order of sending is that of arrival is taken for granted."""

    save = None

    def setup(self) -> None:
        self.is_sent = False
        self.sim.spawn(self.serve, name="keeper")

    def serve(self) -> None:
        self.seen: list[str] = []
        with meshsync.connect("stage", name="keeper") as room, room.messaging.messages() as inbox:
            room.messaging.enable()
            for message in inbox:
                self.seen.append(message.type)

    def enter(self, me: Member) -> None:
        super().enter(me)
        me.keeper = me.room.messaging.wait_for_participant(name="keeper", timeout=10)

    @by("ada")
    @rule()
    def open(self, me: Member) -> None:
        self.is_sent = True
        me.room.messaging.send_message(me.keeper, "open", {})

    @by("bob")
    @rule()
    @precondition(lambda self, me: self.is_sent)
    def use(self, me: Member) -> None:
        meshsync.sleep(0.001)  # At the same instant another order of actors would do.
        me.room.messaging.send_message(me.keeper, "use", {})

    def check(self) -> None:
        meshsync.sleep(2)
        assert self.seen[:1] != ["use"], "used before it was open"


class PunctualDoor(Door):
    """With nothing late, constant delays keep the order."""

    latest = 0


TestPunctualDoor = PunctualDoor.TestCase
TestPunctualDoor.settings = examples(50)


@pytest.mark.one_python
def test_what_needs_lateness_is_found_and_one_late_step_is_left() -> None:
    """The report has whose step it is, by how much it is late, and between which events."""
    error, report = failure(Door, settings(USUAL, max_examples=300))
    assert str(error).startswith("used before it was open")
    assert calls(report) == [("ada", "open()"), ("bob", "use()")]
    late = [line.strip() for line in report.splitlines() if " late at " in line]
    assert len(late) == 1
    assert re.fullmatch(
        r"(ada\S*|main/ada) is 0\.\d+ s late at its (delivery|turn) \d+, due at \d\.\d{3} s, after .*", late[0]
    )


class OverduePatience(ConcurrentMachine):
    """A time limit that only lateness passes."""

    save = None

    @rule()
    def wait(self, me: Member) -> None:
        change = meshsync.condition()

        def ring() -> None:
            meshsync.sleep(0.1)
            with change:
                change.notify_all()

        self.sim.spawn(ring, name="bell")
        with change:
            if not change.wait(0.2):
                raise TimeoutError("nothing rang")


TestOverduePatience = OverduePatience.TestCase
TestOverduePatience.settings = examples(50)


@pytest.mark.one_python
def test_a_time_limit_passed_by_lateness_counts_where_it_is_asked_for() -> None:
    """By default it does not, see the test of that machine."""
    error, _ = failure(type("Impatient", (OverduePatience,), {"count_overdue": True}))
    assert isinstance(error, TimeoutError)


ITEMS: Bundle = Bundle("ITEMS")


class Market(ConcurrentMachine):
    """Values go from one participant to another through a bundle; each is used once."""

    save = None

    def setup(self) -> None:
        self.made = 0
        self.used: list[int] = []

    @rule(target=ITEMS, count=st.integers(0, 3))
    def make(self, me: Member, count: int) -> object:
        first, self.made = self.made, self.made + count
        return multiple(*range(first, self.made))

    @rule(item=consumes(ITEMS))
    def use(self, me: Member, item: int) -> None:
        self.used.append(item)

    @rule(item=ITEMS)
    def look(self, me: Member, item: int) -> None:
        assert item not in self.used

    @invariant()
    def each_is_used_once(self) -> bool:
        return len(set(self.used)) == len(self.used)


TestMarket = Market.TestCase
TestMarket.settings = examples(100)


class Greedy(Market):
    """Its invariant asserts, and is violated once two were used."""

    @invariant()
    def each_is_used_once(self) -> None:
        assert len(self.used) < 2, f"used {self.used}"


@pytest.mark.one_python
def test_invariant_ends_the_run_at_the_operation_that_violates_it() -> None:
    """The report has its name, and what it asserted."""
    error, report = failure(Greedy)
    assert isinstance(error, InvariantViolated)
    assert error.invariant == "always each_is_used_once"
    assert [call for _, call in calls(report)] == ["make(count=2)", "use(item=1)", "use(item=0)"]
    assert "each_is_used_once: used [1, 0]" in report


class Embrace(ConcurrentMachine):
    """Two locks that are taken in either order."""

    save = None

    def setup(self) -> None:
        self.locks = {"fork": meshsync.Lock(), "knife": meshsync.Lock()}

    @rule(first=st.sampled_from(["fork", "knife"]))
    def eat(self, me: Member, first: str) -> None:
        second = "knife" if first == "fork" else "fork"
        with self.locks[first]:
            meshsync.sleep(0.1)
            with self.locks[second]:
                pass


def test_deadlock_is_the_failure_of_two_operations() -> None:
    """It is that of the simulation, with its paragraph for each actor."""
    error, report = failure(Embrace)
    assert isinstance(error, SimulationDeadlock)
    assert sorted(name for name, _ in calls(report)) == ["ada", "bob"]
    assert sorted(call for _, call in calls(report)) == ["eat(first='fork')", "eat(first='knife')"]


class Struck(ConcurrentMachine):
    """Faults are drawn, too; their times count from the first operation on."""

    save = None
    plan = st.lists(st.builds(faults.at, st.sampled_from([0.1, 0.2]), st.just(faults.leave("bob"))), max_size=3)

    def enter(self, me: Member) -> None:
        me.room = meshsync.connect("stage", name=me.name, reconnect=False)

    @rule()
    def look(self, me: Member) -> None:
        assert me.room.is_connected, "bob has left"


def test_faults_are_drawn_and_made_few() -> None:
    """One is left, and an operation behind it."""
    error, report = failure(Struck)
    assert isinstance(error, AssertionError)
    assert [name for name, _ in calls(report)] == ["bob"]
    assert report.count("fault: ") == 1


class Dice(ConcurrentMachine):
    """What a member has of its own."""

    save = None

    @rule()
    def throw(self, me: Member) -> None:
        me.thrown = me.random.random()
        assert 0 <= me.thrown < 1
        print(f"{me.name} has thrown {me.colour}")


def test_members_have_a_name_and_chance_of_their_own_and_what_rules_give_them() -> None:
    """What a rule reads that none has set is named."""
    error, report = failure(Dice)
    assert isinstance(error, AttributeError)
    assert str(error) == "the participant 'ada' has no 'colour': set it in enter() or in a rule"
    assert calls(report) == [("ada", "throw()")]


# --- reproduction -----------------------------------------------------------------------------------------------------


def test_the_blob_that_is_printed_reproduces_the_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """As a decorator of the machine. Hypothesis prints then what it tells the exception else."""
    _, report = failure(Till)
    found = re.search(r"@reproduce_failure\('([\d.]+)', (b'[^']*')\)", report)
    assert found is not None
    again = reproduce_failure(found[1], found[2][2:-1].encode())(type("Again", (Till,), {}))
    with pytest.raises(AssertionError, match="not linearizable"):
        run_as_test(again, settings=USUAL)
    assert calls(capsys.readouterr().out) == calls(report)


@pytest.mark.one_python
def test_the_database_has_the_failure_first() -> None:
    """A second search begins with what the first one has kept."""
    runs = 0

    class Counted(Till):
        def setup(self) -> None:
            nonlocal runs
            runs += 1
            super().setup()

    chosen = settings(USUAL, database=InMemoryExampleDatabase(), derandomize=False)
    _, report = failure(Counted, chosen)
    first, runs = runs, 0
    _, again = failure(Counted, settings(chosen, max_examples=1))
    assert calls(again) == calls(report)
    assert runs < first


@pytest.mark.one_python
def test_transcripts_are_saved_where_the_class_says(tmp_path: Path) -> None:
    """The report has the path."""
    _, report = failure(type("Kept", (Till,), {"save": tmp_path}))
    path = tmp_path / "Kept-stage.jsonl"
    assert f"transcript: {path}" in report
    assert path.exists()


RULES = rules_of(Till, Till.participants)
SCRIPTS = scripts(RULES, Till.participants, Bounds(8, 1.0, 1.0, st.just(())))


@examples(50)
@given(SCRIPTS)
def test_a_script_gives_the_same_run_again(script: Script) -> None:
    """To the byte, whatever the order of actors and the late steps: so nothing is flaky."""
    runs = []
    for _ in range(2):
        performance = Performance(Till, script, ())
        found = run(performance, Case(script.seed, schedule=script.order), schedule=schedule_of(script))
        runs.append((found.digests, found.symptom, found.lates, found.deviations, performance.done))
    assert runs[0] == runs[1]


@pytest.mark.one_python
def test_flaky_is_not_raised_over_many_examples() -> None:
    """A failure that depends on the time of each operation to the nanosecond is the same when it is replayed."""

    class Picky(Till):
        def check(self) -> None:
            ends = [one.ended_at for one in self.history]
            assert sum(map(hash, ends)) % 7, "seven divides it"

    for number in range(3):
        error, _ = failure(type(f"Picky{number}", (Picky,), {}), settings(USUAL, max_examples=200))
        assert str(error).startswith("seven divides it")


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_without_hypothesis_the_error_has_the_line_to_type() -> None:
    """Where it is not installed, the import says what is missing."""
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "try:\n    import simulator.stateful\nexcept ImportError as error:\n    print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout == "simulator.stateful needs Hypothesis: pip install 'meshsync-client[stateful]'\n"


def use_nothing(self: object, me: Member) -> None:
    """Be a rule."""


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "Wrong has no rule: decorate methods with @rule()"),
        ({"participants": ()}, "Wrong.participants: names, each once, not ()"),
        ({"participants": ("ada", "ada")}, "Wrong.participants: names, each once, not ('ada', 'ada')"),
        ({"use": by("zoe")(rule()(lambda self, me: None))}, "Wrong.use is for 'zoe'; the participants are ada, bob"),
        (
            {"use": precondition(lambda self, me: True)(lambda self, me: None)},
            "Wrong.use has a precondition or names, and is no rule: add @rule()",
        ),
    ],
    ids=["no rule", "no participant", "two of a name", "a stranger", "no rule with a precondition"],
)
def test_a_class_that_cannot_be_run_is_refused(members: dict[str, Any], text: str) -> None:
    """With a sentence on what is missing."""
    with pytest.raises(UsageError) as refused:
        run_as_test(type("Wrong", (ConcurrentMachine,), members))
    assert str(refused.value) == text


async def coroutine(self: object, me: Member) -> None:
    """Be no rule."""


@pytest.mark.parametrize(
    ("decorate", "function", "text"),
    [
        (lambda: rule(n=3), use_nothing, "n: a strategy of Hypothesis or a bundle, not 3"),
        (lambda: rule(n=st.data()), use_nothing, "n: st.data() draws while a rule runs"),
        (lambda: rule(n=st.none()), use_nothing, "the rule use_nothing takes self, me and its arguments"),
        (lambda: rule(target="ITEMS"), use_nothing, "target: a bundle, or several, not 'ITEMS'"),
        (lambda: rule(n=consumes("ITEMS")), use_nothing, "consumes() is for a bundle, not for 'ITEMS'"),  # type: ignore[arg-type]
        (rule, coroutine, "coroutine would return before it has run"),
        (rule, invariant()(lambda self, me: None), "<lambda> is a rule or an invariant already"),
        (invariant, rule()(lambda self, me: None), "<lambda> is a rule already"),
        (rule, Till, "rules, preconditions and invariants are functions of a class"),
    ],
    ids=["number", "data", "argument", "target", "consumes", "coroutine", "twice", "invariant", "class"],
)
def test_what_is_no_rule_is_refused_where_it_is_written(decorate: Any, function: Any, text: str) -> None:
    """The sentence has the name of what is wrong."""
    with pytest.raises(UsageError) as refused:
        decorate()(function)
    assert str(refused.value).startswith(text)


def test_only_machines_are_run() -> None:
    """Hypothesis's own are for Hypothesis."""
    with pytest.raises(UsageError, match="is for a subclass of ConcurrentMachine, not for <class 'int'>"):
        run_as_test(int)  # type: ignore[arg-type]


class Rash(ConcurrentMachine):
    """That nothing comes between two lines is taken for granted."""

    save = None
    latest = 0

    def setup(self) -> None:
        self.lock = meshsync.Lock()
        self.busy = ""

    @rule()
    def work(self, me: Member) -> None:
        assert not self.busy, "busy with another one"
        self.busy = me.name
        with self.lock:
            self.busy = ""


@pytest.mark.one_python
def test_of_an_order_of_actors_what_the_failure_needs_is_left() -> None:
    """Hypothesis finds a seed of it, with dozens of deviations; the report has the few that it takes."""
    _, report = failure(Rash, settings(USUAL, max_examples=300))
    assert sorted(calls(report)) == [("ada", "work()"), ("bob", "work()")]
    (order,) = re.findall("order of actors: (.*)", report)
    deviations = order.removeprefix("fifo, but ").split("; ")
    assert 1 <= len(deviations) <= 4
    assert all(re.fullmatch(r".+ before .+ (went on|began), time \d+", one) for one in deviations)
