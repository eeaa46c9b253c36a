"""Draw docs/packages.svg: the packages on their floors, and their imports of each other.

    python -m tools.draw_packages            writes the picture
    python -m tools.draw_packages --check    exits with 0 if it is up to date, else with 1

An arrow points to the imported package. One that follows from others is left out: where A imports B and B imports C,
the import of C by A is not drawn.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from html import escape
from math import fsum
from pathlib import Path

from tools.imports import Tree, module_name, read_reached, read_tree
from tools.structure import FLOORS, read_floors

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "packages.svg"

WIDTH, ROW, HEIGHT, GAP, MARGIN = 800, 52, 28, 18, 12
"""Of the picture, from floor to floor, of a box, between boxes, at the edges; in pixels. A page is about as wide, so
that the text is shown in its own size."""
CHARACTER = 7.6
"""Width of a character of the boxes' text, in pixels."""

STYLE = """
text { font: 13px "DejaVu Sans Mono", monospace; fill: #1c2733 }
.floor { fill: #f4f6f8 }
.package { fill: #ffffff; stroke: #5a7184; stroke-width: 1.2 } .module { fill: #fbfbfb; stroke: #b4c0ca }
.arrow { fill: none; stroke: #7d93a5; stroke-width: 1 } .label { fill: #7d8b97; font-size: 11px }
.root { font-size: 16px; font-weight: bold }
"""


def read_graph(tree: Tree) -> dict[str, set[str]]:
    """Return, for each package and each module outside of packages, those of the others that it imports.

    Raises:
        ValueError: If an import does not go down, or comes from or goes to a module without a floor.
    """
    floors = read_floors(FLOORS)
    modules = {module_name(path): path for path in tree}
    graph: dict[str, set[str]] = {floor.unit: set() for floor in floors.values()}
    for path, text in tree.items():
        importer = module_name(path)
        for line, target in read_reached(path, ast.parse(text, path), modules):
            edge = f"{path}:{line}: {importer} imports {target}"
            if importer not in floors or target not in floors:
                raise ValueError(f"{edge}: {target if importer in floors else importer} has no floor")
            own, other = floors[importer], floors[target]
            if own.unit != other.unit:
                if other.outer >= own.outer:
                    raise ValueError(f"{edge}, which is not on a lower floor")
                graph[own.unit].add(other.unit)
    return graph


def reduce(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return a graph, less the edges that follow from others.

    Raises:
        ValueError: If it has a circle.
    """
    reached: dict[str, set[str]] = {}

    def reach(unit: str, way: tuple[str, ...] = ()) -> set[str]:
        if unit in way:
            raise ValueError(f"imports in a circle: {' -> '.join([*way[way.index(unit) :], unit])}")
        if unit not in reached:
            reached[unit] = set().union(*({other} | reach(other, (*way, unit)) for other in graph[unit]))
        return reached[unit]

    for unit in graph:
        reach(unit)
    return {unit: {t for t in below if not any(t in reached[o] for o in below - {t})} for unit, below in graph.items()}


def panel_of(graph: Mapping[str, set[str]], root: str) -> dict[str, set[str]]:
    """Return the part of one of the two packages; the other, where it is used, as one box under its own name."""

    def shown(unit: str) -> str:
        return unit if unit.split(".", maxsplit=1)[0] == root else unit.split(".", maxsplit=1)[0]

    panel: dict[str, set[str]] = {}
    for unit, below in graph.items():
        if unit.split(".")[0] == root:
            panel[unit] = {shown(other) for other in below}
    for other in set().union(*panel.values()) - set(panel):
        panel[other] = set()
    return panel


def rows_of(names: set[str], root: str) -> list[list[str]]:
    """Return the packages of each floor, the highest floor first; a box that stands for another package is lowest."""
    floors: dict[int, list[str]] = defaultdict(list)
    for floor in read_floors(FLOORS).values():
        outer = floor.outer if floor.unit.split(".")[0] == root else -1
        if floor.unit in names and floor.unit not in floors[outer]:
            floors[outer].append(floor.unit)
    return [floors[number] for number in sorted(floors, reverse=True) if floors[number]]


def order(rows: list[list[str]], graph: Mapping[str, set[str]]) -> None:
    """Sort each row so that boxes lie near those that they share an arrow with."""
    place = {unit: (i + 0.5) / len(row) for row in rows for i, unit in enumerate(row)}
    near: dict[str, set[str]] = defaultdict(set)
    for unit, below in graph.items():
        for other in below:
            near[unit].add(other)
            near[other].add(unit)
    for _ in range(8):
        for row in rows:
            # The name decides between equals, and an exact sum has no order, so that the picture is the same each time.
            row.sort(key=lambda unit: (fsum(place[o] for o in near[unit]) / max(1, len(near[unit])), unit))
            place.update({unit: (i + 0.5) / len(row) for i, unit in enumerate(row)})


def label_of(unit: str) -> str:
    """Return a package's name without that of the half of the picture that it is in."""
    return unit.partition(".")[2] or unit


def draw(tree: Tree) -> str:
    """Return the picture as SVG: above simulator, and below meshsync, on which it stands."""
    graph = read_graph(tree)
    packages = {path.rpartition("/")[0].replace("/", ".") for path in tree}
    upper, middle = draw_panel(reduce(panel_of(graph, "simulator")), "simulator", packages, 0)
    lower, height = draw_panel(reduce(panel_of(graph, "meshsync")), "meshsync", packages, middle + MARGIN)
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#7d93a5"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<title>Packages of meshsync and simulator, floor by floor; an arrow points to what is imported</title>\n"
        f"<style>{STYLE}</style><defs>{tip}</defs>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(upper + lower) + "\n</svg>\n"
    )


def draw_panel(graph: Mapping[str, set[str]], root: str, packages: set[str], top: int) -> tuple[list[str], int]:
    """Return the elements of one half of the picture that begins at a height, and the height of its end, in pixels."""
    rows = rows_of(set(graph), root)
    order(rows, graph)
    boxes: dict[str, tuple[float, float, float]] = {}
    parts: list[str] = [f'<text class="root" x="{MARGIN}" y="{top + 22}">{root}</text>']
    top += ROW - HEIGHT + MARGIN
    for number, row in enumerate(rows):
        y = top + number * ROW
        parts.append(
            f'<rect class="floor" x="0" y="{y}" width="{WIDTH}" height="{ROW - 6}" rx="6"/>'
            f'<text class="label" x="{MARGIN}" y="{y + 18}">{len(rows) - number}</text>'
        )
        widths = [len(label_of(unit)) * CHARACTER + 18 for unit in row]
        x = (WIDTH - sum(widths) - GAP * (len(row) - 1)) / 2
        for unit, width in zip(row, widths, strict=True):
            boxes[unit] = (x, y + 9, width)
            x += width + GAP
    for unit, below in sorted(graph.items()):
        for target in sorted(below):
            (x, y, width), (to_x, to_y, to_width) = boxes[unit], boxes[target]
            begin, end = (x + width / 2, y + HEIGHT), (to_x + to_width / 2, to_y - 3)
            bend = max(18.0, (end[1] - begin[1]) / 2)
            curve = (
                f"M{begin[0]:.0f} {begin[1]:.0f} C{begin[0]:.0f} {begin[1] + bend:.0f} "
                f"{end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1]:.0f}"
            )
            parts.append(
                f'<path class="arrow" marker-end="url(#tip)" d="{curve}"><title>{unit} imports {target}</title></path>'
            )
    for unit, (x, y, width) in boxes.items():
        kind = "package" if unit in packages else "module"
        parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="4"/>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y + 19:.0f}">{escape(label_of(unit))}</text>')
    return parts, top + len(rows) * ROW


def main(arguments: list[str]) -> int:
    """Write the picture, or compare it."""
    picture = draw(read_tree(ROOT))
    if "--check" in arguments:
        is_current = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == picture
        if not is_current:
            print(f"{PICTURE.relative_to(ROOT)} is out of date: python -m tools.draw_packages", file=sys.stderr)
        return 0 if is_current else 1
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
