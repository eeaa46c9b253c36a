"""Each command's help and its usage errors."""

from __future__ import annotations

import click
import pytest

from meshsync.cli.main import main
from tests.support.command import run

COMMANDS = [
    "ask",
    "attributes",
    "broadcast",
    "chat",
    "demo",
    "doctor",
    "emulator",
    "listen",
    "receive-files",
    "send",
    "send-file",
    "who",
]

COMMON = [
    "--room",
    "--name",
    "--role",
    "--url",
    "--token",
    "--api-key",
    "--emulator",
    "--timeout",
    "--json",
    "--verbose",
]

OPTIONS = {
    "who": ["--wait-for"],
    "send": ["--to", "--type", "--attach", "--confirm", "--wait-for"],
    "broadcast": ["--type", "--attach", "--wait-for"],
    "ask": ["--to", "--reply-type", "--attach", "--wait-for", "--save-attachments", "--create-dirs"],
    "listen": ["--count", "--type", "--from", "--for", "--save-attachments", "--create-dirs"],
    "chat": ["--to", "--type", "--history"],
    "send-file": ["--to", "--as", "--wait-for"],
    "receive-files": ["--count", "--for", "--from", "--max-size", "--overwrite", "--create-dirs"],
    "attributes show": ["--of", "--wait-for"],
    "attributes set": ["--for"],
    "attributes remove": ["--for"],
    "doctor": [],
}
"""Each command's own options."""


def test_the_commands_are_those_of_the_documentation() -> None:
    """And each has a sentence in the list."""
    assert sorted(main.commands) == COMMANDS
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert len(line.split()) > 3
    for code in ("0", "1", "2", "3", "4", "5", "130"):
        assert any(line.strip().startswith(f"{code} ") for line in result.stdout.splitlines())


@pytest.mark.parametrize(("command", "options"), OPTIONS.items(), ids=OPTIONS)
def test_help_explains_every_option(command: str, options: list[str]) -> None:
    """The common ones and its own, each with words."""
    result = run(*command.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    found = _find(command)
    named = {
        name
        for option in found.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }
    assert named == {*COMMON, *options}
    assert all(option.help for option in found.params if isinstance(option, click.Option))
    assert all(option in result.stdout for option in [*COMMON, *options])


def _find(command: str) -> click.Command:
    found: click.Command = main
    for name in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "Commands:"),
        (["dance"], "No such command 'dance'"),
        (["who", "--loud"], "No such option"),
        (["who", "lab", "more"], "unexpected extra argument"),
        (["who"], "which room? name it, or set MESHAGENT_ROOM"),
        (["who", "lab", "--timeout", "0"], "--timeout"),
        (["who", "lab", "--timeout", "soon"], "--timeout"),
        (["who", "lab", "--emulator", "--token", "x"], "leave out --token"),
        (["who", "lab", "--emulator", "--url", "ws://x"], "leave out --url"),
        (["who", "lab", "--timeout", "5 min"], "'5 min' is no time: give seconds, as 5 or 0.5, or a unit, as 5s"),
        (["send", "lab", "{}"], "to whom? give --to NAME"),
        (["send", "lab", "bob", "{}"], "to whom? give --to NAME"),
        (["send-file", "lab", "report.pdf", "bob"], "to whom? give --to NAME"),
        (["send", "lab", "--to", "ada"], "which message?"),
        (["send", "lab", "--to", "ada", "-", "-"], "read once"),
        (["ask", "lab", "ada"], "expected [ROOM] TO TYPE MESSAGE, not 2 arguments"),
        (["ask", "lab", "ada", "sum", "{}", "--to", "ada"], "expected [ROOM] TYPE MESSAGE beside --to, not 4"),
        (["ask", "lab", "ada", "sum", "-"], "there is none on standard input"),
        (["ask", "lab", "ada", "sum", "[1]"], "is no JSON object"),
        (["ask", "lab", "ada", "sum", "{}", "--save-attachments", "/no/such"], "there is no directory '/no/such'"),
        (["listen", "lab", "--save-attachments", "/no/such"], "there is no directory '/no/such': correct it, or add"),
        (["listen", "lab", "--create-dirs"], "makes the directory of --save-attachments: give that, too"),
        (["receive-files", "lab", "/no/such"], "there is no directory '/no/such': correct it, or add --create-dirs"),
        (["receive-files", "lab", __file__], "is no directory"),
        (["receive-files", "lab"], "which room?"),
        (["listen", "lab", "--count", "0"], "--count"),
        (["listen", "lab", "--for", "-1"], "--for"),
        (["attributes"], "Commands:"),
    ],
)
def test_a_usage_error_is_status_2_and_says_what_is_wrong(arguments: list[str], fault: str) -> None:
    """On standard error, nothing on the other, and nothing is connected."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr


def test_a_token_in_the_wrong_place_is_not_shown() -> None:
    """Where click would quote the argument."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJuYW1lIjoiYWRhIn0.c2lnbmF0dXJl"
    result = run("who", "lab", token)
    assert (result.exit_code, token in result.output, "[secret]" in result.stderr) == (2, False, True)


@pytest.mark.parametrize("option", ["--token", "--api-key"])
def test_a_credential_in_an_error_of_the_client_is_not_shown(option: str) -> None:
    """Wherever else it was written."""
    result = run("who", "no room opensesame", option, "opensesame")
    assert (result.exit_code, "opensesame" in result.output, "[secret]" in result.stderr) == (3, False, True)
