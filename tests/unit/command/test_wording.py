"""Errors of the client as a shell's user reads them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import meshsync
from meshsync import errors
from meshsync.cli.access import Access
from meshsync.cli.main import main
from meshsync.cli.wording import _WAYS, OPTIONS, error_text
from tests.support.command import run


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.AuthenticationFailed("looked for token=, api_key=, X"), "looked for --token, --api-key, X"),
        (errors.AuthenticationFailed("it goes to api_key="), "it goes to --api-key"),
        (errors.UsageError('as url="emulator:6375" (x)'), "as --url emulator:6375 (x)"),
        (errors.UsageError("url='emulator' joins: leave out token="), "--url emulator joins: leave out --token"),
        (errors.UsageError('it runs: connect(url="emulator")'), "it runs: --url emulator"),
        (errors.UsageError("role= is empty"), "--role is empty"),
        (errors.UsageError("timeout=0 leaves no time"), "--timeout 0 leaves no time"),
        (errors.UsageError("tell by reply_type= or match="), "tell by --reply-type"),
        (errors.InvalidMessage("no name; give another with name="), "no name; give another with --as"),
        (
            errors.ConnectFailed("name a file in ca_file (MESHAGENT_EXTRA_CA_FILE) or pass an ssl_context"),
            "name a file in MESHAGENT_EXTRA_CA_FILE",
        ),
        (errors.StreamTimeout("late; give confirm=False where the recipient does not use receive_file"), "late"),
        (errors.UsageError("ada announced no file: to store the stream, give a name"), "ada announced no file"),
        (errors.ReceiveTimeout("give a longer timeout= if"), "give a longer --timeout if"),
        (errors.UsageError("http://h/?token=abc and x=y"), "http://h/?token=abc and x=y"),
        (errors.RequestRefused("set name= in your form"), "set name= in your form"),
        (errors.StreamRejected("room='x' is full"), "room='x' is full"),
    ],
)
def test_an_error_names_the_option_and_not_the_argument(error: Exception, text: str) -> None:
    """In texts of this package; what another participant may have written stays as it is."""
    assert error_text(error) == text


def test_each_option_that_is_named_is_one() -> None:
    """Of some command."""
    there = {
        name
        for command in main.commands.values()
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }
    assert set(OPTIONS.values()) <= there
    assert "--as" in there


def test_a_shell_reads_of_options() -> None:
    """Where Python's arguments were named."""
    result = run("who", "lab")
    assert (result.exit_code, "looked for --token, --api-key, MESHAGENT_TOKEN" in result.stderr) == (4, True)
    result = run("doctor", "lab", "--url", "ws://127.0.0.1:1", "--text")
    assert "looked for --token, --api-key, MESHAGENT_TOKEN" in result.stdout


@pytest.mark.parametrize(
    ("timeout", "seconds", "said"), [(5.0, None, True), (5.0, 10.0, False), (None, None, False), (None, 10.0, False)]
)
def test_who_gives_a_timeout_to_a_command_that_stays_reads_what_ends_it(
    timeout: float | None, seconds: float | None, said: bool
) -> None:
    """Unless the time to stay is given, too."""
    assert Access(timeout=timeout).until(seconds).endswith("give --for SECONDS") == said


@pytest.mark.parametrize("text", [text for text, _ in _WAYS])
def test_what_is_put_otherwise_is_said_by_the_package(text: str) -> None:
    """To the letter, so that no text changes without this."""
    files = [file for file in Path(meshsync.__path__[0]).rglob("*.py") if file.name != "wording.py"]
    assert any(text in re.sub(r'"\n\s*f?"', "", file.read_text(encoding="utf-8")) for file in files)
