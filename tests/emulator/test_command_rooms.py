"""``who``, ``send``, ``broadcast``, ``listen`` and ``attributes`` against an emulator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync.discovery import announce
from simulator import Emulator
from tests.support.command import PATIENCE, of_emulator, records, run
from tests.support.rooms import Ears, start

_rooms = count(1)


@pytest.fixture
def room() -> str:
    """Return the name of a room where no participant is."""
    return f"shell-{next(_rooms)}"


@pytest.fixture
def enter(emulated: Emulator, room: str) -> Iterator[Callable[..., meshsync.RoomClient]]:
    """Return a function that lets a client of this package into the room."""
    clients: list[meshsync.RoomClient] = []

    def enter(name: str, role: str = "user") -> meshsync.RoomClient:
        client = meshsync.connect(room, url=emulated.url, token=emulated.token(room, name, role=role))
        clients.append(client)
        client.messaging.enable()
        return client

    yield enter
    for client in clients:
        client.close(1)


@pytest.fixture
def here(emulated: Emulator, room: str) -> dict[str, str]:
    """Return the variables that lead a command into the room."""
    return of_emulator(emulated, room)


def heard(client: meshsync.RoomClient) -> Ears:
    """Return what a client hears from now on."""
    ears = Ears()
    client.messaging.on("message", ears)
    return ears


# --- who --------------------------------------------------------------------------------------------------------------


def test_who_lists_the_others_in_order_of_arrival(enter: Any, here: dict[str, str]) -> None:
    """In a pipe a line of JSON for each, with what is known of it; this command's own participant is not among them."""
    ada, bob = enter("ada", "agent"), enter("bob")
    bob.local_participant.set_attribute("mood", {"now": "calm"})
    assert ada.messaging.wait_for_participant(where=lambda other: bool(other.get_attribute("mood")), timeout=PATIENCE)

    result = run("who", environ=here)

    assert (result.exit_code, result.stderr) == (0, "")
    assert records(result) == [
        {"name": "ada", "role": "agent", "id": ada.local_participant.id, "attributes": {"name": "ada"}},
        {
            "name": "bob",
            "role": "user",
            "id": bob.local_participant.id,
            "attributes": {"name": "bob", "mood": {"now": "calm"}},
        },
    ]


@pytest.mark.parametrize("has_rich", [True, False])
def test_who_shows_people_a_table(
    enter: Any, here: dict[str, str], monkeypatch: pytest.MonkeyPatch, has_rich: bool
) -> None:
    """With rich or without; what would move the cursor, or be taken for markup, is shown as it was written."""
    if not has_rich:
        monkeypatch.setitem(__import__("sys").modules, "rich.table", None)
    enter("[bold]\x1b[2Jeve", "agent")

    result = run("who", "--text", environ=here | {"COLUMNS": "200"})

    head, *_, line = result.stdout.splitlines()
    assert head.split() == ["name", "role", "id", "attributes"]
    assert line.split()[:2] == ["[bold]\\x1b[2Jeve", "agent"]
    assert "\x1b" not in result.stdout


def test_an_empty_room_is_said_to_be_empty(here: dict[str, str]) -> None:
    """People read a sentence, programs no line."""
    assert run("who", "--text", environ=here).stdout == "no other participant is there\n"
    assert run("who", environ=here).stdout == ""


def test_an_argument_names_another_room_than_the_environment(enter: Any, here: dict[str, str], room: str) -> None:
    """And where it and the option disagree, that is a usage error."""
    enter("ada")
    elsewhere = here | {"MESHAGENT_ROOM": "elsewhere"}
    assert [line["name"] for line in records(run("who", room, environ=elsewhere))] == ["ada"]
    assert [line["name"] for line in records(run("who", "--room", room, environ=elsewhere))] == ["ada"]
    refused = run("who", room, "--room", "third", environ=elsewhere)
    assert (refused.exit_code, "'third'" in refused.stderr, refused.stdout) == (2, True, "")


# --- send -------------------------------------------------------------------------------------------------------------


def test_messages_come_from_arguments_files_and_standard_input(
    enter: Any, here: dict[str, str], tmp_path: Path
) -> None:
    """In that order, with one type, and one attachment beside each; each has its line when it is acknowledged."""
    ada = enter("ada")
    ears = heard(ada)
    (tmp_path / "one.json").write_text('{\n  "number": 2\n}\n', encoding="utf-8")
    (tmp_path / "two.jsonl").write_text('{"number": 3}\n\n{"number": 4}\n', encoding="utf-8")
    (tmp_path / "data").write_bytes(b"\x00\xff")

    result = run(
        *["send", "--to", "ada", "--type", "count", "--attach", str(tmp_path / "data"), '{"number": 1}'],
        *[f"@{tmp_path / 'one.json'}", f"@{tmp_path / 'two.jsonl'}", "-", '{"number": 7}'],
        environ=here,
        input='{"number": 5}\n{"number": 6, "ü": "é"}\n',
    )

    assert (result.exit_code, result.stderr) == (0, "")
    got = [ears.next().message for _ in range(7)]
    assert [message.message["number"] for message in got] == [1, 2, 3, 4, 5, 6, 7]
    assert {(message.type, message.attachment) for message in got} == {("count", b"\x00\xff")}
    members = {"type": "count", "to": "ada", "to_id": ada.local_participant.id, "confirmed": False}
    assert records(result) == [{"number": number, **members} for number in range(1, 8)]


def test_several_recipients_by_name_and_id(enter: Any, here: dict[str, str]) -> None:
    """Each gets each message; who is named twice gets it once."""
    ada, bob = enter("ada"), enter("bob")
    ears = heard(ada), heard(bob)
    bob_id = bob.local_participant.id
    result = run("send", "--to", "ada", "--to", bob_id, "--to", "bob", "--confirm", '{"a": 1}', environ=here)
    assert [line["to"] for line in records(result)] == ["ada", "bob"]
    assert [line["confirmed"] for line in records(result)] == [True, True]
    assert [ear.next().message.message for ear in ears] == [{"a": 1}, {"a": 1}]
    assert all(ear.is_silent for ear in ears)
    told = run("send", "--to", "ada", "--to", "bob", "--text", "{}", "{}", environ=here)
    assert told.stdout == "2 messages sent to ada, bob\n"


def test_an_absent_recipient_is_an_error_that_lists_who_is_there(enter: Any, here: dict[str, str], room: str) -> None:
    """Status 1, and nothing is sent to those that are there."""
    ears = heard(enter("ada", "agent"))
    result = run("send", "--to", "ada", "--to", "bob", "{}", environ=here)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"meshsync: there is no 'bob'; in {room!r} there are ada (agent)\n"
    assert ears.is_silent


def test_an_ambiguous_recipient_is_an_error_that_lists_ids(enter: Any, here: dict[str, str]) -> None:
    """Any of the ids then does."""
    twins = [enter("ada"), enter("ada")]
    ids = [twin.local_participant.id for twin in twins]
    result = run("send", "--to", "ada", "{}", environ=here)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "2 participants are called 'ada'" in result.stderr
    assert all(id in result.stderr for id in ids)
    assert run("send", "--to", ids[1], "{}", environ=here).exit_code == 0


def test_a_recipient_is_waited_for(enter: Any, here: dict[str, str]) -> None:
    """It is sent to when it has come; one that does not come costs the time limit, and status 5."""
    newcomer = start(
        lambda: enter("watcher").messaging.wait_for_participant(name="cli", timeout=PATIENCE) and enter("bob")
    )
    name = ("--name", "cli")
    assert run("send", *name, "--wait-for", "bob", "--to", "bob", "{}", environ=here).exit_code == 0
    newcomer.result(PATIENCE)
    late = run("send", "--wait-for", "eve", "--to", "eve", "--timeout", "1", "{}", environ=here)
    there = f"in {here['MESHAGENT_ROOM']!r} there are watcher (user), bob (user)"
    assert late.exit_code == 5
    assert late.stderr.endswith(f"meshsync: 'eve' did not come within 1 s; {there}\n")


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("{oops}", "the message is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"a": NaN}', "message['a']"),
        ("{" * 5, "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("@absent.json", "absent.json: No such file or directory"),
    ],
)
def test_what_is_no_message_is_an_error_before_anything_is_sent(
    enter: Any, here: dict[str, str], argument: str, fault: str
) -> None:
    """Status 2, or 1 for a file that cannot be read, and one sentence."""
    ears = heard(enter("ada"))
    result = run("send", "--to", "ada", argument, environ=here)
    assert (result.exit_code, result.stdout) == (1 if argument.startswith("@") else 2, "")
    assert fault in result.stderr
    assert ears.is_silent


def test_a_fault_on_standard_input_says_what_was_sent_before(enter: Any, here: dict[str, str]) -> None:
    """The line is named; the messages before it have arrived."""
    ears = heard(enter("ada"))
    result = run("send", "--to", "ada", "-", environ=here, input='{"a": 1}\n{"a": 2}\nthree\n')
    assert result.exit_code == 2
    assert "meshsync: 2 messages sent to ada\n" in result.stderr
    assert "standard input, line 3 is no JSON" in result.stderr
    assert [ears.next().message.message["a"] for _ in range(2)] == [1, 2]


def test_people_read_one_sentence(enter: Any, here: dict[str, str], room: str) -> None:
    """How many, and to whom."""
    enter("ada")
    result = run("send", room, "--text", "--to", "ada", "{}", "{}", environ={**here, "MESHAGENT_ROOM": "other"})
    assert result.stdout == "2 messages sent to ada\n"


# --- broadcast --------------------------------------------------------------------------------------------------------


def test_a_broadcast_reaches_all_others(enter: Any, here: dict[str, str]) -> None:
    """Each message once; an empty room is no error."""
    assert run("broadcast", "{}", environ=here).exit_code == 0
    ears = [heard(enter(name)) for name in ("ada", "bob")]
    result = run("broadcast", "--type", "news", '{"a": 1}', '{"a": 2}', environ=here)
    assert records(result) == [{"number": 1, "type": "news"}, {"number": 2, "type": "news"}]
    for ear in ears:
        got = [ear.next().message for _ in range(2)]
        assert [(message.type, message.message) for message in got] == [("news", {"a": 1}), ("news", {"a": 2})]


# --- listen -----------------------------------------------------------------------------------------------------------


def when_it_listens(client: meshsync.RoomClient, act: Callable[[meshsync.RemoteParticipant], object]) -> Any:
    """Call a function with the command's participant, called ``cli``, as soon as it is there."""
    return start(lambda: act(client.messaging.wait_for_participant(name="cli", timeout=PATIENCE)))


def test_listen_prints_messages_and_stores_attachments(enter: Any, here: dict[str, str], tmp_path: Path) -> None:
    """Each is a line with documented members; an attachment is stored under its hash, an equal one once."""
    ada, data = enter("ada"), b"\x00" * 1000
    digest = hashlib.sha256(data).hexdigest()

    def act(cli: meshsync.RemoteParticipant) -> None:
        for number in range(2):
            ada.messaging.send_message(cli, "chat", {"number": number}, data)
        ada.messaging.broadcast_message("news", {"text": "ü"})

    acting = when_it_listens(ada, act)
    folder = tmp_path / "new" / "attachments"
    options = ["--save-attachments", str(folder), "--create-dirs", "--timeout", str(PATIENCE)]
    result = run("listen", "--name", "cli", "--count", "3", *options, environ=here)
    acting.result(PATIENCE)

    assert result.exit_code == 0
    assert "as 'cli'; --timeout limits each step, such as connecting: for an end after a time give" in result.stderr
    lines = records(result)
    assert [set(line) for line in lines] == [{"time", "type", "from", "from_id", "message", "attachment"}] * 3
    assert [(line["type"], line["message"]) for line in lines] == [
        ("chat", {"number": 0}),
        ("chat", {"number": 1}),
        ("news", {"text": "ü"}),
    ]
    assert {(line["from"], line["from_id"]) for line in lines} == {("ada", ada.local_participant.id)}
    stored = {"size": 1000, "sha256": digest, "path": str(folder / digest)}
    assert [line["attachment"] for line in lines] == [stored, stored, None]
    assert [file.read_bytes() for file in folder.iterdir()] == [data]


def test_listen_chooses_by_type_and_sender(enter: Any, here: dict[str, str]) -> None:
    """What does not match is neither printed nor counted."""
    ada, bob = enter("ada"), enter("bob")

    def act(cli: meshsync.RemoteParticipant) -> None:
        bob.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        bob.messaging.send_message(cli.id, "chat", {"by": "bob"})
        ada.messaging.send_message(cli, "noise", {})
        ada.messaging.send_message(cli, "chat", {"by": "ada"})

    acting = when_it_listens(ada, act)
    result = run("listen", "--name", "cli", "--count", "1", "--type", "chat", "--from", "ada", environ=here)
    acting.result(PATIENCE)
    assert [line["message"] for line in records(result)] == [{"by": "ada"}]


def test_listen_shows_people_a_line_that_cannot_move_the_cursor(enter: Any, here: dict[str, str]) -> None:
    """Sender, type and message, whatever is in them."""
    eve = enter("e\x1bve")
    acting = when_it_listens(eve, lambda cli: eve.messaging.send_message(cli, "t\ny", {"a": "\x9b2J\u202e"}, b"x"))
    result = run("listen", "--name", "cli", "--count", "1", "--text", environ=here)
    acting.result(PATIENCE)
    assert result.stdout[8:] == '  e\\x1bve  t\\ny  {"a": "\\x9b2J\\u202e"}  + 1 byte\n'


def test_listen_ends_after_its_time(here: dict[str, str]) -> None:
    """With status 0, or with 5 if fewer came than were asked for."""
    assert run("listen", "--for", "0.05", environ=here).exit_code == 0
    late = run("listen", "--for", "0.05", "--count", "2", environ=here)
    assert (late.exit_code, late.stderr.splitlines()[-1]) == (5, "meshsync: received 0 of 2 messages within 0.05 s")


def test_listen_ends_when_the_room_does(here: dict[str, str], enter: Any) -> None:
    """A participant that dismisses it ends it for good: status 3, one sentence."""
    ada = enter("ada")
    acting = when_it_listens(ada, lambda cli: ada.messaging.send_message(cli, "dismiss", {}))
    result = run("listen", "--name", "cli", environ=here)
    acting.result(PATIENCE)
    assert (result.exit_code, "Traceback" in result.stderr) == (3, False)


# --- attributes -------------------------------------------------------------------------------------------------------


def test_attributes_are_shown_one_by_one(enter: Any, here: dict[str, str]) -> None:
    """Those of all, or of those that are named."""
    ada, bob = enter("ada"), enter("bob")
    bob.local_participant.set_attribute("mood", [1])
    ada.messaging.wait_for_participant(where=lambda other: other.get_attribute("mood") == [1], timeout=PATIENCE)
    about = {"participant": "bob", "participant_id": bob.local_participant.id}
    assert records(run("attributes", "show", "--of", "bob", environ=here)) == [
        {**about, "attribute": "name", "value": "bob"},
        {**about, "attribute": "mood", "value": [1]},
    ]
    assert [line["participant"] for line in records(run("attributes", "show", environ=here))] == ["ada", "bob", "bob"]
    assert run("attributes", "show", "--of", "eve", environ=here).exit_code == 1


def test_attributes_are_set_and_removed_while_the_command_runs(enter: Any, here: dict[str, str]) -> None:
    """A value is JSON, or else a text; removed, it is null. Others see it."""
    ada = enter("ada")
    seen = Ears()
    ada.messaging.on("participant_attributes_updated", seen)
    result = run("attributes", "set", "mood=calm", 'size=[1, "a=b"]', "--for", "0.05", environ=here)
    assert [(line["attribute"], line["value"]) for line in records(result)] == [("mood", "calm"), ("size", [1, "a=b"])]
    assert [seen.next().message.message["attributes"] for _ in range(2)] == [{"mood": "calm"}, {"size": [1, "a=b"]}]
    result = run("attributes", "remove", "mood", "--for", "0.05", environ=here)
    assert [(line["attribute"], line["value"]) for line in records(result)] == [("mood", None)]
    assert seen.next().message.message["attributes"] == {"mood": None}


@pytest.mark.parametrize("arguments", [["set"], ["set", "room"], ["set", "=x"], ["set", "room", "a"], ["remove"]])
def test_attributes_that_are_none_are_usage_errors(arguments: list[str]) -> None:
    """Before anything is connected."""
    assert run("attributes", *arguments).exit_code == 2


# --- a running emulator -----------------------------------------------------------------------------------------------


@pytest.fixture
def announced(emulated: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let commands find the emulator, and no other one of this machine."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with announce(emulated.url, emulated.env):
        yield


@pytest.mark.usefixtures("announced")
def test_the_emulator_is_found_and_gets_no_other_credential(enter: Any, room: str) -> None:
    """By ``--emulator`` or its address; a token of another service stays here, and the doctor says so."""
    enter("ada")
    foreign = {"MESHAGENT_TOKEN": "eyJ-of-another-service", "MESHAGENT_API_URL": "wss://rooms.example"}
    for option in (["--emulator"], ["--url", "emulator"]):
        result = run("who", room, *option, environ=foreign)
        assert [line["name"] for line in records(result)] == ["ada"], result.output
    result = run("doctor", "--emulator", environ=foreign | {"MESHAGENT_ROOM": room})
    assert result.exit_code == 0, result.output
    unused = [line["facts"]["name"] for line in records(result) if line["facts"].get("is_used") is False]
    assert unused == ["MESHAGENT_API_URL", "MESHAGENT_TOKEN"]


def test_without_an_emulator_there_is_none_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 3, and what starts one; the doctor says the same."""
    for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run("who", "lab", "--emulator")
    assert (result.exit_code, "simulator serve" in result.stderr) == (3, True)
    examined = run("doctor", "lab", "--emulator")
    assert examined.exit_code == 3
    assert records(examined)[0]["step"] == "emulator"


@pytest.mark.usefixtures("announced")
def test_of_several_emulators_one_is_chosen_by_its_port(emulated: Emulator, enter: Any, room: str) -> None:
    """Else the error lists them: status 2, also of the doctor."""
    enter("ada")
    with Emulator() as other, announce(other.url, other.env):
        for arguments in (["who", room, "--emulator"], ["doctor", room, "--emulator"]):
            result = run(*arguments)
            assert (result.exit_code, emulated.url in result.output, other.url in result.output) == (2, True, True)
        result = run("who", room, "--url", f"emulator:{emulated.port}")
        assert [line["name"] for line in records(result)] == ["ada"]
