"""Messages as the command line reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshsync.cli.bodies import read_bodies
from meshsync.errors import InvalidMessage


def test_a_file_without_a_message_is_refused(tmp_path: Path) -> None:
    """Before anything is sent; a file of blank lines is one."""
    full, empty = tmp_path / "full.jsonl", tmp_path / "empty.jsonl"
    full.write_text('{"n": 1}\n\n{"n": 2}\n', encoding="utf-8")
    bodies, total = read_bodies([f"@{full}", '{"n": 3}'])
    assert (list(bodies), total) == ([{"n": 1}, {"n": 2}, {"n": 3}], 3)
    for text in ("", "\n \n"):
        empty.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidMessage, match=r"empty\.jsonl has no message"):
            read_bodies([f"@{full}", f"@{empty}"])
