"""Put what a kept run of the benchmarks measured into the page on speed.

    python -m tools.speed

The run is `tests/benchmarks/kept.json`, which `python -m tests.benchmarks --save` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.rows import Kept, Row, Spread, load

__all__ = ["KEPT", "PAGE", "report", "with_report"]

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "benchmarks" / "kept.json"
PAGE = ROOT / "docs" / "explanation" / "speed.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

BUSY = "The machine did other work, too: of this run ratios say more than figures, and the narrow ones alone say much."
SHOWN = {
    "Messages; the limit is a socket that another process echoes": {
        "messages": (
            "blocking sends",
            "blocking sends, median latency",
            "blocking sends, sender's CPU",
            "blocking sends, sender's wake-ups",
            "pipelined sends",
            "pipelined sends, sender's CPU",
        )
    },
    "Streams; the limit are sockets through a process that passes on": {
        "streams": (
            "stream with speed, A, 64 KiB",
            "stream with speed, B, 64 KiB",
            "stream, pure Python, B, 64 KiB",
            "stream with speed, A, 1024 KiB",
            "stream with speed, B, 1024 KiB",
            "stream, pure Python, B, 1024 KiB",
        )
    },
    "The emulator; the limit is a server of picows that passes on, on the same loop": {
        "fan_out": ("room of 10, asyncio: server's CPU", "room of 10, uvloop: server's CPU"),
        "load": ("fan-out to 1,000: server's CPU", "1,000 idle connections: memory of each"),
    },
    "A simulation; the limit is a thread that wakes another by a lock": {"simulation": ("50 clients, 3,600 s: CPU",)},
}
"""By title: the rows of each part that are shown."""


def report(kept: Mapping[str, Kept]) -> str:
    """Return when and on what the run was, and its tables.

    Raises:
        KeyError: If a row is not in the run.
    """
    where = sorted({f"{part.date}, Python {part.python}, {part.cpus} CPUs" for part in kept.values()})
    is_busy = any(part.load > part.cpus for part in kept.values())
    text = f"Measured: {'; '.join(where)}. Median of the rounds, with the lowest and the highest."
    tables = [f"{text}\n{BUSY}" if is_busy else text]
    for title, parts in SHOWN.items():
        lines = [f"| {title} | here | times the official client | times the limit |", "|---|---|---|---|"]
        for name, works in parts.items():
            rows = {row.work: row for row in kept[name].rows}
            lines += [_line(rows[work]) for work in works]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _line(row: Row) -> str:
    ratios = row.ratios()
    official = [f"{release}: {ratios[f'official {release}']}" for release in row.official if row.official[release]]
    limit = next((str(ratios[f"limit: {name}"]) for name in row.limits if f"limit: {name}" in ratios), "")
    better = ", less is better" if row.is_less_better else ""
    here = f"{Spread.of(row.ours)} {row.unit}"
    return f"| {row.work}{better} | {here} | {'<br>'.join(official)} | {limit} |"


def with_report(page: str, text: str) -> str:
    """Return a page with a report in its place.

    Raises:
        ValueError: If it has no place, or several.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_report(PAGE.read_text(encoding="utf-8"), report(load(KEPT))), encoding="utf-8")
