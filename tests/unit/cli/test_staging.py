"""Participants, latency and faults on the command line: what is typed, and what a command then meets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import click
import pytest

from simulator import faults, latency
from simulator.cli.staging import read_participant, stage_arguments
from simulator.cli.values import read_latency
from simulator.participants import Chatter, Echo, Rejecting

ROOT = Path(__file__).resolve().parents[3]


def asked(**given: Any) -> dict[str, Any]:
    """Return the options as parsed, those not given at their defaults."""
    return {"add": (), "latency": None, "reject_streams": (), "plan": None, "seed": 0, **given}


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("0.04", latency.constant(0.04)),
        ("40ms", latency.constant(0.04)),
        ("1.5s", latency.constant(1.5)),
        ("uniform:10ms,0.05", latency.uniform(0.01, 0.05)),
        ("lognormal:0.04,0.4", latency.lognormal(0.04, 0.4)),
    ],
)
def test_laws_have_units_where_they_are_typed(text: str, law: latency.Law) -> None:
    """A number without a unit is one of seconds, or a law's own."""
    assert read_latency(text) == law


@pytest.mark.parametrize(
    ("text", "is_warned_of"), [("40", True), ("40s", False), ("40ms", False), ("constant:40", False)]
)
def test_latency_that_seems_to_be_in_milliseconds_is_warned_of(
    text: str, is_warned_of: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless a unit says that it is not."""
    assert read_latency(text) == latency.constant(0.04 if text == "40ms" else 40)
    warning = "warning: a delay of 40 is 40 s: write 40ms or 40s, whichever is meant\n"
    assert capsys.readouterr().err == (warning if is_warned_of else "")


def test_correlated_laws_are_typed_with_their_time_first() -> None:
    """Before the law that they follow."""
    law = latency.correlated(latency.lognormal(0.04, 0.4), 1.5)
    assert (
        read_latency("correlated:1.5s:lognormal:40ms,0.4") == read_latency("correlated:1.5:lognormal:0.04,0.4") == law
    )
    assert read_latency("correlated:2:0.1") == latency.correlated(0.1, 2)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("correlated:1s", "it is correlated:SECONDS:LAW"),
        ("correlated:x:0.1", "it is correlated:SECONDS:LAW"),
        ("correlated:0:0.1", "seconds must be above 0"),
        ("correlated:1:correlated:1:0.1", "a law that is not correlated"),
        ("correlated:1:gamma:1", "no law is named 'gamma'"),
        ("matrix:nowhere.json", "nowhere.json cannot be read"),
    ],
)
def test_what_is_no_latency_is_refused_with_what_is_wrong(text: str, part: str) -> None:
    """Also within another one."""
    with pytest.raises(click.BadParameter, match=re.escape(part)):
        read_latency(text)


def test_the_matrix_in_the_docs_is_read(tmp_path: Path) -> None:
    """Its laws as they are typed."""
    (text,) = re.findall(r"^```text\n(\{.*?)^```", (ROOT / "docs" / "latency.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "table.json").write_text(text)
    assert read_latency(f"matrix:{tmp_path / 'table.json'}") == latency.matrix(
        {
            ("eu", "eu"): 0.001,
            ("eu", "us"): latency.lognormal(0.034, 0.1),
            ("us", "eu"): latency.correlated(latency.lognormal(0.04, 0.1), 1),
        },
        regions={"ada": "us", "room": "eu"},
        default=0.05,
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[]", "a matrix is an object"),
        ("{", "Expecting property name"),
        ("{}", "pairs: an object of objects"),
        ('{"pairs": {"eu": {"us": "gamma:1"}}}', "no law is named 'gamma'"),
        ('{"pairs": {"eu": {"us": 1}}, "regions": {"ada": "su"}}', "'ada' is in 'su', which no pair has"),
        ('{"pairs": {"eu": {"us": 1}}, "bandwidth": 1}', "matrix takes pairs, regions and default"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused(tmp_path: Path, text: str, part: str) -> None:
    """By what is wrong in it."""
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(click.BadParameter) as caught:
        read_latency(f"matrix:{path}")
    assert part in caught.value.message


def test_participants_come_back_by_themselves_if_asked_to() -> None:
    """An option of the class, as the others."""
    (bot,) = stage_arguments(asked(add=(read_participant("Echo:bot,returns_after=2.5"),)))["populate"]("lab")
    assert bot.returns_after == latency.constant(2.5)


@pytest.mark.parametrize("text", ["40 minutes", "ms", "gamma:1", "uniform:1", "-1"])
def test_what_is_no_law_is_refused(text: str) -> None:
    """The text tells what is one."""
    with pytest.raises(click.BadParameter, match=re.escape("lognormal:0.04,0.4")):
        read_latency(text)


def test_participants_are_described_by_class_name_options_and_room() -> None:
    """Options are numbers or texts; each room has new ones, of those for every room and of its own."""
    cast = (
        read_participant("Echo:bot"),
        read_participant("Chatter:joe,interval=0.5,to=ada,limit=3@lab"),
        read_participant("Rejecting:busy, reason=in a call@den"),
    )
    populate = stage_arguments(asked(add=cast))["populate"]
    assert [(type(one), one.name) for one in populate("den")] == [(Echo, "bot"), (Rejecting, "busy")]
    bot, joe = populate("lab")
    assert bot is not populate("lab")[0]
    assert isinstance(joe, Chatter)
    assert (joe.name, joe.interval, joe.to, joe.limit) == ("joe", latency.constant(0.5), "ada", 3)
    assert populate("den")[1].reason == "in a call"
    assert stage_arguments(asked())["populate"] is None


def test_classes_of_ones_own_are_found_in_modules_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the module's name as Python finds it, or by the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    program = "from simulator.participants import Echo\n\nclass Parrot(Echo): pass\n\ndef walk(): pass\n"
    for name in ("birds_in_a_module", "birds_in_a_file"):
        (tmp_path / f"{name}.py").write_text(program)
    for place in ("birds_in_a_module", "birds_in_a_file.py"):
        made = read_participant(f"{place}:Parrot:polly").make()
        assert (type(made).__name__, made.name) == ("Parrot", "polly")
    with pytest.raises(click.BadParameter, match=r"birds_in_a_file\.py:walk is no class of participants"):
        read_participant("birds_in_a_file.py:walk:polly")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Echo", "as Echo:bot"),
        ("Echo:", "as Echo:bot"),
        ("Echoo:bot", "there are Chatter, Echo,"),
        ("Echo:bot,delay", "OPTION=VALUE"),
        ("Echo:bot,dely=1", "it takes"),
        ("Echo:bot,delay=-1", "at least 0"),
        ("Streamer:bot", "chunks"),
        ("Echo:bot@no/room", "a room's name"),
        ("nowhere.at_all:Echo:bot", "nowhere"),
    ],
)
def test_mistakes_are_told_before_anything_listens(text: str, told: str) -> None:
    """Each with what would be right."""
    with pytest.raises(click.BadParameter, match=told):
        read_participant(text)


def test_rejections_and_a_plan_go_together() -> None:
    """Names come first, since the plan may end them."""
    plan = (faults.at(5, faults.reset("ada")),)
    given = stage_arguments(asked(reject_streams=("bot", "busy"), plan=plan, latency=latency.constant(1), seed="x"))
    assert given["plan"] == (faults.reject_streams("bot"), faults.reject_streams("busy"), *plan)
    assert (given["latency"], given["seed"]) == (latency.constant(1), "x")


def test_a_command_meets_them(tmp_path: Path) -> None:
    """Its room has the participants, a stream to one of them is rejected, and a plan strikes."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(faults.to_json([faults.on("message", sender="ada").do(faults.join("witness"))])))
    program = """
        import meshsync

        with meshsync.connect("lab", name="ada") as room:
            messaging = room.messaging
            messaging.enable()
            bot = messaging.wait_for_participant(name="bot", timeout=20)
            with messaging.messages(sender=bot) as answers:
                messaging.send_message(bot, "ask", {"n": 1})
                print(answers.get(timeout=20).message)
            try:
                messaging.create_stream(bot, {})
            except meshsync.StreamRejected as error:
                print("rejected:", error)
            print(messaging.wait_for_participant(name="witness", timeout=20).name)
    """
    options = ["--add", "Echo:bot@lab", "--add", "Rejecting:busy@den", "--latency", "5ms", "--reject-streams", "bot"]
    command = [
        "exec",
        *options,
        "--plan",
        str(plan),
        "--seed",
        "7",
        "--",
        sys.executable,
        "-c",
        textwrap.dedent(program),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "simulator", *command],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MESHAGENT_")}
        | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["{'n': 1}", "rejected: rejected", "witness"]
