"""The messages that a person gives: as arguments, in files, or one a line on the standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import click

from meshsync.errors import InvalidMessage

__all__ = ["is_body", "read_bodies"]


def is_body(argument: str) -> bool:
    """Return whether an argument is a message, or where to find some, and no room."""
    return argument == "-" or argument.startswith("@") or argument.lstrip().startswith(("{", "["))


def read_bodies(arguments: Sequence[str]) -> tuple[Iterator[dict[str, Any]], int | None]:
    """Return the messages, and their number, None where the standard input decides it.

    Those of arguments and files are read now, those of the standard input when they are asked for.

    Raises:
        InvalidMessage: If one is no JSON object.
        click.UsageError: If there is none.
        OSError: If a file cannot be read.
    """
    if not arguments:
        raise click.UsageError("which message? give a JSON object, @FILE, or - for one a line on standard input")
    if arguments.count("-") > 1:
        raise click.UsageError("the standard input can be read once: give - once")
    read = [None if argument == "-" else list(_read(argument)) for argument in arguments]
    for argument, part in zip(arguments, read, strict=True):
        if part == []:
            _refuse(argument.removeprefix("@"), "has no message: write one JSON object, or one a line")

    def bodies() -> Iterator[dict[str, Any]]:
        for part in read:
            yield from _lines("standard input", sys.stdin) if part is None else part

    return bodies(), None if None in read else sum(len(part) for part in read if part is not None)


def _read(argument: str) -> Iterator[dict[str, Any]]:
    if not argument.startswith("@"):
        yield _parse(argument, "the message")
        return
    path = argument[1:]
    with open(path, encoding="utf-8") as file:
        try:
            text = file.read()
        except UnicodeDecodeError:
            raise InvalidMessage(f"{path}: this is no text in UTF-8") from None
    try:
        json.loads(text)
    except json.JSONDecodeError:
        yield from _lines(path, text.splitlines())  # Not one object; so there is one on each line.
    except RecursionError:
        _refuse(path, "is nested too deeply")
    else:
        yield _parse(text, path)


def _lines(source: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    numbered = enumerate(lines, 1)
    while True:
        number, line = _next(source, numbered)
        if not number:
            return
        if line.strip():
            yield _parse(line, f"{source}, line {number}")


def _next(source: str, lines: Iterator[tuple[int, str]]) -> tuple[int, str]:
    """Return the next line and its number, 0 at the end."""
    try:
        return next(lines, (0, ""))
    except UnicodeDecodeError:
        raise InvalidMessage(f"{source}: this is no text in UTF-8") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(source, f'is no JSON: {error.msg}, at character {error.pos + 1}; write {{"text": "hello"}}')
    except RecursionError:
        _refuse(source, "is nested too deeply")
    if not isinstance(value, dict):
        _refuse(source, 'is no JSON object: write {"text": "hello"}')
    return value


def _refuse(source: str, fault: str) -> NoReturn:
    raise InvalidMessage(f"{source} {fault}")
