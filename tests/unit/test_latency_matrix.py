"""Matrices of laws: whose connections follow which law, what is refused, and their form in files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshsync.errors import UsageError
from simulator import latency
from simulator.latency import Constant, Matrix, as_latency, from_json, lognormal


def seconds(matrix: Matrix, name: str) -> tuple[float, float]:
    """Return the medians of a participant's two directions, up and down, in seconds."""
    up, down = matrix.laws_of(name)
    return up.quantile(0.5), down.quantile(0.5)


def test_a_connection_has_the_laws_between_two_regions() -> None:
    """One pair is for both ways, unless the opposite one is there; rows are pairs too."""
    regions = {"ada": "us", "bob": "eu", "cleo": "ap", "room": "eu"}
    pairs = {("eu", "us"): 0.045, ("ap", "eu"): 0.1, ("eu", "ap"): 0.12, ("eu", "eu"): 0.001}
    flat = latency.matrix(pairs, regions=regions)
    assert [seconds(flat, name) for name in ("ada", "bob", "cleo")] == [(0.045, 0.045), (0.001, 0.001), (0.1, 0.12)]
    assert flat == latency.matrix({"eu": {"us": 0.045, "ap": 0.12, "eu": 0.001}, "ap": {"eu": 0.1}}, regions=regions)


def test_what_is_about_a_participant_counts_before_its_region() -> None:
    """And a participant or the room may stand for itself, without any region."""
    pairs = {("us", "eu"): 0.045, ("ada", "eu"): 0.2, ("room", "bob"): 0.3, ("cleo", "room"): 0.4}
    regions = {"ada": "us", "bob": "us", "dora": "us", "room": "eu"}
    matrix = latency.matrix(pairs, regions=regions, default=1)
    found = {name: seconds(matrix, name)[0] for name in ("ada", "bob", "cleo", "dora", "eve", "")}
    assert found == {"ada": 0.2, "bob": 0.3, "cleo": 0.4, "dora": 0.045, "eve": 1, "": 1}


@pytest.mark.parametrize(
    ("regions", "name", "text"),
    [
        ({"room": "eu"}, "ada", "'ada' is in no region of the matrix: give it one of eu, us, ap in regions="),
        ({"ada": "us"}, "ada", "the room is in no region of the matrix: add 'room' to regions="),
        (
            {"ada": "ap", "room": "us"},
            "ada",
            "no pair is about 'ada', in 'ap', and the room, in 'us': add ('ap', 'us'), or a default=; there are eu to ",
        ),
    ],
)
def test_who_has_no_law_is_refused_by_name(regions: dict[str, str], name: str, text: str) -> None:
    """Without a default; the text says what is missing and what there is."""
    matrix = latency.matrix({("eu", "us"): 0.045, ("eu", "ap"): 0.1}, regions=regions)
    with pytest.raises(UsageError) as caught:
        matrix.laws_of(name)
    assert text in str(caught.value)


def test_a_client_without_a_name_is_not_refused_by_a_matrix() -> None:
    """Its token is not valid, which is what it has to learn."""
    assert seconds(latency.matrix({("eu", "us"): 1}), "") == (0, 0)


@pytest.mark.parametrize(
    ("pairs", "more", "text"),
    [
        ({}, {}, "pairs: there has to be one at least"),
        ([("eu", "us", 1)], {}, "pairs: a mapping, such as"),
        ({"eu": 0.1}, {}, "a pair is two places"),
        ({("eu", "us", "ap"): 0.1}, {}, "a pair is two places"),
        ({("eu", ""): 0.1}, {}, "a pair is two places"),
        ({("eu", "us"): -1}, {}, "the pair ('eu', 'us'): seconds must be at least 0"),
        ({("eu", "us"): "fast"}, {}, "the pair ('eu', 'us'): a delay is a law of simulator.latency, or a number"),
        ({("eu", "us"): 1}, {"default": -1}, "default: seconds must be"),
        ({("eu", "us"): 1}, {"regions": ["ada"]}, "regions: a mapping"),
        ({("eu", "us"): 1}, {"regions": {"ada": "su"}}, "'ada' is in 'su', which no pair has; there are eu, us"),
        ({("eu", "us"): 1}, {"regions": {7: "us"}}, "the name of a participant is a text, not 7"),
    ],
)
def test_what_is_no_matrix_is_refused(pairs: Any, more: dict[str, Any], text: str) -> None:
    """A misspelt region before anything runs, with the known ones."""
    with pytest.raises(ValueError) as caught:
        latency.matrix(pairs, **more)
    assert text in str(caught.value)


def test_a_matrix_survives_json() -> None:
    """Also written by hand, with numbers for laws."""
    pairs = {("eu", "us"): lognormal(0.045, 0.1), ("us", "eu"): 0.05, ("ap", "eu"): latency.correlated(0.1, 2)}
    matrix = latency.matrix(pairs, regions={"ada": "us", "room": "eu"}, default=0.2)
    assert from_json(json.loads(json.dumps(matrix.to_json()))) == matrix
    assert from_json({"law": "matrix", "pairs": {"eu": {"us": 0.1}}}) == latency.matrix({("eu", "us"): 0.1})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"law": "matrix"}, "matrix takes pairs, regions and default, got nothing"),
        ({"law": "matrix", "pairs": {}, "room": "eu"}, "matrix takes pairs, regions and default, got pairs, room"),
        ({"law": "matrix", "pairs": {"eu": 0.1}}, "pairs: an object of objects"),
        ({"law": "matrix", "pairs": {"eu": {"us": "x"}}}, "a delay is a law of simulator.latency, or a number"),
        ({"law": "correlated", "seconds": 1, "of": {"law": "matrix", "pairs": {"a": {"b": 1}}}}, "'matrix' is no law"),
    ],
)
def test_other_json_is_refused(value: dict[str, Any], text: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError) as caught:
        from_json(value)
    assert text in str(caught.value)


def test_a_latency_is_a_law_a_number_or_a_matrix() -> None:
    """A matrix is no law of one delay."""
    matrix = latency.matrix({("eu", "us"): 0.1})
    assert as_latency(matrix) is matrix
    assert as_latency(2) == Constant(2)
    assert hash(matrix) == hash(latency.matrix({("eu", "us"): 0.1}))
    with pytest.raises(TypeError, match="not Matrix"):
        latency.as_law(matrix)  # type: ignore[arg-type]
