"""Names and bodies as a log shows them."""

from __future__ import annotations

import pytest

from meshsync.excerpts import HIDDEN, excerpt, printable, show_name, show_text

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJuYW1lIjoiYWRhIn0.c2lnbmF0dXJl"
KEY = "ma-AAAAAAAAQACAAAAAAAAAAg-AAAAAAAAQACAAAAAAAAAAQ-the-secret-itself"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ada", "ada"),
        ("ada@home.example/1", "ada@home.example/1"),
        ("Zoë", "Zoë"),
        ("bob\nINFO lab: eve arrives", r"'bob\nINFO lab: eve arrives'"),
        ("\x1b[2Jbob", r"'\x1b[2Jbob'"),
        ("\u202ebob", r"'\u202ebob'"),
        ("\ud800", r"'\ud800'"),
        ("bob leaves", "'bob leaves'"),
        ("", "''"),
        ("b" * 65, "'" + "b" * 63 + "…'"),
        (TOKEN, "'[hidden]'"),
        (KEY, "'[hidden]'"),
    ],
)
def test_a_name_is_one_word_of_its_line(name: str, shown: str) -> None:
    """Whatever could be taken for something else is in quotes, and escaped; long ones are cut."""
    assert show_name(name) == shown


def test_all_that_is_printed_is_printable() -> None:
    """Each character up to U+30FF, and a letter between them stays what it is."""
    text = "".join(f"{chr(code)}a" for code in range(0x3100))
    assert printable(text).isprintable()
    assert printable(text).count("a") >= 0x3100
    assert printable("naïve 日本") == "naïve 日本"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"n": 1, "list": [1, 2.5, None, True]}, '{"n": 1, "list": [1, 2.5, null, true]}'),
        ({"text": 'a "b"\n\x7f'}, '{"text": "a \\"b\\"\\n\\x7f"}'),
        ({"token": "x", "deep": [{"Api-Key": {"a": 1}}]}, '{"token": "[hidden]", "deep": [{"Api-Key": "[hidden]"}]}'),
        (
            {"resume": {"secret": "s", "number": 1}},
            '{"resume": {"secret": "[hidden]", "number": 1}}',
        ),
        ({"text": f"take {TOKEN} now"}, '{"text": "take [hidden] now"}'),
        ({"text": f"take {KEY}"}, '{"text": "take [hidden]"}'),
        ({TOKEN: 1}, '{"[hidden]": 1}'),
        ({"a": object()}, '{"a": "(object)"}'),
        ([], "[]"),
    ],
)
def test_a_body_is_json_without_secrets(value: object, shown: str) -> None:
    """Members that are named as secrets, and texts that look like tokens, are hidden wherever they are."""
    assert excerpt(value) == shown


def test_a_long_body_is_cut_and_costs_little() -> None:
    """Of a list of ten million texts, and of one of ten million characters, the beginning is looked at."""

    class Endless(list[str]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            for _ in range(1000):
                yield "abc"
            raise AssertionError("it was read on")

    assert len(excerpt(Endless(["x"]))) == 200
    assert excerpt({"text": "x" * 10_000_000}, 20) == '{"text": "xxxxxxxxx…'


def test_a_token_that_is_cut_is_hidden_all_the_same() -> None:
    """No part of it is left at the end of the excerpt."""
    for length in range(180, 200):
        shown = excerpt({"text": "x" * length + " " + TOKEN})
        assert "eyJhbGci" not in shown
    assert show_text(f"{'x' * 190} {TOKEN}") == "x" * 190 + f" {HIDDEN}"


def test_a_sentence_of_a_peer_is_on_one_line() -> None:
    """And without tokens, and not longer than a line."""
    assert show_text(f"no\nway {TOKEN}") == rf"no\nway {HIDDEN}"
    assert show_text("x" * 300) == "x" * 199 + "…"
