"""The command ``meshsync`` in rooms whose other participants are published SDK releases, unchanged."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from simulator import Emulator
from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.company import Enter
from tests.interop.peers import Peer
from tests.interop.releases import Streams, chosen, find
from tests.support.command import PATIENCE, of_emulator, records, run, start

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]  # the first test of a release may install it

RELEASES = chosen()
CLASSIC = [name for name in RELEASES if find(name).streams in (Streams.ONE_WAY, Streams.BOTH_WAYS)]
STREAMLESS = [name for name in RELEASES if find(name).streams is Streams.NONE]

_rooms = itertools.count(1)


@pytest.fixture
def here(served: Emulator) -> dict[str, str]:
    """Return the variables that lead a command into a room where no participant is."""
    return of_emulator(served, f"commands-{next(_rooms)}")


def join(enter: Enter, release: str, here: dict[str, str], name: str = "ada") -> Peer:
    """Return a peer of a release that takes part in the messaging of the room."""
    peer = enter(release, name, room=here["MESHAGENT_ROOM"], role="agent")
    peer.do("enable")
    peer.expect("messaging_enabled")
    return peer


@pytest.mark.parametrize("release", RELEASES)
def test_who_and_attributes_show_an_official_participant(release: str, enter: Enter, here: dict[str, str]) -> None:
    """Its name, role and id, and an attribute that it sets; it sees one that the command sets."""
    ada = join(enter, release, here)
    ada.do("set_attribute", name="mood", value={"now": "ruhig"})
    ada.do("broadcast", type="settle", message={})  # Answered behind the attribute, which has no answer.
    (line,) = records(run("who", environ=here))
    assert (line["name"], line["role"], line["id"]) == ("ada", "agent", ada.own["id"])
    assert line["attributes"] == {"name": "ada", "mood": {"now": "ruhig"}}
    shown = records(run("attributes", "show", "--of", "ada", environ=here))
    assert {row["attribute"]: row["value"] for row in shown}["mood"] == {"now": "ruhig"}

    process = start("attributes", "set", "size=[1]", "--name", "cli", environ=here)
    assert json.loads(process.stdout.readline())["value"] == [1]
    seen: dict[str, Any] = {}
    while "size" not in seen:
        seen = ada.expect("participant_attributes_updated")["participant"]["attributes"]
    assert seen["size"] == [1]
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    process.communicate()


@pytest.mark.parametrize("release", RELEASES)
def test_messages_reach_an_official_participant(
    release: str, enter: Enter, here: dict[str, str], tmp_path: Path
) -> None:
    """Sent by name and broadcast, body and attachment whole."""
    ada = join(enter, release, here)
    (tmp_path / "data").write_bytes(attachment_of(100_000, 1))
    sent = run(
        *["send", "--to", "ada", "--type", "order", "--attach", str(tmp_path / "data")],
        *['{"item": "Tee ü 🙂"}', "-"],
        environ=here,
        input='{"item": "Kaffee"}\n',
    )
    assert sent.exit_code == 0, sent.output
    for item in ("Tee ü 🙂", "Kaffee"):
        got = ada.expect("message", type="order")
        assert got["message"] == {"item": item}
        assert fingerprint(attachment_of(100_000, 1)).items() <= got.items()
    assert run("broadcast", "--type", "news", '{"text": "lunch"}', environ=here).exit_code == 0
    assert ada.expect("message", type="news")["message"] == {"text": "lunch"}


@pytest.mark.parametrize("release", RELEASES)
def test_an_official_participant_does_not_confirm(release: str, enter: Enter, here: dict[str, str]) -> None:
    """It is asked for in vain: status 2, one sentence, and nothing is sent."""
    ada = join(enter, release, here)
    refused = run("send", "--to", "ada", "--confirm", "{}", environ=here)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused.output
    assert not ada.has("message")


@pytest.mark.parametrize("release", RELEASES)
def test_listen_prints_what_an_official_participant_sends(
    release: str, enter: Enter, here: dict[str, str], tmp_path: Path
) -> None:
    """To the command and to all, with its attachment stored."""
    ada = join(enter, release, here)
    process = start(
        *["listen", "--name", "cli", "--from", "ada", "--count", "2", "--save-attachments", str(tmp_path)], environ=here
    )
    ada.do("wait_for_peer", name="cli")
    ada.do("send", to="cli", type="chat", message={"text": "grüße"}, size=50_000, seed=3)
    ada.do("broadcast", type="news", message={"text": "lunch"})
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    first, second = map(json.loads, out.splitlines())
    data = attachment_of(50_000, 3)
    digest = hashlib.sha256(data).hexdigest()
    assert (first["from"], first["from_id"], first["type"]) == ("ada", ada.own["id"], "chat")
    assert first["message"] == {"text": "grüße"}
    assert first["attachment"] == {"size": 50_000, "sha256": digest, "path": str(tmp_path / digest)}
    assert (tmp_path / digest).read_bytes() == data
    assert (second["type"], second["attachment"]) == ("news", None)


@pytest.mark.parametrize("release", RELEASES)
def test_chat_with_an_official_participant(release: str, enter: Enter, here: dict[str, str]) -> None:
    """A line reaches it, and what it sends is shown."""
    ada = join(enter, release, here)
    process = start("chat", "--text", "--name", "cli", environ=here)
    process.stdin.write("hello\n@ada only you\n")
    process.stdin.flush()
    assert ada.expect("message")["message"] == {"text": "hello"}
    assert ada.expect("message")["message"] == {"text": "only you"}
    ada.do("send", to="cli", type="chat", message={"text": "hi"})
    assert process.stdout.readline() == "ada: hi\n"
    assert process.communicate(timeout=PATIENCE)[0] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("release", CLASSIC)
def test_a_file_reaches_an_official_participant(
    release: str, enter: Enter, here: dict[str, str], tmp_path: Path
) -> None:
    """Chunk by chunk; it does not confirm, which is said."""
    ada = join(enter, release, here)
    (tmp_path / "größe.bin").write_bytes(attachment_of(100_000, 1))
    sent = run("send-file", str(tmp_path / "größe.bin"), "--to", "ada", environ=here)
    assert sent.exit_code == 0, sent.output
    (line,) = records(sent)
    assert (line["file"], line["size"], line["confirmed"]) == ("größe.bin", 100_000, False)
    stream = ada.expect("stream_offered")["stream"]
    chunk = ada.expect("chunk", stream=stream)
    assert fingerprint(attachment_of(100_000, 1)).items() <= chunk.items()
    ada.expect("stream_ended", stream=stream)


@pytest.mark.parametrize("release", STREAMLESS)
def test_a_file_to_a_release_without_streams_is_refused(
    release: str, enter: Enter, here: dict[str, str], tmp_path: Path
) -> None:
    """Status 1 and one sentence."""
    join(enter, release, here)
    (tmp_path / "a.bin").write_bytes(b"1")
    refused = run("send-file", str(tmp_path / "a.bin"), "--to", "ada", environ=here)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), refused.output


@pytest.mark.parametrize("release", CLASSIC)
def test_a_file_from_an_official_participant_is_received(
    release: str, enter: Enter, here: dict[str, str], tmp_path: Path
) -> None:
    """It has to send the headers that are documented."""
    ada = join(enter, release, here)
    process = start("receive-files", str(tmp_path), "--name", "cli", "--count", "1", environ=here)
    ada.do("wait_for_peer", name="cli")
    data = attachment_of(70_000, 5)
    digest = hashlib.sha256(data).hexdigest()
    stream = ada.do("open_stream", to="cli", header={"file": {"name": "bild.png", "size": 70_000}})["stream"]
    ada.do("write", stream=stream, header={"sha256": digest}, size=70_000, seed=5)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    line = json.loads(out)
    assert (line["from"], line["file"], line["sha256"]) == ("ada", "bild.png", digest)
    assert (tmp_path / "bild.png").read_bytes() == data


@pytest.mark.parametrize("release", RELEASES)
def test_the_doctor_finds_nothing_wrong_beside_an_official_participant(
    release: str, enter: Enter, here: dict[str, str]
) -> None:
    """And names it."""
    join(enter, release, here)
    examined = run("doctor", environ=here)
    assert examined.exit_code == 0
    assert records(examined)[-1]["detail"] == "others there: ada"
