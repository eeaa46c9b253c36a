"""Draw the pictures of the documentation: ``docs/pictures/*.svg``, from simulations that always go alike.

Those of growth are of the kept run of the benchmarks, `tests/benchmarks/kept.json`.

    python -m tools.pictures [NAME …]

What a picture shows is a sentence beside it in the text; look at each when it is drawn anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

import meshsync
import simulator
from simulator import Simulation, faults, latency, participants
from tests.benchmarks.rows import Row, Spread, load
from tests.support.pages import read_blocks
from tools.speed import KEPT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DIRECTORY = DOCS / "pictures"


def program(page: str, number: int) -> dict[str, object]:
    """Return the names that the first programs of a page of the documentation define."""
    blocks = [block for block in read_blocks((DOCS / page).read_text(encoding="utf-8")) if block.language == "python"]
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks[:number]:
        exec(compile(block.text, page, "exec"), names)
    return names


def team() -> Axes:
    """Draw the planner and the workers of the tutorial."""
    room = program("tutorial/a-simulated-team.md", 2)["team"]
    assert isinstance(room, simulator.simulation.SimulatedRoom)
    _, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    return room.transcript.plot(ax, title="six jobs for two workers")


def partition() -> Axes:
    """Draw a question that meets a partition."""
    with Simulation(seed=2, latency=latency.lognormal(median=0.3, sigma=0.3)) as sim:
        room = sim.room("lab")
        room.add(participants.Echo("bot", delay=0.2))
        ada = room.join("ada", enable=True)
        bot = ada.messaging.wait_for_participant(name="bot")
        sim.plan(faults.during(sim.now + 2, sim.now + 8, faults.partition({"bot"})))
        start = sim.now
        for number in range(6):
            ada.messaging.send_message_nowait(bot, "ask", {"number": number})
            meshsync.sleep(1.5)
        sim.sleep(5)
    _, ax = plt.subplots(figsize=(8.5, 2.8), layout="constrained")
    return room.transcript.plot(ax, start=start, title="six questions, and six seconds without a network")


LAWS = {
    "constant(0.04)": (latency.constant(0.04), "-"),
    "uniform(0.02, 0.06)": (latency.uniform(0.02, 0.06), "--"),
    "lognormal(0.04, 0.4)": (latency.lognormal(median=0.04, sigma=0.4), "-."),
    "exponential(0.0577)": (latency.exponential(mean=0.0577), ":"),
}


def laws() -> Axes:
    """Draw how the share of messages that have arrived grows with time, for four laws with the same median."""
    _, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    shares = np.linspace(0.0005, 0.9995, 2000)
    for name, (law, style) in LAWS.items():
        delays = [1000 * law.quantile(share) for share in shares]
        ax.plot([0, delays[0], *delays, 250], [0, 0, *(100 * shares), 100], style, label=name, linewidth=2)
    ax.set(xlim=(0, 200), ylim=(0, 102), xlabel="milliseconds after sending", ylabel="messages that have arrived, %")
    ax.grid(alpha=0.3)
    ax.legend(title="law", loc="lower right")
    return ax


def overload() -> Axes:
    """Draw what a room does that takes 0.4 ms for each message, at more and more messages a second."""
    rates = [250, 500, 1000, 1500, 2000, 2250, 2400, 2500, 2600, 2750, 3000]
    medians, slow = [], []
    for rate in rates:
        with Simulation(seed=1, latency=latency.constant(0.005), service=latency.exponential(0.0004)) as sim:
            room = sim.room("demo")
            ada = room.join("ada", enable=True)
            room.join("bob", enable=True)
            to = ada.messaging.wait_for_participant(name="bob")
            for _ in range(3 * rate // 2):
                ada.messaging.send_message_nowait(to, "tick", {})
                sim.sleep(1 / rate)
            sim.sleep(10)
            delays = [1000 * (one.latency_s or 0) for one in room.transcript.messages("tick")]
        medians.append(float(np.percentile(delays, 50)))
        slow.append(float(np.percentile(delays, 99)))
    _, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    ax.plot(rates, slow, "s--", label="the slowest of a hundred")
    ax.plot(rates, medians, "o-", label="half of them arrive within")
    ax.axvline(2500, color="0.5", linestyle=":")
    ax.annotate("what the room can do", (2500, ax.get_ylim()[1] * 0.9), (-8, 0), textcoords="offset points", ha="right")
    ax.set(xlabel="messages a second", ylabel="delay, milliseconds", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left")
    return ax


def origin() -> Axes:
    """Draw where the failure of the tutorial came from."""
    shop, test = (
        block.text for block in read_blocks((DOCS / "tutorial" / "a-failing-test.md").read_text(encoding="utf-8"))[:2]
    )
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(shop, "shop.py", "exec"), names)
    exec(compile(test.replace("from shop import shop\n", "\n"), "test_shop.py", "exec"), names)
    failure = simulator.explore(names["one_tea_two_buyers"], range(100), latency=0.02, save=None, report=None)  # type: ignore[arg-type]
    assert failure is not None
    _, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    return simulator.why(failure).plot(ax)


def race() -> Axes:
    """Draw the failing run of the page on races."""
    failure = program("races.md", 1)["failure"]
    assert isinstance(failure, simulator.exploring.exploration.Failure)
    _, ax = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    return failure.plot(ax)


# --- how costs grow ---------------------------------------------------------------------------------------------------


def curve(name: str) -> list[Row]:
    """Return the rows of one curve, in the order of their sizes."""
    return sorted((row for row in load(KEPT)["growth"].rows if row.curve == name), key=lambda row: row.at)


def draw(ax: Axes, rows: list[Row], values: Callable[[Row], Sequence[float]], style: str, label: str) -> None:
    """Draw the medians of the rounds as a line, in a band from the lowest to the highest."""
    spreads = {row.at: Spread.of(values(row)) for row in rows}
    (line,) = ax.plot([*spreads], [spread.middle for spread in spreads.values()], style, label=label, markersize=4)
    lows, highs = [spread.low for spread in spreads.values()], [spread.high for spread in spreads.values()]
    ax.fill_between([*spreads], lows, highs, color=line.get_color(), alpha=0.14, linewidth=0)


def ratio(values: Sequence[float], others: Sequence[float], factor: float = 1.0) -> list[float]:
    """Return the ratios of the same rounds."""
    return [factor * one / other for one, other in zip(values, others, strict=True)]


def scale(ax: Axes, sizes: dict[float, str], xlabel: str, ylabel: str, title: str) -> None:
    """Let both axes be logarithmic, with plain numbers at them."""
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    ax.set_xticks([*sizes], [*sizes.values()])
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.3)


def growth_recipients() -> Axes:
    """Draw what a delivery costs the server with more and more recipients, beside a bare server."""
    rows = curve("recipients")
    limit = next(iter(rows[0].limits))
    _, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    draw(left, rows, lambda row: row.ours, "o-", "room of the emulator")
    draw(left, rows, lambda row: row.limits[limit], "s--", limit)
    draw(right, rows, lambda row: ratio(row.ours, row.limits[limit]), "o-", "room")
    sizes = {row.at: f"{row.at:,.0f}" for row in rows}
    scale(left, sizes, "recipients of each message", "µs", "server's CPU for a delivery")
    scale(right, sizes, "recipients of each message", f"times {limit}", f"the same, in those of {limit}")
    right.set(yscale="linear", ylim=(0, None))
    right.axhline(1, color="0.5", linestyle=":")
    left.legend()
    return left


def growth_bytes() -> Axes:
    """Draw how many megabytes a second arrive in messages of more and more bytes, beside bare sockets."""
    ours = {f"this client, dialect {dialect}": curve(f"bytes, {dialect}") for dialect in "AB"}
    rows = next(iter(ours.values()))
    limit, release = next(iter(rows[0].limits)), next(iter(rows[0].official), "")
    _, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    draw(left, rows, lambda row: row.limits[limit], "s--", "bare sockets")
    right.plot([], [])  # So that each has one colour in both.
    for (name, some), style in zip(ours.items(), ("o-", "v-"), strict=True):
        draw(left, some, lambda row: row.ours, style, name)
        draw(right, some, lambda row: ratio(row.ours, row.limits[limit], 100), style, name)
    if release:
        draw(left, rows, lambda row: row.official[release], "^-.", f"official {release}")
        draw(right, rows, lambda row: ratio(row.official[release], row.limits[limit], 100), "^-.", release)
    sizes = {100: "100 B", 1000: "1 kB", 10_000: "10 kB", 100_000: "100 kB", 1_000_000: "1 MB"}
    scale(left, sizes, "attachment of each message", "MB/s", "one message after the other")
    scale(right, sizes, "attachment of each message", "%", "the same, in % of bare sockets")
    left.legend()
    return left


PICTURES: dict[str, Callable[[], Axes]] = {
    "team": team,
    "partition": partition,
    "laws": laws,
    "overload": overload,
    "origin": origin,
    "race": race,
    "growth-recipients": growth_recipients,
    "growth-bytes": growth_bytes,
}


def main(names: list[str]) -> int:
    """Draw the pictures with these names, or all; return the exit status."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in names or PICTURES:
        # So that a picture that has not changed is the same file.
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "figure.facecolor": "white"}):
            figure = PICTURES[name]().figure
            figure.savefig(DIRECTORY / f"{name}.svg", metadata={"Date": None})  # type: ignore[union-attr]
            plt.close("all")
        print(DIRECTORY / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
