"""The cases of Autobahn, met by every end of a WebSocket of ours: bare decoders, the client, the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from random import Random

import pytest

from simulator import Emulator
from tests.support.autobahn import CASES, LARGE, Case, Script, cuts, fuzzed
from tests.support.websocket_ends import BareDecoder, ClientEnd, End, GatewayEnd

Pieces = Callable[[bytes], Sequence[bytes]]

DECODERS = {"gateway": BareDecoder(is_server=True), "client": BareDecoder(is_server=False)}

SMALL: dict[str, dict[str, Case]] = {}
"""By number of their group, the cases by name; a group is one test, since a test costs more than a case."""
for _name, _case in CASES.items():
    if not _name.startswith(LARGE):
        SMALL.setdefault(re.split(r"[. ]", _name)[0], {})[_name] = _case


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayEnd]:
    """Return a gateway with a witness."""
    with Emulator() as emulator, GatewayEnd(emulator) as end:
        yield end


@pytest.fixture(params=["client", "gateway"])
def end(request: pytest.FixtureRequest) -> End:
    """Return each end that has a socket."""
    return ClientEnd() if request.param == "client" else request.getfixturevalue("gateway")


def whole(data: bytes) -> Sequence[bytes]:
    """Write everything at once."""
    return [data]


def in_steps(step: int) -> Pieces:
    """Write so many bytes at a time."""
    return lambda data: [data[at : at + step] for at in range(0, len(data), step)]


def at_random(chance: Random) -> Pieces:
    """Cut anywhere into a dozen pieces."""
    return lambda data: [data[begin:end] for begin, end in pairwise([0, *cuts(len(data), 12, chance), len(data)])]


def scripted(end: End, case: Case) -> Script:
    """Return a case, written for an end."""
    script = Script(
        end.message, masked=end.is_server, largest=end.largest, beyond=end.beyond, is_lenient=end.is_lenient
    )
    case(script)
    return script


def assert_met(end: End, script: Script, pieces: Pieces) -> None:
    """Check that an end makes of a script what it has to: its messages, answers to its pings, its end."""
    outcome = end.meet(script, pieces)
    assert list(map(len, outcome.contents)) == list(map(len, script.contents))
    assert outcome.contents == script.contents
    assert outcome.code in (script.codes or {1000})
    # Of pings that came together the last one has to be answered (RFC 6455, section 5.5.3), and none twice.
    assert outcome.pongs[-1:] == script.pings[-1:]
    pings = iter(script.pings)
    assert all(pong in pings for pong in outcome.pongs)


@contextmanager
def naming(case: str) -> Iterator[None]:
    """Name the case that fails."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"case {case}: {error!r}") from error


@pytest.mark.parametrize("group", SMALL)
@pytest.mark.parametrize("kind", DECODERS)
def test_decoder_meets_each_case_however_it_is_cut(kind: str, group: str) -> None:
    """Whole, byte by byte, and cut in two anywhere, a case has the same outcome."""
    decoder = DECODERS[kind]
    for name, case in SMALL[group].items():
        with naming(name):
            script = scripted(decoder, case)
            size = len(script.data)
            assert_met(decoder, script, in_steps(1))
            for place in range(size) if size < 1000 else (*range(300), *range(size - 300, size)):
                assert_met(decoder, script, lambda data, place=place: [data[:place], data[place:]])


@pytest.mark.parametrize("group", SMALL)
def test_end_meets_each_case(end: End, group: str) -> None:
    """On a socket too, whole and byte by byte, or nearly so where it is long."""
    for name, case in SMALL[group].items():
        with naming(name):
            script = scripted(end, case)
            assert_met(end, script, whole)
            assert_met(end, script, in_steps(1 if len(script.data) < 2000 else 997))


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(LARGE)])
def test_end_meets_a_large_case(end: End, name: str) -> None:
    """Much data arrives whole and in pieces of some KiB, and no more of it is accepted than is allowed."""
    script = scripted(end, CASES[name])
    assert_met(end, script, whole)
    assert_met(end, script, in_steps(5000))


@pytest.mark.parametrize("step", [64, 128, 256, 512, 1024, 2048])
def test_large_message_arrives_in_small_pieces(end: End, step: int) -> None:
    """Autobahn 9.5: a message of 256 KiB, written so many bytes at a time."""
    assert_met(end, scripted(end, lambda script: script.message(256 * 1024)), in_steps(step))


@pytest.mark.parametrize("kind", DECODERS)
def test_decoder_meets_chance(kind: str) -> None:
    """200 scripts by chance, each cut by chance and byte by byte."""
    for seed in range(200):
        with naming(f"by chance, seed {seed}"):
            script = scripted(DECODERS[kind], partial(fuzzed, chance=Random(seed)))
            assert_met(DECODERS[kind], script, at_random(Random(seed)))
            assert_met(DECODERS[kind], script, in_steps(7))


def test_end_meets_chance(end: End) -> None:
    """40 scripts by chance, cut by chance."""
    for seed in range(40):
        with naming(f"by chance, seed {seed}"):
            assert_met(end, scripted(end, partial(fuzzed, chance=Random(seed))), at_random(Random(seed)))
