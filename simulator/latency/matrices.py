"""Who is where, and the law of delays from each place to each other one.

All that participants send goes through their room. So a matrix is about connections: it gives the laws of each one's
two directions, from the place of its participant to that of the room, and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

from meshsync.errors import UsageError
from simulator.latency import laws
from simulator.latency.laws import Constant, Law, as_link_law

__all__ = ["ROOM", "Latency", "Matrix", "as_latency", "from_json", "matrix"]

ROOM = "room"
"""The name of all rooms among the participants of a matrix."""

_SHOWN = 12
"""The most names that an error lists."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Laws of delay by pair of places; see `matrix`."""

    pairs: Mapping[tuple[str, str], Law] = field(hash=False)
    """By place of origin and place of destination. Not to be changed, as ``regions``."""
    regions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The region of each participant that has one, by name; and of `ROOM`."""
    default: Law | None = None
    """The law of connections that no pair is about; None to refuse them."""

    def __post_init__(self) -> None:
        pairs = {_pair(pair): _law(f"the pair {pair!r}", law) for pair, law in _flat(self.pairs)}
        regions = _mapping("regions", self.regions, '{"ada": "us"}')
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "regions", dict(regions))
        if not pairs:
            raise ValueError("pairs: there has to be one at least")
        if self.default is not None:
            object.__setattr__(self, "default", _law("default", self.default))
        for name, region in regions.items():
            if not isinstance(name, str) or not name:
                raise ValueError(f"regions: the name of a participant is a text, not {name!r:.100}")
            if region not in self.places:
                there_are = _listed(self.places)
                raise ValueError(f"regions: {name!r} is in {region!r:.100}, which no pair has; there are {there_are}")

    @property
    def places(self) -> tuple[str, ...]:
        """All that the pairs are about, in their order: regions, and participants that stand for themselves."""
        return tuple(dict.fromkeys(place for pair in self.pairs for place in pair))

    @property
    def participants(self) -> dict[str, list[str]]:
        """The names of the participants of each region that has some."""
        found: dict[str, list[str]] = {}
        for name, region in self.regions.items():
            if name != ROOM:
                found.setdefault(region, []).append(name)
        return found

    def region_of(self, name: str) -> str | None:
        """Return the region of a participant; None if it has none."""
        return self.regions.get(name)

    def laws_of(self, name: str) -> tuple[Law, Law]:
        """Return the laws of a participant's connections: to its room, and from it.

        A client whose token is not valid has an empty name, and is nowhere: it is not refused.

        Raises:
            UsageError: If no pair is about it and there is no default; the text says what there is.
        """
        if not name:
            nowhere = self.default or Constant(0)
            return nowhere, nowhere
        return self._law(name, ROOM), self._law(ROOM, name)

    def _law(self, origin: str, destination: str) -> Law:
        for here, there in product(self._places_of(origin), self._places_of(destination)):
            for pair in ((here, there), (there, here)):
                if pair in self.pairs:
                    return self.pairs[pair]
        if self.default is not None:
            return self.default
        raise UsageError(self._missing(destination if origin == ROOM else origin))

    def _places_of(self, name: str) -> tuple[str, ...]:
        """Return where a participant or the room is, beginning with what is about it alone."""
        region = self.regions.get(name)
        return (name,) if region is None else (name, region)

    def _missing(self, name: str) -> str:
        here, there = self._places_of(name)[-1], self._places_of(ROOM)[-1]
        if name not in self.regions and name not in self.places:
            return (
                f"latency: {name!r} is in no region of the matrix: give it one of {_listed(self.places)} in regions=,"
                " or the matrix a default="
            )
        if there == ROOM and ROOM not in self.places:
            return f"latency: the room is in no region of the matrix: add {ROOM!r} to regions=, or a default="
        return (
            f"latency: no pair is about {name!r}, in {here!r}, and the room, in {there!r}: add ({here!r}, {there!r}),"
            f" or a default=; there are {_listed(map(' to '.join, self.pairs))}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as a JSON object, which `from_json` reads."""
        rows: dict[str, dict[str, Any]] = {}
        for (origin, destination), law in self.pairs.items():
            rows.setdefault(origin, {})[destination] = law.to_json()
        default = None if self.default is None else self.default.to_json()
        return {"law": "matrix", "pairs": rows, "regions": dict(self.regions), "default": default}


Latency: TypeAlias = Law | Matrix
"""What the delays of a world's connections follow: one law for all, or a matrix."""


def matrix(
    pairs: Mapping[tuple[str, str], Law | float] | Mapping[str, Mapping[str, Law | float]],
    *,
    regions: Mapping[str, str] | None = None,
    default: Law | float | None = None,
) -> Matrix:
    """Return the laws of delay of connections by where their participants are, for ``Simulation(latency=…)``.

    A message from one participant to another goes to their room first, so it takes one law from its sender's place to
    the room's, and one from there to its recipient's. Only pairs that the room's place is part of are ever used.

    Args:
        pairs: The law, or seconds, **one way** from the first place of a pair to the second; the other way it is the
            same unless the opposite pair is there too. A place is a region, a participant by its name, or ``"room"``. A
            table of rows will do: ``{"eu": {"eu": 0.001, "us": 0.045}}``.
        regions: The region of each participant, by name, and of ``"room"``, that is of all rooms. One that is not there
            is a place of its own. A pair about a participant counts before one about its region.
        default: The law of connections that no pair is about; None to refuse whoever makes one.
    Raises:
        ValueError: If there is no pair, something is no law, or no pair has a region; the text has the known ones.
    Example:
        ::

            latency.matrix({("eu", "us"): 0.045, ("eu", "eu"): 0.001}, regions={"ada": "us", "bob": "eu", "room": "eu"})
    """
    return Matrix(pairs, {} if regions is None else regions, default)  # type: ignore[arg-type]  # it makes them laws


def as_latency(value: Latency | float) -> Latency:
    """Return a law or a matrix unchanged, and a number of seconds as a constant; raises as `as_link_law`."""
    return value if isinstance(value, Matrix) else as_link_law(value)


def from_json(value: Mapping[str, Any]) -> Latency:
    """Return the law or the matrix that its ``to_json`` wrote. In a matrix a law may be a number of seconds.

    Raises:
        ValueError: If it is neither, or its parameters are wrong.
    """
    if value.get("law") != "matrix":
        return laws.from_json(value)
    given = {name: part for name, part in value.items() if name != "law"}
    unknown = [name for name in given if name not in ("pairs", "regions", "default")]
    if unknown or "pairs" not in given:
        raise ValueError(f"matrix takes pairs, regions and default, got {', '.join(given) or 'nothing'}")
    rows = given["pairs"]
    if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
        raise ValueError('pairs: an object of objects, as {"eu": {"us": 0.045}}')
    pairs = {(origin, to): _read_law(law) for origin, row in rows.items() for to, law in row.items()}
    default = given.get("default")
    return matrix(pairs, regions=given.get("regions"), default=None if default is None else _read_law(default))


def _read_law(value: Any) -> Law:
    return laws.from_json(value) if isinstance(value, Mapping) else _law("a law", value)


def _flat(pairs: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each pair with its law, of rows too."""
    for key, value in _mapping("pairs", pairs, '{("eu", "us"): 0.045}').items():
        if isinstance(value, Mapping):
            yield from (((key, other), law) for other, law in value.items())
        else:
            yield key, value


def _mapping(what: str, value: Any, example: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: a mapping, such as {example}, not {type(value).__name__}")
    return value


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(end, str) and end for end in value):
        raise ValueError(f'pairs: a pair is two places, as ("eu", "us"), not {value!r:.100}')
    return value


def _law(what: str, value: Any) -> Law:
    try:
        return as_link_law(value, is_of_pair=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from None


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + rest
