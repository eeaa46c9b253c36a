from __future__ import annotations

import pytest

from simulator.engine.seeds import Seeds, entropy, pick


def test_a_stream_that_is_not_kept_is_the_same_one_at_its_beginning() -> None:
    """It draws what the kept one would, and leaves that alone."""
    seeds = Seeds(7)
    assert [seeds.new_stream("x").random(), seeds.new_stream("x").random()] == [seeds.stream("x").random()] * 2


def test_streams_give_the_same_numbers_on_every_python() -> None:
    """A seed and a name fix the numbers, under every version and hash seed."""
    stream = Seeds(7).stream("latency")
    assert [stream.random() for _ in range(3)] == [0.21087696340633522, 0.7421231593982959, 0.7591612660684668]


def test_name_gives_one_stream_and_names_different_ones() -> None:
    """Asking twice goes on in the same stream; another name, or another seed, is another stream."""
    seeds = Seeds(7)
    assert seeds.stream("a") is seeds.stream("a")
    draws = {Seeds(seed).stream(name).random() for seed in (7, 8, "x") for name in ("a", "b", "a\0b")}
    assert len(draws) == 9


def test_draws_of_one_stream_leave_others_alone() -> None:
    """How much is drawn for one purpose does not change what another gets."""
    busy, quiet = Seeds(7), Seeds(7)
    for _ in range(1000):
        busy.stream("a").random()
    assert busy.stream("b").random() == quiet.stream("b").random()


def test_seed_as_text_equals_the_number_it_spells() -> None:
    """A seed read from a command line needs no conversion."""
    assert Seeds("7").stream("a").random() == Seeds(7).stream("a").random()


def test_pick_reaches_every_number_about_as_often() -> None:
    """Of 4 numbers each is drawn 1000 times in 4000, give or take 5 standard deviations of 27."""
    stream = Seeds(1).stream("pick")
    draws = [pick(stream, 4) for _ in range(4000)]
    assert all(abs(draws.count(number) - 1000) < 135 for number in range(4))


@pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 16, 1000])
def test_entropy_has_its_size(size: int) -> None:
    """Any number of bytes can be asked for."""
    assert len(entropy(Seeds(1).stream("e"), size)) == size


def test_entropy_is_the_same_on_every_python() -> None:
    """Bytes follow from the seed alone and take every value."""
    assert entropy(Seeds(7).stream("e"), 8).hex() == "931e83ba3add62b6"
    assert len(set(entropy(Seeds(7).stream("e"), 10_000))) == 256
