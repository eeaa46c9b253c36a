"""Lines for shells: any value is set as it is, and nothing in it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli.shells import SHELLS, script, shell_of

VALUES = {
    "PLAIN": "http://127.0.0.1:6374",
    "EMPTY": "",
    "BLANKS": "  a  b\t",
    "QUOTES": """it's "so" `id` ‘there’""",
    "DOLLARS": "$HOME ${HOME} $(id) %PATH% !!",
    "SLASHES": r"\ \\ \' \n",
    "LINES": "one\ntwo\n",
    "SIGNS": "#;&|<>*?[a]{a,b}~()=,",
    "UMLAUTS": "käse – 乳酪",
}
DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shell_sets_and_unsets_what_it_is_told(shell: str, tmp_path: Path) -> None:
    """As a user writes it, with eval: every value arrives as it was, and nothing in it is run."""
    lines = tmp_path / "lines"
    lines.write_text(script("posix", VALUES, ["GONE", "NEVER"]), encoding="utf-8")
    done = subprocess.run(
        [shell, "-c", 'set -eu; eval "$(cat "$1")"; "$2" -c "$3"', shell, lines, sys.executable, DUMP],
        capture_output=True,
        text=True,
        check=True,
        env={"GONE": "set before", "PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
    )
    seen = json.loads(done.stdout)
    assert {name: seen.get(name) for name in VALUES} == VALUES
    assert "GONE" not in seen
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", "set -gx NAME 'plain';"),
        ("", "set -gx NAME '';"),
        ("it's", r"set -gx NAME 'it\'s';"),
        (r"\n \' \\", r"set -gx NAME '\\n \\\' \\\\';"),
        ('$HOME (id) `x` "q" ; # ~ *', "set -gx NAME '$HOME (id) `x` \"q\" ; # ~ *';"),
        ("one\ntwo", "set -gx NAME 'one\ntwo';"),
        (None, "set -e NAME;"),
    ],
)
def test_fish_quotes_backslashes_and_quotes_alone(value: str | None, line: str) -> None:
    """Between single quotes nothing else has a meaning there. Source: fish documentation, "Quotes"."""
    assert SHELLS["fish"]("NAME", value) == line


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", "$env:NAME = 'plain'"),
        ("", "$env:NAME = ''"),
        ("it's", "$env:NAME = 'it''s'"),
        ("‘a’ ‚b‛", "$env:NAME = '‘‘a’’ ‚‚b‛‛'"),
        ('$HOME $(id) `n "q" ; # \\', "$env:NAME = '$HOME $(id) `n \"q\" ; # \\'"),
        ("one\ntwo", "$env:NAME = 'one\ntwo'"),
        (None, "Remove-Item Env:NAME -ErrorAction SilentlyContinue"),
    ],
)
def test_powershell_doubles_every_kind_of_single_quote(value: str | None, line: str) -> None:
    """Typographic ones end a text there as well. Source: language specification, section 2.3.5.2."""
    assert SHELLS["powershell"]("NAME", value) == line


def test_script_unsets_first() -> None:
    """A variable that is in both is set in the end."""
    assert script("posix", {"A": "1"}, ["A", "B"]) == "unset A\nunset B\nexport A=1\n"


@pytest.mark.parametrize(
    ("program", "is_windows", "language"),
    [
        ("/bin/bash", False, "posix"),
        ("/usr/bin/zsh", False, "posix"),
        ("/usr/local/bin/fish", False, "fish"),
        ("/usr/bin/pwsh", False, "powershell"),
        (None, False, "posix"),
        ("", False, "posix"),
        (None, True, "powershell"),
        ("/usr/bin/bash.exe", True, "posix"),
    ],
)
def test_language_is_that_of_the_users_shell(program: str | None, is_windows: bool, language: str) -> None:
    """Also on Windows, where a shell of Unix sets the variable."""
    environ = {} if program is None else {"SHELL": program}
    assert shell_of(environ, is_windows=is_windows) == language
