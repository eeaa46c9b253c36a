"""Chance from one seed: a random stream for each purpose, the same on every Python and under every hash seed.

Streams are named, so that a draw more or less for one purpose leaves all others alone. Only ``Random.random()`` gives
the same numbers on every Python; every other method of `random.Random` may change between versions, so none is called,
here or elsewhere: the functions below stand in for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from random import Random

__all__ = ["Seeds", "entropy", "pick", "seeds_of"]

__engine__ = True


class Seeds:
    """The random streams that follow from one seed.

    Raises:
        TypeError: If it is neither an int nor a text.
    """

    def __init__(self, seed: int | str) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise TypeError(f"a seed is an int or a text, not {seed!r:.100}")
        self.seed = seed
        self._streams: dict[str, Random] = {}
        self.changed: Callable[[str, Random], Random] | None = None
        """Takes a stream's name and the stream, and returns what is used in its place; see ``branches.py``."""

    def stream(self, name: str) -> Random:
        """Return the stream of that name: always the same object, however many draws it has made.

        Its state follows from SHA-256 of seed and name; a seed given as text equals the number it spells.
        """
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = self.new_stream(name)
        return stream

    def new_stream(self, name: str) -> Random:
        """Return that stream at its beginning, for a name that is used once: it is not kept, 2.5 KB each."""
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        stream = Random(int.from_bytes(digest, "big"))
        return stream if self.changed is None else self.changed(name, stream)


def seeds_of(given: int | Iterable[int | str]) -> Iterable[int | str]:
    """Return the seeds to try, which a number of them stands for: those from 0 on.

    Raises:
        TypeError: If it is neither. A text would be taken for its characters.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return range(given)
    if isinstance(given, (bool, str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"seeds is how many, or which, as a list or a range, not {given!r:.100}")
    return given


def pick(stream: Random, count: int) -> int:
    """Return a number from 0 to ``count - 1``, each as likely as the others.

    The bias of this method, ``count / 2**53``, is far below what any number of runs could show.
    """
    return int(stream.random() * count)


def entropy(stream: Random, size: int) -> bytes:
    """Return ``size`` bytes from a stream: predictable, unlike those of the operating system."""
    draws = [int(stream.random() * 2**48).to_bytes(6, "big") for _ in range(-(-size // 6))]
    return b"".join(draws)[:size]
