"""Names from others: what is safe stays as it is, everything else is refused with its reason."""

from __future__ import annotations

import ntpath
import posixpath
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.files.file_names import MAX_NAME_SIZE, safe_name

REFUSED = [
    ("", "is empty"),
    (".", "begins with '.'"),
    ("..", "begins with '.'"),
    (".bashrc", "begins with '.'"),
    ("../up", "contains '/'"),
    ("/etc/passwd", "contains '/'"),
    ("a/b", "contains '/'"),
    ("a\\b", r"contains '\\'"),
    ("\\\\server\\share", r"contains '\\'"),
    ("C:", "contains ':'"),
    ("C:evil.txt", "contains ':'"),
    ("a:b", "contains ':'"),
    ("a.txt::$DATA", "contains ':'"),
    ("what?", "contains '?'"),
    ("all*", "contains '*'"),
    ("a\x00b", r"contains '\x00'"),
    ("a\nb", r"contains '\n'"),
    ("a\x7fb", r"contains '\x7f'"),
    ("a\x9bb", r"contains '\x9b'"),
    ("a\udc80b", r"contains '\udc80'"),
    ("a\u2028b", r"contains '\u2028'"),
    ("harmless\u202egpj.exe", r"contains '\u202e'"),
    ("~", "begins with '~'"),
    ("~root", "begins with '~'"),
    ("-rf", "begins with '-'"),
    (" a", "begins with ' '"),
    ("\u200c.git", r"begins with '\u200c'"),
    ("a ", "ends with ' '"),
    ("a.", "ends with '.'"),
    ("a...", "ends with '.'"),
    ("a\u3000", r"ends with '\u3000'"),
    ("nul", "is NUL, a device"),
    ("CON.txt", "is CON, a device"),
    ("aux .tar.gz", "is AUX, a device"),
    ("com1", "is COM1, a device"),
    ("Lpt².txt", "is LPT², a device"),
    ("conin$", "is CONIN$, a device"),
    ("a" * 256, "has 256 bytes"),
    ("é" * 128, "has 256 bytes"),
    ("e\u0301" * 128, "has 256 bytes"),
    ("a" * 5000, "has 5000 bytes"),
]

KEPT = [
    "a",
    "report.pdf",
    "Grüße aus Köln.txt",
    "漢字.txt",
    "🙂",
    "a b  c",
    "..a".lstrip("."),
    "archive.tar.gz",
    "a~",
    "a-b_c(1)[2]{3}'&;$%@!#+,=^`",
    "console.log",
    "com10",
    "nul_",
    "می‌خواهم.txt",
    "a" * 255,
    "é" * 127,
]


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_an_unsafe_name_is_refused_with_its_reason(name: str, reason: str) -> None:
    """The text names the fault, and is no longer than a line or two however long the name."""
    with pytest.raises(ValueError, match="is not safe as the name of a file") as caught:
        safe_name(name)
    text = str(caught.value)
    assert reason in text
    assert text.isprintable()
    assert len(text) < 300


@pytest.mark.parametrize("name", KEPT)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    """Languages, blanks inside and signs that no system minds."""
    assert safe_name(name) == name


def test_a_decomposed_name_is_composed() -> None:
    """A Mac sends letters and marks apart; everywhere else they are one."""
    assert safe_name("Cafe\u0301.txt") == "Caf\u00e9.txt"


def test_what_composing_makes_is_judged() -> None:
    """It can make other characters: the check comes behind it, not before."""
    assert safe_name("\u212a.txt") == "K.txt"  # The sign for kelvin is the letter.
    with pytest.raises(ValueError, match="is CLOCK"):
        safe_name("CLOC\u212a$")


def test_a_name_of_many_marks_costs_little() -> None:
    """Composing sorts the marks on one letter, which takes a minute for so many: it is refused before."""
    with pytest.raises(ValueError, match="bytes, more than 255"):
        safe_name("a" + "\u0301\u0323" * 100_000)


NASTY = st.sampled_from([*'/\\:.~- \x00\n*?"<>|aC1', "..", "NUL", "CON", "\u202e", "\u0301", "\u212a", "\ud800"])
NAMES = st.text() | st.lists(NASTY).map("".join) | st.text(alphabet="./\\:aC~ ", max_size=8)


@given(NAMES)
def test_a_name_that_is_taken_lies_directly_inside(name: str) -> None:
    """Whatever the system, joining it to a directory and normalizing leads to an entry of that directory."""
    try:
        safe = safe_name(name)
    except ValueError:
        return
    for system, path in ((posixpath, PurePosixPath), (ntpath, PureWindowsPath)):
        joined = system.normpath(system.join("top", "inbox", safe))
        assert system.dirname(joined) == system.join("top", "inbox")
        assert system.basename(joined) == safe
        assert path(safe).parts == (safe,)
    assert len(safe.encode()) <= MAX_NAME_SIZE
    assert safe_name(safe) == safe == unicodedata.normalize("NFC", name)
