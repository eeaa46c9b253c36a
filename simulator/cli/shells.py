"""Lines that set and unset environment variables, in the language of a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath

__all__ = ["SHELLS", "script", "shell_of"]


def _posix(name: str, value: str | None) -> str:
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str | None) -> str:
    # Erased is the variable of the session, which also a program's is; one that is kept for all sessions stays.
    if value is None:
        return f"set -e {name};"
    quoted = re.sub(r"([\\'])", r"\\\1", value)
    return f"set -gx {name} '{quoted}';"


def _powershell(name: str, value: str | None) -> str:
    if value is None:
        return f"Remove-Item Env:{name} -ErrorAction SilentlyContinue"
    quoted = re.sub("(['\u2018-\u201b])", r"\1\1", value)
    return f"$env:{name} = '{quoted}'"


SHELLS: Mapping[str, Callable[[str, str | None], str]] = {"posix": _posix, "fish": _fish, "powershell": _powershell}
"""Each language with what writes a line that sets a variable, or with None unsets it.

``cmd`` is none of them: it has no quotes in which a value may be any text.

Source: POSIX.1-2017, Shell Command Language, section 2.2.2; fish documentation, "Quotes"; PowerShell 5.1,
about_Quoting_Rules, and its language specification, section 2.3.5.2: typographic single quotes count as quotes, too.
"""


def script(shell: str, env: Mapping[str, str], cleared: Collection[str]) -> str:
    """Return the lines that unset the variables in ``cleared`` and set those in ``env``."""
    line = SHELLS[shell]
    return "".join(f"{line(*item)}\n" for item in [*((name, None) for name in cleared), *env.items()])


def shell_of(environ: Mapping[str, str], *, is_windows: bool) -> str:
    """Return the language of the shell that ``SHELL`` names, or where it is not set of the system's usual one."""
    program = PurePath(environ.get("SHELL", "")).name.removesuffix(".exe")
    if not program:
        return "powershell" if is_windows else "posix"
    return {"fish": "fish", "pwsh": "powershell", "powershell": "powershell"}.get(program, "posix")
