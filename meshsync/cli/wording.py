"""Errors in a shell's words: what a program gives by an argument's name is an option there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshsync.errors import ConnectFailed, MeshsyncError, UsageError
from meshsync.reasons import describe_error

__all__ = ["OPTIONS", "error_text", "with_options"]

OPTIONS = {
    "room": "--room",
    "name": "--name",
    "role": "--role",
    "url": "--url",
    "token": "--token",
    "api_key": "--api-key",
    "timeout": "--timeout",
    "reply_type": "--reply-type",
}
"""By an argument of the client's calls, the option that gives it."""

_WAYS = (
    (" or match=", ""),
    ("another with name=", "another with --as"),
    ("ca_file (MESHAGENT_EXTRA_CA_FILE) or pass an ssl_context", "MESHAGENT_EXTRA_CA_FILE"),
    ("; give confirm=False where the recipient does not use receive_file", ""),
    (": to store the stream, give a name", ""),
)
"""What no option does, or another option than that of the argument's name."""


def error_text(error: Exception) -> str:
    """Return what a command says of an error.

    Only the client's own errors are put into other words: the rest may quote what another participant wrote.
    """
    if isinstance(error, OSError) and not isinstance(error, MeshsyncError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    text = str(error) or describe_error(error)
    return with_options(text) if isinstance(error, (UsageError, ConnectFailed, TimeoutError)) else text


def with_options(text: str, options: Mapping[str, str] = OPTIONS) -> str:
    """Return a text of the library with options in the place of arguments: ``url="emulator"`` is ``--url emulator``."""
    for argument, way in _WAYS:
        text = text.replace(argument, way)
    text = re.sub(r"\bconnect\((\w+=[^)]*)\)", r"\1", text)

    def option(found: re.Match[str]) -> str:
        return " ".join(filter(None, (options[found[1]], found[3], found[4])))

    return re.sub(rf"\b({'|'.join(options)})=(?:(['\"])(.*?)\2|(\d+))?(?!\w)", option, text)
