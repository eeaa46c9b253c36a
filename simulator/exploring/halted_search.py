"""A search that was interrupted, as a file, from which it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshsync.errors import UsageError
from simulator import latency as laws
from simulator.engine.aiming import Step
from simulator.engine.lateness import Pilot
from simulator.exploring import network_options
from simulator.exploring.search import Search
from simulator.faults import plans

__all__ = ["HaltedSearch"]

FORMAT = 1
"""Version of the saved form."""
_FREE = ("save", "shrinking", "stall_after")
"""Settings that may be others when a search goes on: they do not change which seed fails."""


@dataclass(frozen=True, slots=True)
class HaltedSearch:
    """How far a search has come, and what it was asked for."""

    program: str | None
    """By which the program is found; None if it has no name."""
    seeds: tuple[int, int, int] | None
    """The arguments of the range; None if the seeds were none."""
    settings: Mapping[str, Any]
    """What `explore` was given besides, as JSON."""
    done: int
    runs: int
    overdue: tuple[int | str, ...]
    overdue_runs: int
    pilot: Mapping[str, Any] | None
    """The members of `Pilot`; None if there was none."""

    @property
    def can_resume(self) -> bool:
        """Whether the command line can go on with it: all that was asked for is in here."""
        return self.program is not None and self.seeds is not None and self.settings["plan"] is not None

    def arguments(self) -> dict[str, Any]:
        """Return the settings as `explore` takes them; the program has to be imported."""
        settings = dict(self.settings)
        settings["latency"] = laws.from_json(settings["latency"])
        settings["plan"] = plans.from_json(settings["plan"])
        return settings | network_options.from_json(settings.pop("network", {}))

    @classmethod
    def of(
        cls, search: Search, program: str | None, seeds: Iterable[int | str], settings: Mapping[str, Any]
    ) -> HaltedSearch:
        """Return how far a search has come."""
        bounds = (seeds.start, seeds.stop, seeds.step) if isinstance(seeds, range) else None
        pilot = None if search.pilot is None else asdict(search.pilot)
        return cls(
            program, bounds, settings, search.done, search.runs, tuple(search.overdue), search.overdue_runs, pilot
        )

    @classmethod
    def load(cls, path: Path) -> HaltedSearch:
        """Return what `save` wrote.

        Raises:
            UsageError: If the file cannot be read, or has no such thing.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value["search"] != FORMAT:
                raise ValueError(f"it is of version {value['search']!r}")
            seeds = None if value["seeds"] is None else tuple(map(int, value["seeds"]))
            if seeds is not None and len(seeds) != 3:
                raise ValueError("seeds are three numbers")
            pilot = value["pilot"]
            return cls(
                program=value["program"],
                seeds=seeds,
                settings=dict(value["settings"]),
                done=int(value["done"]),
                runs=int(value["runs"]),
                overdue=tuple(value["overdue"]),
                overdue_runs=int(value.get("overdue_runs", len(value["overdue"]))),  # Each was one of a seed before.
                pilot=None if pilot is None else _pilot(pilot),
            )
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is no search kept by version {FORMAT} of this library: {error}") from None

    def save(self, path: Path) -> None:
        """Write it, as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"search": FORMAT, **asdict(self)}, allow_nan=False) + "\n", encoding="utf-8")

    def restore(self, search: Search, program: str | None, seeds: Iterable[int | str], settings: Any) -> None:
        """Have a search that has not begun go on from here.

        Raises:
            UsageError: If it is another search; the text names the first difference.
        """
        given = HaltedSearch.of(search, program, seeds, settings)
        for name in ("program", "seeds"):
            if getattr(given, name) != getattr(self, name):
                raise UsageError(f"another search was interrupted: its {name} {getattr(self, name)}")
        for name in [name for name in {**self.settings, **settings} if name not in _FREE]:
            if settings.get(name) != self.settings.get(name):
                raise UsageError(f"another search was interrupted: its {name} is {self.settings.get(name)!r:.100}")
        search.done, search.runs, search.overdue = self.done, self.runs, list(self.overdue)
        search.overdue_runs = self.overdue_runs
        search.pilot = None if self.pilot is None else Pilot(**self.pilot)


def _pilot(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Pilot`."""
    steps = tuple(Step(*one) for one in value["steps"])
    return {**{name: tuple(value[name]) for name in ("times", "limits", "who")}, "steps": steps}
