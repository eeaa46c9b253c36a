"""Directories in which commands store what arrives: those that are there, and by an option new ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["creates_directories", "open_directory"]

F = TypeVar("F", bound=Callable[..., Any])


def creates_directories(command: F) -> F:
    """Give a command the option that makes its directory, as ``is_made``."""
    option = click.option(
        "--create-dirs",
        "is_made",
        is_flag=True,
        help="Make DIR, and those above it, where they are missing.",
    )
    return option(command)


def open_directory(directory: Path | None, is_made: bool) -> None:
    """See to it that a directory is there, and make it if that is asked for.

    Args:
        directory: None if the command was given none.
    Raises:
        click.UsageError: If it is missing: most probably it is written wrong.
        OSError: If it cannot be made.
    """
    if directory is None:
        if is_made:
            raise click.UsageError("--create-dirs makes the directory of --save-attachments: give that, too")
    elif is_made:
        directory.mkdir(parents=True, exist_ok=True)
    elif not directory.exists():
        raise click.UsageError(f"there is no directory {str(directory)!r}: correct it, or add --create-dirs to make it")
    elif not directory.is_dir():
        raise click.UsageError(f"{str(directory)!r} is no directory")
