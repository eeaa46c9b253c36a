"""``send-file`` and ``receive-files`` against an emulator, and with each other as processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from itertools import count
from pathlib import Path

import pytest

import meshsync
from simulator import Emulator
from tests.support.command import PATIENCE, of_emulator, records, run, start
from tests.support.rooms import Ears, Join
from tests.support.rooms import start as in_thread

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()

_rooms = count(1)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a file of half a megabyte."""
    path = tmp_path / "report.pdf"
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_sent_to_each_recipient(join: Join, emulated: Emulator, report: Path, tmp_path: Path) -> None:
    """Under its name or another; each has a line when it has the file, whole."""
    clients = {name: join(name, enable=False) for name in ("ada", "bob")}
    for name, client in clients.items():
        (tmp_path / name).mkdir()
        client.messaging.enable(lambda reader, name=name: meshsync.files.transfer.receive_file(reader, tmp_path / name))
    room = clients["ada"].room_name

    result = run(
        "send-file", room, str(report), "--to", "ada", "--to", "bob", "--as", "r.pdf", environ=of_emulator(emulated)
    )

    assert result.exit_code == 0
    members = {"file": "r.pdf", "size": len(CONTENT), "sha256": DIGEST, "confirmed": True}
    assert records(result) == [
        {"to": name, "to_id": client.local_participant.id, **members} for name, client in clients.items()
    ]
    assert [(tmp_path / name / "r.pdf").read_bytes() == CONTENT for name in clients] == [True, True]


def test_a_rejected_file_is_status_1(join: Join, emulated: Emulator, report: Path) -> None:
    """With the recipient's reason, and how far it got."""
    ada = join("ada", enable=False)

    def refuse(reader: meshsync.MessageStreamReader) -> None:
        raise meshsync.StreamRejected("no room for it")

    ada.messaging.enable(refuse)
    result = run("send-file", ada.room_name, str(report), "--to", "ada", environ=of_emulator(emulated))
    assert (result.exit_code, result.stderr) == (1, "meshsync: no room for it\n")


@pytest.mark.parametrize(("path", "fault"), [("absent", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_an_error_before_joining(tmp_path: Path, path: str, fault: str) -> None:
    """Without a room even: status 1 and one sentence."""
    result = run("send-file", "lab", str(tmp_path / path), "--to", "ada")
    assert (result.exit_code, result.stderr.count("\n"), fault in result.stderr) == (1, 1, True)


def test_files_are_received_until_there_are_enough(
    join: Join, emulated: Emulator, report: Path, tmp_path: Path
) -> None:
    """Each has a line; one of a participant that was not asked for is rejected, with the reason."""
    ada, bob = join("ada"), join("bob")

    def send() -> str:
        for client in (ada, bob):
            client.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
        cli = bob.messaging.get_participant_by_name("cli")
        with pytest.raises(meshsync.StreamRejected, match="from 'ada' alone"):
            bob.messaging.send_file(report, cli)
        ada.messaging.send_file(report, ada.messaging.get_participant_by_name("cli"))
        return "sent"

    sending = in_thread(send)
    inbox = tmp_path / "new" / "inbox"
    result = run(
        *["receive-files", ada.room_name, str(inbox), "--name", "cli", "--count", "1", "--from", "ada"],
        "--create-dirs",
        environ=of_emulator(emulated),
    )
    assert sending.result(PATIENCE) == "sent"
    assert result.exit_code == 0
    assert records(result) == [
        {
            "from": "ada",
            "from_id": ada.local_participant.id,
            "file": "report.pdf",
            "path": str((inbox / "report.pdf").resolve()),
            "size": len(CONTENT),
            "sha256": DIGEST,
        }
    ]
    assert (inbox / "report.pdf").read_bytes() == CONTENT


def test_a_file_that_is_there_already_is_not_replaced(
    join: Join, emulated: Emulator, report: Path, tmp_path: Path
) -> None:
    """A sentence tells why, the next file is received, and the status is 1; with --overwrite it is replaced."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "report.pdf").write_text("old")
    ada = join("ada")

    def send(to: str, *names: str) -> list[str]:
        cli, faults = ada.messaging.wait_for_participant(name=to, timeout=PATIENCE), []
        for name in names:
            try:
                ada.messaging.send_file(report, cli, name=name)
            except meshsync.StreamError as error:
                faults.append(str(error))
        return faults

    arguments = ["receive-files", ada.room_name, str(tmp_path / "inbox"), "--count", "1"]
    sending = in_thread(send, "first", "report.pdf", "other.pdf")
    result = run(*arguments, "--name", "first", environ=of_emulator(emulated))
    assert len(sending.result(PATIENCE)) == 1
    assert [line["file"] for line in records(result)] == ["other.pdf"]
    assert (result.exit_code, "'report.pdf' of 'ada' was not received" in result.stderr) == (1, True)
    assert (tmp_path / "inbox" / "report.pdf").read_text() == "old"
    sending = in_thread(send, "second", "report.pdf")  # Of another name: the first one may still be in the roster.
    assert run(*arguments, "--overwrite", "--name", "second", environ=of_emulator(emulated)).exit_code == 0
    assert (sending.result(PATIENCE), (tmp_path / "inbox" / "report.pdf").read_bytes() == CONTENT) == ([], True)


@pytest.mark.parametrize("arguments", [["receive-files"], ["receive-files", "a", "b", "c"], ["send-file", "--to", "x"]])
def test_a_missing_argument_is_a_usage_error(arguments: list[str]) -> None:
    """The text says which were expected."""
    result = run(*arguments)
    assert (result.exit_code, "expected [ROOM]" in result.stderr) == (2, True)


def test_ctrl_c_says_how_much_of_a_file_was_sent(join: Join, emulated: Emulator, tmp_path: Path) -> None:
    """The sender is interrupted in the midst of a file whose recipient reads no further."""
    big = tmp_path / "film.mp4"
    big.write_bytes(bytes(64 * 1024 * 1024))
    ada = join("ada", enable=False)
    began, goes_on = Ears(), meshsync.Event()

    def hold(reader: meshsync.MessageStreamReader) -> None:
        reader.read()
        began(reader)
        goes_on.wait(PATIENCE)

    ada.messaging.enable(hold)
    sender = start("send-file", ada.room_name, str(big), "--to", "ada", environ=of_emulator(emulated))
    began.next()
    sender.send_signal(signal.SIGINT)
    _, errors = sender.communicate(timeout=PATIENCE)
    assert sender.returncode == 130
    (line,) = errors.splitlines()
    assert line.startswith("meshsync: sent to 0 of 1 recipient; film.mp4 at ")
    assert line.endswith(" %")
    goes_on.set()


def test_ctrl_c_says_how_much_of_a_file_was_received(join: Join, emulated: Emulator, tmp_path: Path) -> None:
    """The receiver is interrupted when half is there; what came is kept for the next time."""
    ada = join("ada")
    receiver = start("receive-files", str(tmp_path), "--name", "cli", environ=of_emulator(emulated, ada.room_name))
    cli = ada.messaging.wait_for_participant(name="cli", timeout=PATIENCE)
    size = 4 * 1024 * 1024
    header = {"file": {"name": "film.mp4", "size": size, "resume": True}}
    with pytest.raises(meshsync.StreamError), ada.messaging.create_stream(cli, header) as writer:
        writer.write(bytes(size // 2))
        while not any(file.stat().st_size == size // 2 for file in tmp_path.glob(".meshsync-*.part")):
            os.sched_yield()
        receiver.send_signal(signal.SIGINT)
        writer.reader.read_all()
        writer.flush()
        raise meshsync.StreamInterrupted("the end came without an error")
    _, errors = receiver.communicate(timeout=PATIENCE)
    assert receiver.returncode == 130
    assert errors.splitlines()[1:] in (
        ["meshsync: received 0 files; film.mp4 at 50 %"],
        ["meshsync: received 0 files; film.mp4 at 0 %"],  # It was written, and not yet counted.
    )


def test_two_processes_pass_a_file(emulated: Emulator, report: Path, tmp_path: Path) -> None:
    """As a person does it in two shells; nothing is drawn where standard error is no terminal."""
    environ = of_emulator(emulated, f"two-shells-{next(_rooms)}")
    receiver = start("receive-files", str(tmp_path), "--name", "bob", "--count", "1", "--overwrite", environ=environ)
    sender = start("send-file", str(report), "--wait-for", "bob", "--to", "bob", environ=environ)
    sent, errors = sender.communicate(timeout=PATIENCE)
    assert (sender.returncode, errors) == (0, "")
    received, _ = receiver.communicate(timeout=PATIENCE)
    assert receiver.returncode == 0
    assert json.loads(sent)["sha256"] == json.loads(received)["sha256"] == DIGEST
