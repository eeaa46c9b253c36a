"""Names of files that come from a peer: the rules for using one here.

The same rules hold on every system, so that a file that one participant may send, every other may keep. A name is
refused rather than cleaned: two names can't fall together, none turns into one that its sender never gave, and the
recipient of a file may still choose its name. The directory of a file is not the business of this module.
"""

from __future__ import annotations

import unicodedata

__all__ = ["MAX_NAME_SIZE", "safe_name"]

MAX_NAME_SIZE = 255
"""Bytes of UTF-8 that the file systems in use allow, or at least as many as those that count in units of UTF-16."""
_LONGEST = 4 * MAX_NAME_SIZE
"""Characters that can compose to as few. Composing takes quadratic time in the marks on one letter."""

_SPECIAL = frozenset('/\\:*?"<>|')
"""Separators, drives, alternate data streams and wildcards of one system or another."""
_FIRST = frozenset(".~-")
"""A hidden file is one that some program obeys; the others have a meaning to a shell, or to a command."""
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make ``exe.jpg`` of ``gpj.exe`` on a screen."""
_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Categories of Unicode: controls, halves of surrogate pairs, line and paragraph separators."""
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]
)
"""Windows opens these as devices in every directory, whatever follows a dot.

Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""


def safe_name(name: str) -> str:
    """Return a file's name, composed (NFC) as most systems keep it, if it can harm on no system.

    It lies directly inside any directory it is joined to, and names no device, stream or hidden file.

    Raises:
        ValueError: If it might do harm; the text says why.
    """
    shown = repr(name if len(name) <= 100 else f"{name[:100]}…")
    if len(name) <= _LONGEST:
        name = unicodedata.normalize("NFC", name)
    fault = _find_fault(name)
    if fault is not None:
        raise ValueError(f"{shown} is not safe as the name of a file: it {fault}")
    return name


def _find_fault(name: str) -> str | None:
    if not name:
        return "is empty"
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_NAME_SIZE:
        return f"has {size} bytes, more than {MAX_NAME_SIZE}"
    for character in name:
        if character in _SPECIAL or character in _DIRECTIONS or unicodedata.category(character) in _UNPRINTABLE:
            return f"contains {character!r}"
    # Some file systems look past characters of format, and see the dot behind.
    if name[0] in _FIRST or name[0].isspace() or unicodedata.category(name[0]) == "Cf":
        return f"begins with {name[0]!r}"
    if name[-1] == "." or name[-1].isspace():
        return f"ends with {name[-1]!r}, which some systems drop"
    device = name.partition(".")[0].rstrip().upper()
    return f"is {device}, a device on Windows" if device in _DEVICES else None
