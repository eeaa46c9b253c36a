"""Tests that are made of records: they pass at once, and fail when the program is broken."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import Transcript, replay_room
from simulator.errors import ReplayFailed, ReplayStalled, WorldStalled
from simulator.replaying import Id, Sent, Step
from simulator.replaying.making import MadeTest, make_test
from tests.support.worlds import simulated

BOT = """
import time
import meshsync

def answer():
    with meshsync.connect("lab", name="bot", role="agent") as room:
        @room.messaging.on_message("ask")
        def reply(event):
            body = {"double": event.message.message["number"] * 2, "time": time.time(), "of": event.participant.id}
            room.messaging.send_message(event.participant, "reply", body, b"\\x00data")

        @room.messaging.on_message("bye")
        def bye(event):
            room.messaging.broadcast_message("over", {})

        room.messaging.enable()
        room.run_forever()
"""
HOSTILE = "al'i\"ce\n\\N{BULLET}\\𝄞\x1b\u2028}{'''"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory of its own, in which there is the program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(tmp_path, BOT)
    return tmp_path


def write(folder: Path, text: str, name: str = "bot.py") -> None:
    """Write a program; its bytecode would be taken for that of the last one, written within the same second."""
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    for file in folder.glob("__pycache__/*"):
        os.remove(file)


def record(folder: Path, ask: str = "alice", program: str = "bot.py:answer") -> Transcript:
    """Return the record of two participants that ask the program, and write it to a file."""
    from simulator.exploring.programs import afresh, find

    with simulated(latency=0.01) as sim, afresh(folder):
        sim.spawn(find(program))
        room = sim.room("lab")
        sim.sleep(1)
        alice, carol = room.join(ask, enable=True), room.join("carol", enable=True)
        bot = alice.messaging.wait_for_participant(name="bot")
        with alice.messaging.messages("reply") as replies:
            for number in range(3):
                alice.messaging.send_message(bot, "ask", {"number": number}, bytes([number]))
                replies.get(10)
        carol.messaging.send_message(carol.messaging.wait_for_participant(name="bot"), "bye", {})
        sim.sleep(3)
        made = room.transcript.copy()
    made.save(folder / "record.jsonl")
    return made


def made(folder: Path, **options: Any) -> MadeTest:
    """Return the test that is made of the record."""
    return make_test(folder / "record.jsonl", "bot", **{"program": "bot.py:answer", **options})


def test_of(test: MadeTest) -> Callable[[], None]:
    """Import the file, and return its test."""
    spec = importlib.util.spec_from_file_location("made_test", test.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (found,) = [value for name, value in vars(module).items() if name.startswith("test_")]
    return found  # type: ignore[no-any-return]


test_of.__test__ = False  # type: ignore[attr-defined]


def test_a_made_test_passes_at_once(folder: Path) -> None:
    """What differs between two runs is masked, and nothing else."""
    record(folder)
    test = made(folder)
    assert test.masked == (("reply", "message", "time"),)
    assert test.notes == ()
    test_of(test)()
    test_of(test)()


def test_the_file_is_what_a_person_would_write(folder: Path) -> None:
    """Short; it imports from the simulator alone, and lists what is masked."""
    record(folder)
    text = made(folder).path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imported] == ["from simulator.replaying import Id, Step, check_subject"]
    assert "MASKED = [\n    ('reply', 'message', 'time'),\n]" in text
    assert "    Step(1.16, 'alice', 'send', to='bot', type='ask', body={'number': 1}, attachment=b'\\x01'),\n" in text
    assert "Step(1.26, 'bot', 'broadcast', to=('alice', 'carol'), type='over')," in text
    assert len(text.splitlines()) < 70 and max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('["number"] * 2', '["number"] * 3', "number 2: message 'reply': message.double: 2 versus 3"),
        ('"double":', '"twice":', "message 'reply': message.double: 0 versus missing"),
        ('"of": event.participant.id', '"of": room.local_participant.id', 'message.of: "<alice>" versus "<bot>"'),
        ('b"\\x00data"', 'b"other"', "message 'reply': attachment "),
        (
            'room.messaging.send_message(event.participant, "reply", body, b"\\x00data")',
            "pass",
            "alice waits for 'reply' from bot, which the record has at 1.14 s",
        ),
        ('"reply"', '"replay"', "alice waits for 'reply' from bot"),
        ('"reply"', '"replay"', "what came besides: 'replay' from bot to alice"),
        (
            "            room.messaging.broadcast_message",
            '            room.messaging.send_message(event.participant, "extra", {})\n'
            "            room.messaging.broadcast_message",
            "bot -> carol, number 1: message 'over' versus message 'extra'",
        ),
        (
            'broadcast_message("over", {})',
            'broadcast_message("over", {})\n            room.messaging.send_message(event.participant, "more", {})',
            "bot -> carol, number 2: only the second has message 'more'",
        ),
        (
            'send_message(event.participant, "reply"',
            'send_message(room.messaging.wait_for_participant(name="carol"), "reply"',
            "what came besides: 'reply' from bot to carol",
        ),
        (
            'broadcast_message("over", {})',
            'send_message(event.participant, "over", {})',
            "alice waits for 'over' from bot",
        ),
        (
            'broadcast_message("over", {})',
            'broadcast_message("over", {})\n            room.messaging.broadcast_message("over", {})',
            "only the second has message 'over'",
        ),
        ("    with meshsync", '    raise RuntimeError("at start")\n    with meshsync', "the program of bot failed: "),
        ("        room.run_forever()", '        raise RuntimeError("late")', "the program of bot failed: RuntimeError"),
        ("import time", "import nothing_of_that_name", "bot.py cannot be imported: "),
        ("        room.run_forever()", "        room.close()", "alice waits for "),
        ("        room.messaging.enable()", "        meshsync.sleep(1e9)", "alice waits for bot to enable messaging"),
        ('name="bot"', 'name="bat"', "alice waits for bot to enable messaging"),
    ],
)
def test_a_broken_program_fails_its_test(folder: Path, old: str, new: str, text: str) -> None:
    """Whatever is broken, and the text says what."""
    record(folder)
    test = test_of(made(folder))
    assert BOT.count(old) == 1, old
    write(folder, BOT.replace(old, new))
    with pytest.raises((AssertionError, UsageError)) as caught:
        test()
    assert text in str(caught.value)


@pytest.mark.filterwarnings("ignore:ActorsRefuse")
def test_a_program_that_blocks_for_real_is_named(folder: Path) -> None:
    """It holds the virtual clock: the simulation says at which line."""
    record(folder)
    test = test_of(made(folder))
    write(folder, BOT.replace("        room.messaging.enable()", "        time.sleep(20)"))
    with pytest.raises((AssertionError, WorldStalled), match=r"bot\.py:16"):
        test()


def test_names_and_values_of_any_kind_give_a_file_that_imports(folder: Path) -> None:
    """Quotes, line feeds, backslashes, escapes of names, characters beyond 16 bits: and it passes."""
    record(folder, ask=HOSTILE)
    test = made(folder)
    test_of(test)()
    tree = ast.parse(test.path.read_text(encoding="utf-8"))
    assert HOSTILE in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", ["b'o\"t.py", "b\\N{BULLET}o𝄞t.py", "it is\na bot.py"])
def test_files_of_any_name_give_a_test_that_imports(folder: Path, name: str) -> None:
    """The program's, the directory's and the test's own."""
    if os.name != "posix":
        name = "b'ot𝄞.py"
    inner = folder / f"in {name[:-3]}"
    inner.mkdir()
    write(inner, BOT, name)
    record(folder)
    output = inner / f"test_{name}"
    test = made(folder, program=f"{inner.name}/{name}:answer", output=output)
    assert test.path == output
    test_of(test)()


def test_what_others_send_back_is_what_the_program_says_now(folder: Path) -> None:
    """The id of a question is another one in each run."""
    write(
        folder,
        """
        import uuid
        import meshsync

        def answer():
            with meshsync.connect("lab", name="bot") as room:
                room.messaging.enable()
                server = room.messaging.wait_for_participant(name="server")
                for _ in range(2):
                    id = uuid.uuid4().hex
                    with room.messaging.messages("answer") as answers:
                        room.messaging.send_message(server, "question", {"about": {"id": id}})
                        assert answers.get(10).message == {"to": id, "for": server.id}
                room.messaging.broadcast_message("done", {})
        """,
    )

    def serve() -> None:
        with meshsync.connect("lab", name="server") as room, room.messaging.messages("question") as questions:
            room.messaging.enable()
            for _ in range(2):
                got = questions.get(10)
                body = {"to": got.message["about"]["id"], "for": room.local_participant.id}
                room.messaging.send_message(got.from_participant_id, "answer", body)
            room.messaging.wait_for_message("done")

    from simulator.exploring.programs import afresh, find

    with simulated(latency=0.01) as sim, afresh(folder):
        sim.spawn(find("bot.py:answer"))
        sim.spawn(serve).join()
        sim.room("lab").transcript.save("record.jsonl")
    test = made(folder)
    text = test.path.read_text(encoding="utf-8")
    assert "{'for': Id('server'), 'to': Sent('question', 1, 'about', 'id')}" in text
    assert test.masked == (("question", "message", "about", "id"),)
    test_of(test)()
    write(folder, (folder / "bot.py").read_text().replace('"about"', '"on"'))
    with pytest.raises(AssertionError, match="bot has not sent that to server"):
        test_of(test)()


def test_streams_of_the_program_are_part_of_its_test(folder: Path) -> None:
    """Accepting, rejecting, its own chunks and those of others; a changed chunk fails."""
    write(
        folder,
        """
        import meshsync
        from meshsync import MessageStreamChunk

        def answer():
            def take(reader):
                if reader.header.get("size", 0) > 3:
                    raise meshsync.StreamRejected("too large")
                data = reader.read_all()
                with room.messaging.create_stream(reader.sender, {"back": len(data)}) as writer:
                    writer.write(MessageStreamChunk({"n": 1}, data[::-1]))
            with meshsync.connect("lab", name="bot") as room:
                room.messaging.enable(take)
                room.run_forever()
        """,
    )

    def send() -> None:
        with meshsync.connect("lab", name="ada") as room, room.messaging.streams() as offers:
            room.messaging.enable()
            bot = room.messaging.wait_for_participant(name="bot")
            with pytest.raises(meshsync.StreamRejected):
                room.messaging.create_stream(bot, {"size": 4})
            with room.messaging.create_stream(bot, {"size": 2}) as writer:
                writer.write(b"ab")
            assert offers.get(10).read_all() == b"ba"

    from simulator.exploring.programs import afresh, find

    with simulated(latency=0.01) as sim, afresh(folder):
        sim.spawn(find("bot.py:answer"))
        sim.spawn(send).join()
        sim.room("lab").transcript.save("record.jsonl")
    test = test_of(made(folder))
    test()
    program = (folder / "bot.py").read_text()
    for old, new, text in [
        ("[::-1]", "", "message 'stream.chunk': attachment"),
        ("too large", "too big", 'stream \'stream.reject\': message.error: "too large" versus "too big"'),
        ("> 3", "> 1", "ada waits for the acceptance of stream 2 from ada to bot by bot"),
        ('"back": len(data)', '"back": 0', "message.header.back: 2 versus 0"),
        (
            "with room.messaging",
            "with room.messaging.create_stream(reader.sender, {}): pass\n        with room.messaging",
            "a chunk from bot on stream 1 from bot to ada",
        ),
    ]:
        write(folder, program.replace(old, new))
        with pytest.raises(AssertionError) as caught:
            test()
        assert text in str(caught.value)


def test_a_program_that_ran_twice_is_started_twice(folder: Path) -> None:
    """It asks once each time."""
    write(
        folder,
        """
        import meshsync

        def answer():
            with meshsync.connect("lab", name="bot") as room:
                room.messaging.enable()
                server = room.messaging.wait_for_participant(name="server")
                with room.messaging.messages("answer") as answers:
                    room.messaging.send_message(server, "question", {})
                    answers.get(10)
        """,
    )
    from simulator.exploring.programs import afresh, find

    with simulated(latency=0.01) as sim, afresh(folder):
        room = sim.room("lab")
        server = room.join("server", enable=True)
        server.messaging.on_message(
            "question", lambda event: server.messaging.send_message(event.participant, "answer", {})
        )
        for _ in range(2):
            sim.spawn(find("bot.py:answer")).join()
            sim.sleep(5)
        room.transcript.save("record.jsonl")
    test = test_of(made(folder))
    test()
    write(folder, (folder / "bot.py").read_text().replace('"question", {}', '"question", {"x": 1}'))
    with pytest.raises(AssertionError, match=r"message\.x: missing versus 1"):
        test()


def test_long_attachments_of_others_lie_beside_the_test(folder: Path) -> None:
    """By their hashes; one that is missing is named, and one that the record lacks is empty."""
    from simulator.exploring.programs import afresh, find

    with simulated(latency=0.01) as sim, afresh(folder):
        sim.spawn(find("bot.py:answer"))
        alice = sim.room("lab").join("alice", enable=True)
        bot = alice.messaging.wait_for_participant(name="bot")
        with alice.messaging.messages("reply") as replies:
            for size in (64, 65, 2_000_000):
                alice.messaging.send_message(bot, "ask", {"number": size}, bytes(size))
                replies.get(10)
        sim.sleep(1)
        sim.room("lab").transcript.save("record.jsonl")
    test = made(folder)
    (note,) = test.notes
    assert note.startswith("the record lacks the attachment of 'ask' from alice to bot at ")
    (file,) = (folder / "test_bot_attachments").iterdir()
    assert file.read_bytes() == bytes(65)
    assert "attachments='test_bot_attachments'" in test.path.read_text(encoding="utf-8")
    test_of(test)()
    file.unlink()
    with pytest.raises(UsageError, match=r"the attachment of the step of 'alice' at .* is to be in .*: No such file"):
        test_of(test)()


def test_a_program_that_does_something_else_each_time_gets_no_test(folder: Path) -> None:
    """No file is written."""
    record(folder)
    write(folder, BOT.replace('"over", {}', "'over' if time.time_ns() // 1000 % 2 else 'out', {}") + VARYING)
    with pytest.raises(ReplayFailed):
        made(folder)
    assert not Path("test_bot.py").exists()


VARYING = """
import itertools, pathlib
count = pathlib.Path("count")
count.write_text(str(int(count.read_text()) + 1) if count.exists() else "0")

class time:
    time = staticmethod(lambda: 0.0)
    time_ns = staticmethod(lambda: 1000 * int(count.read_text()))
"""


def test_a_program_that_does_what_the_record_does_not_is_noted(folder: Path) -> None:
    """The test expects what it does now."""
    record(folder)
    write(folder, BOT.replace('["number"] * 2', '["number"] * 3'))
    test = made(folder)
    assert test.notes == (
        "bot no longer does what the record has; the test expects what it does now: "
        "bot -> alice, number 2: message 'reply': message.double: 2 versus 3",
    )
    test_of(test)()


def test_a_program_that_fails_gets_no_test(folder: Path) -> None:
    """The error is the program's."""
    record(folder)
    write(folder, BOT.replace("        room.messaging.enable()", "        1 / 0"))
    with pytest.raises(ReplayFailed, match="the program of bot failed: ZeroDivisionError") as caught:
        made(folder)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    write(folder, BOT.replace('"reply"', '"replay"'))
    with pytest.raises(ReplayStalled):
        made(folder, stall=3.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"program": None}, "either a program"),
        ({"program": "bot.py:answer", "command": ["python"]}, "either a program"),
        ({"program": None, "command": ["python"], "world": "simulation"}, "a command cannot run in a simulation"),
        ({"program": "bot.py:nothing"}, "has no 'nothing'"),
        ({"program": "bat.py:answer"}, "there is no file"),
        ({"program": "bot.py:BOT"}, "has no 'BOT'"),
        ({"world": "moon"}, "not in 'moon'"),
        ({"output": "none/test_bot.py"}, "there is no directory none"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, options: dict[str, Any], text: str) -> None:
    """Before anything is run."""
    record(folder)
    with pytest.raises(UsageError, match=text):
        made(folder, **options)


def test_only_a_test_that_was_made_is_overwritten(folder: Path) -> None:
    """A file of the user's own is kept."""
    record(folder)
    made(folder)
    made(folder)
    Path("test_bot.py").write_text("my own")
    with pytest.raises(UsageError, match="was not made by as-test"):
        made(folder)
    assert Path("test_bot.py").read_text() == "my own"


def test_a_participant_that_the_record_has_not_is_refused(folder: Path) -> None:
    """The error lists those that it has."""
    record(folder)
    with pytest.raises(UsageError, match="there is no 'bob'; these are: 'bot', 'alice', 'carol'"):
        make_test(folder / "record.jsonl", "bob", program="bot.py:answer")


def test_a_program_may_take_the_simulation(folder: Path) -> None:
    """And no two arguments."""
    record(folder)
    write(folder, BOT.replace("def answer():", "def answer(simulation):\n    assert simulation.now >= 0"))
    test_of(made(folder))()
    write(folder, BOT.replace("def answer():", "def answer(one, two):"))
    with pytest.raises(UsageError, match="it has to take nothing"):
        made(folder)


@pytest.mark.parametrize(
    "arguments", [("wave",), ("send",), ("broadcast", "ada"), ("chunk", "ada"), ("send", ("ada", "ben"))]
)
def test_a_step_that_makes_no_sense_is_refused(arguments: tuple[Any, ...]) -> None:
    """When it is made: it stands in a file that people edit."""
    with pytest.raises(UsageError, match=r"the step of 'ada' at 1\.5 s: "):
        Step(1.5, "ada", *arguments)


def test_ids_and_sayings_are_written_as_they_are_read() -> None:
    """Their texts are Python."""
    for value in (Id("a'b"), Sent("ask", 1, "a", 0, "b\n")):
        assert eval(repr(value), {"Id": Id, "Sent": Sent}) == value


ASKER = """
import meshsync

def ask():
    with meshsync.connect("lab", name="bot", role="agent") as room:
        room.messaging.enable()
        alice = room.messaging.wait_for_participant(name="alice", timeout=30)
        got = []
        for number in range(3):
            got.append(room.messaging.ask(alice, "double", {"number": number}, timeout=30).message["double"])
        got.append(room.messaging.ask(alice, "other", {}, timeout=30, reply_type="answer").type)
        room.messaging.send_message(alice, "sum", {"of": got})
"""


def test_a_program_that_asks_gets_the_recorded_answers(folder: Path) -> None:
    """As answers to its questions, whatever their types."""
    from simulator.exploring.programs import afresh, find

    write(folder, ASKER)
    with simulated(latency=0.01) as sim, afresh(folder):
        sim.spawn(find("bot.py:ask"))
        room = sim.room("lab")
        sim.sleep(1)
        alice = room.join("alice", enable=True)
        alice.messaging.on_request("double", lambda event: {"double": 2 * event.message.message["number"]})
        alice.messaging.on_request("other", lambda event: {})
        sim.sleep(10)
        recorded = room.transcript.copy()
    recorded.save(folder / "record.jsonl")
    assert [record.detail["of"] for record in recorded.messages(type="sum")] == [[0, 2, 4, "answer"]]
    test_of(made(folder, program="bot.py:ask"))()


SHOP = """
import meshsync

def serve():
    with meshsync.connect("market", name="shop", role="agent") as room:
        @room.messaging.on_request("price", reply_type="cents")
        def price(event):
            item = event.message.message["item"]
            if item == "moon":
                raise meshsync.Refuse("the moon is not for sale")
            return {"cents": {"tea": 250, "milk": 120}[item]}, b"signed"

        room.messaging.enable()
        room.run_forever()
"""


def record_of_questions(folder: Path) -> None:
    """Write the record of a customer that asks the shop four times, and sends a message besides."""
    from simulator.exploring.programs import afresh, find

    write(folder, SHOP, "shop.py")
    with simulated(latency=0.01, failing_receivers="log") as sim, afresh(folder):
        sim.spawn(find("shop.py:serve"))
        room = sim.room("market")
        sim.sleep(1)
        eve = room.join("eve", enable=True)
        shop = eve.messaging.wait_for_participant(name="shop")
        for item in ("tea", "moon", "sun", "milk"):
            with suppress(meshsync.RequestError):
                eve.messaging.ask(shop, "price", {"item": item}, timeout=10)
        eve.messaging.send_message(shop, "bye", {})
        sim.sleep(1)
        room.transcript.save(folder / "record.jsonl")


@pytest.mark.parametrize("world", ["simulation", "emulator"])
def test_a_program_that_is_asked_has_a_test_of_its_answers(folder: Path, world: Any) -> None:
    """The others ask, and are answered, refused or failed as they were; whatever is changed of that is found."""
    record_of_questions(folder)
    test = make_test(folder / "record.jsonl", "shop", program="shop.py:serve", world=world)
    assert (test.masked, test.notes) == ((), ())
    check = test_of(test)
    steps = [step for step in check.__globals__["STEPS"] if step.question]
    assert [(step.who, step.verb, step.to, step.type, dict(step.body), step.reason) for step in steps] == [
        ("eve", "ask", "shop", "price", {"item": "tea"}, ""),
        ("shop", "reply", "eve", "cents", {"cents": 250}, ""),
        ("eve", "ask", "shop", "price", {"item": "moon"}, ""),
        ("shop", "refuse", "eve", "price", {}, "the moon is not for sale"),
        ("eve", "ask", "shop", "price", {"item": "sun"}, ""),
        ("shop", "fail", "eve", "price", {}, ""),
        ("eve", "ask", "shop", "price", {"item": "milk"}, ""),
        ("shop", "reply", "eve", "cents", {"cents": 120}, ""),
    ]
    assert [step.question for step in steps] == [f"question {n} from eve to shop" for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert (steps[1].attachment, check.__globals__["STEPS"][-1].verb) == (b"signed", "send")
    check()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"tea": 250', '"tea": 300', "shop -> eve, number 1: message 'cents': message.cents: 250 versus 300"),
        ('b"signed"', 'b"other"', "message 'cents': attachment "),
        ("not for sale", "far away", "refused: the moon is not for sale versus refused: the moon is far away"),
        ('item == "moon"', 'item == "sun"', "eve waits for the answer of shop to question 2 from eve to shop"),
        ('item == "moon"', 'item == "mars"', "what came besides: fail question 2 from eve to shop from shop to eve"),
        ('"milk": 120', '"milk": 120, "sun": 1', "reply question 3 from eve to shop"),
        ('reply_type="cents"', 'reply_type="pence"', "versus message 'pence'"),
        ('on_request("price"', 'on_request("cost"', "refuse question 1 from eve to shop from shop to eve"),
        (
            "            return ",
            "            meshsync.sleep(1e6)\n            return ",
            "eve waits for the answer of shop",
        ),
        (
            "            return ",
            '            room.messaging.send_message(event.participant, "cents", {"cents": 250})\n            return ',
            "shop -> eve, number 1",
        ),
    ],
)
def test_a_changed_answer_fails_its_test(folder: Path, old: str, new: str, text: str) -> None:
    """Its body, its attachment, a refusal and its reason, a failure, none at all, and a message besides."""
    record_of_questions(folder)
    test = test_of(make_test(folder / "record.jsonl", "shop", program="shop.py:serve"))
    assert SHOP.count(old) == 1, old
    write(folder, SHOP.replace(old, new), "shop.py")
    with pytest.raises(AssertionError) as caught:
        test()
    assert text in str(caught.value)


def test_a_program_that_asks_is_refused_and_failed_as_it_was(folder: Path) -> None:
    """The scripted answerers do to it what the record has; a program that asks something else fails."""
    from simulator.exploring.programs import afresh, find

    program = """
    import meshsync

    def buy():
        with meshsync.connect("market", name="eve") as room:
            room.messaging.enable()
            shop = room.messaging.wait_for_participant(name="shop", timeout=30)
            for item in ("tea", "moon", "sun"):
                try:
                    told = room.messaging.ask(shop, "price", {"item": item}, timeout=30).message
                except meshsync.RequestError as error:
                    told = {"error": type(error).__name__}
                room.messaging.send_message(shop, "told", told)
    """
    write(folder, program, "eve.py")
    write(folder, SHOP, "shop.py")
    with simulated(latency=0.01, failing_receivers="log") as sim, afresh(folder):
        sim.spawn(find("shop.py:serve"))
        sim.sleep(1)
        sim.spawn(find("eve.py:buy")).join()
        recorded = sim.room("market").transcript.copy()
    recorded.save(folder / "record.jsonl")
    assert [record.detail for record in recorded.messages(type="told")] == [
        {"cents": 250},
        {"error": "RequestRefused"},
        {"error": "RequestFailed"},
    ]
    made = make_test(folder / "record.jsonl", "eve", program="eve.py:buy")
    assert made.notes == ()
    test = test_of(made)
    test()
    write(folder, program.replace('"moon"', '"mars"'), "eve.py")
    with pytest.raises(AssertionError, match=r'message\.item: "moon" versus "mars"'):
        test()
    told = 'room.messaging.ask(shop, "price", {"item": item}, timeout=30).message'
    write(folder, program.replace(told, 'room.messaging.send_message(shop, "price", {"item": item}) or {}'), "eve.py")
    with pytest.raises(AssertionError, match="shop waits for the question 'price' from eve"):
        test()


def test_a_record_with_questions_is_replayed_as_it_was(folder: Path) -> None:
    """All of its participants are scripted; and saved and loaded, a record still tells which messages ask."""
    record_of_questions(folder)
    replayed = replay_room(folder / "record.jsonl")
    assert not replayed.difference, replayed.difference
    marks = [next(iter(record.mark), "") for record in replayed.transcript if record.kind == "message"]
    assert marks == ["ask", "answer", "ask", "answer", "ask", "answer", "ask", "answer", ""]
