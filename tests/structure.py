"""Read the imports of the two packages and judge them: the floors and the seam of DESIGN.md, sections 2 and 3.

Nothing is imported or run; a tree is a mapping of paths, relative to the repository, to source text. So a planted fault
is a mapping too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Tree = Mapping[str, str]

# --- the tables -------------------------------------------------------------------------------------------------------

FLOORS = """
0   meshsync.errors
1   meshsync.protocol.*
2   meshsync.runtime  meshsync.transport
3   meshsync.threads  meshsync.websocket  meshsync.handshake  meshsync.signals  meshsync.inbox  meshsync.participants
3   meshsync.wires  meshsync.tokens  meshsync.messages  meshsync.deliveries  meshsync.chunks
3   meshsync.filenames  meshsync.partialfile  meshsync.progress
4   meshsync.connection  meshsync.streams  meshsync.presence  meshsync.receivers  meshsync.subscriptions
4   meshsync.routing  meshsync.stream_table  meshsync.carriers  meshsync.calls  meshsync.wrappers  meshsync.turns
5   meshsync.filters  meshsync.negotiation  meshsync.compression  meshsync.encryption  meshsync.buffering
5   meshsync.files  meshsync.messaging
6   meshsync.room
7   meshsync.connect
8   meshsync

a   simulator.errors  simulator.world.kernel  simulator.world.seeds  simulator.world.schedules
a   simulator.world.actors  simulator.world.diagnosis  simulator.world.process  simulator.world.stalls
a   simulator.world.checkpoints  simulator.world.summons
a   simulator.network.latency  simulator.network.values  simulator.network.mishaps  simulator.network.faults
a   simulator.network.pulse  simulator.record.transcript
b   simulator.world.scheduler  simulator.world.conditions  simulator.world.tasks  simulator.world.runtime
b   simulator.network.links  simulator.room.rules  simulator.room.seat
b   simulator.room.members  simulator.room.ends  simulator.room.calls  simulator.room.classic
b   simulator.room.peers  simulator.room.stream
b   simulator.room.faulty  simulator.record.recorder  simulator.record.words  simulator.record.stories
b   simulator.record.timeline  simulator.record.charts
c   simulator.network.transport  simulator.network.carrier  simulator.network.network  simulator.network.connector
c   simulator.network.plain  simulator.emulator.admission
c   simulator.room.participant  simulator.room.speakers  simulator.room.streamers  simulator.room.visitors
c   simulator.room.participants
d   simulator.emulator.gateway  simulator.emulator.emulator  simulator.plan  simulator.simulation
e   simulator.programs  simulator.runs  simulator.checking  simulator.shrinking
e   simulator.exploration
f   simulator.pytest_plugin  simulator.cli_programs  simulator.cli  simulator.demo  simulator.__main__
g   simulator
"""
"""The floor of each module, the lowest first. ``package.*`` is every module in it; a package that is not named, such as
``simulator.room``, has the floor of its highest module and hands on nothing but its own."""

ROOM = "simulator.room"
ROOM_SHARES = (
    "errors",
    "protocol.packets",
    "protocol.envelopes",
    "protocol.content",
    "protocol.vocabulary",
    "protocol.dialects",
    "protocol.bridging",
)
"""What the other side of a conversation may borrow from the client; a shared reading hides a misreading."""

SEAM = frozenset(
    {
        "meshsync/threads.py",
        "meshsync/websocket.py",
        "meshsync/handshake.py",
        "simulator/emulator/gateway.py",
        "simulator/cli.py",
        "simulator/world/runtime.py",
    }
)
"""The only files that meet real time, threads, sockets and chance."""

LOADERS = frozenset({"simulator/programs.py"})
"""The only files that may import what is named at run time: programs of the user's. Else they are held to the seam."""

WORLDLY_MODULES = frozenset(
    {"time", "threading", "_thread", "queue", "_queue", "socket", "_socket", "select", "selectors", "uuid", "secrets"}
    | {"asyncio", "concurrent", "multiprocessing", "sched"}
)
"""The modules that DESIGN.md names, and others that are clocks, threads or sockets by another name."""
WORLDLY_NAMES = frozenset(
    {
        "os.urandom",
        "os.getrandom",
        "random.SystemRandom",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    }
)
"""Single names that bring time or chance in by another door."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module, or of a name from it."""

    path: str
    line: int
    module: str
    name: str = ""
    """The imported name; empty where the module itself is meant."""


# --- reading ----------------------------------------------------------------------------------------------------------


def read_tree(root: Path) -> dict[str, str]:
    """Return the sources of both packages under a repository's root."""
    files = sorted(file for package in ("meshsync", "simulator") for file in (root / package).rglob("*.py"))
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def module_name(path: str) -> str:
    """Return ``meshsync.protocol.frames`` for its path; a package goes by its own name."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def read_imports(path: str, tree: ast.AST) -> Iterator[Import]:
    """Yield every import in a module, wherever it stands: in functions, under TYPE_CHECKING, by ``import_module``."""
    aliases = read_aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(path, node)
            yield from (Import(path, node.lineno, origin, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func, aliases) in _IMPORTERS:
            yield Import(path, node.lineno, (_first_text(node) or "?").partition(":")[0])
        elif isinstance(node, ast.Subscript) and _dotted(node.value, aliases) == "sys.modules":
            yield Import(path, node.lineno, _text(node.slice) or "?")


_IMPORTERS = {"importlib.import_module", "importlib.__import__", "__import__", "builtins.__import__"} | {
    "pkgutil.resolve_name",
    "runpy.run_module",
    "runpy.run_path",
}


def _origin(path: str, node: ast.ImportFrom) -> str:
    """Return the module a ``from`` import names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    package = path.split("/")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _first_text(call: ast.Call) -> str | None:
    """Return a call's first argument if it is a literal text."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "name"]
    return _text(next(iter([*call.args, *named]), None))


def read_aliases(tree: ast.AST) -> dict[str, str]:
    """Return what each name of a module stands for, as a dotted path: ``{"t": "time", "s": "time.sleep"}``.

    Scopes are not told apart; a name that is bound twice may be taken for either.
    """
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for _ in range(3):  # names of names: `o = os`, then `u = o.urandom`
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (path := _dotted(node.value, aliases)):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        aliases.setdefault(target.id, path)
    return aliases


def _dotted(node: ast.expr, aliases: Mapping[str, str]) -> str | None:
    """Return the dotted path that an expression stands for, or None where it does not begin with an imported name."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id if node.id == "__import__" else None)
    if isinstance(node, ast.Attribute):
        value = _dotted(node.value, aliases)
        return f"{value}.{node.attr}" if value else None
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
            value, name = _dotted(node.args[0], aliases), _text(node.args[1])
            return f"{value}.{name}" if value and name else None
        if _dotted(node.func, aliases) in _IMPORTERS:
            return _first_text(node)
    return None


# --- floors -----------------------------------------------------------------------------------------------------------


def check_floors(tree: Tree) -> list[str]:
    """Return every breach of the floors, one line each; empty if there is none."""
    modules = {module_name(path): path for path in tree}
    breaches = []
    edges: dict[str, set[str]] = {module: set() for module in modules}
    floors = {module: floor_of(module, modules) for module in modules}
    breaches += [
        f"{modules[module]}: give it a floor in tests/structure.py" for module, floor in floors.items() if floor is None
    ]
    for path, text in tree.items():
        importer = module_name(path)
        for found in read_imports(path, ast.parse(text, path)):
            target = _target(found, modules)
            if target is None or target == importer:
                continue
            if breach := _breach(importer, target, floors, is_face=path.endswith("__init__.py")):
                breaches.append(f"{path}:{found.line}: {breach}")
            elif floors.get(importer) == floors.get(target):
                edges[importer].add(target)
    return breaches + [f"a cycle within a floor: {' -> '.join(cycle)}" for cycle in find_cycles(edges)]


def floor_of(module: str, modules: Iterable[str]) -> int | None:
    """Return a module's floor as its place in the table, None if the table does not know it."""
    order = list(dict.fromkeys(line.split()[0] for line in FLOORS.split("\n") if line.strip()))
    for line in FLOORS.split("\n"):
        floor, *names = line.split() or [""]
        for name in names:
            package = name.removesuffix(".*")
            if module == package or (name.endswith(".*") and module.startswith(f"{package}.")):
                return order.index(floor)
    inside = [floor_of(other, ()) for other in modules if other.startswith(f"{module}.")]
    return max((floor for floor in inside if floor is not None), default=None)


def _target(found: Import, modules: Mapping[str, str]) -> str | None:
    """Return the module of ours that an import reaches, None for a foreign one."""
    if found.module.split(".")[0] not in ("meshsync", "simulator"):
        return None
    inner = f"{found.module}.{found.name}"
    return inner if found.name and inner in modules else found.module


def _breach(importer: str, target: str, floors: Mapping[str, int | None], *, is_face: bool) -> str | None:
    """Return what is wrong with one import between modules of ours, None if nothing is."""
    if target not in floors:
        return f"{importer} imports {target}, which does not exist"
    if importer.startswith("meshsync") and target.startswith("simulator"):
        return f"{importer} imports {target}: meshsync never imports simulator"
    if f"{importer}.".startswith(f"{ROOM}.") and target.startswith("meshsync"):
        shared = target.removeprefix("meshsync.")
        if not any(shared == name or shared.startswith(f"{name}.") for name in ROOM_SHARES):
            return f"{importer} imports {target}: the room shares only {', '.join(ROOM_SHARES)}"
    if is_face and "." in importer and not target.startswith(f"{importer}."):
        return f"{importer} imports {target}: a package's face hands on only its own modules"
    own, other = floors[importer], floors[target]
    if own is not None and other is not None and other > own:
        return f"{importer} imports {target}, which is on a higher floor"
    return None


def find_cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return one cycle through each module that lies on one and was not named by an earlier cycle."""
    found: list[list[str]] = []
    for start in sorted(edges):
        if any(start in cycle for cycle in found):
            continue
        trails = [[start]]
        seen: set[str] = set()
        while trails:
            trail = trails.pop(0)
            following = sorted(edges.get(trail[-1], ()))
            if start in following:
                found.append([*trail, start])
                break
            trails += [[*trail, module] for module in following if module not in seen]
            seen.update(following)
    return found


# --- the seam ---------------------------------------------------------------------------------------------------------


def check_seam(tree: Tree) -> list[str]:
    """Return every use of real time, threads, sockets or chance outside the seam, one line each."""
    return [breach for path, text in tree.items() for breach in _seam_breaches(path, ast.parse(text, path))]


def _seam_breaches(path: str, module: ast.Module) -> Iterator[str]:
    aliases = read_aliases(module)
    for found in read_imports(path, module):
        worldly = found.module.split(".")[0] in WORLDLY_MODULES or found.name in WORLDLY_MODULES - {"time"}
        smuggled = found.name == "time" and found.module != "datetime"  # datetime.time is a class, a value
        if (worldly or smuggled) and path not in SEAM:
            yield f"{path}:{found.line}: imports {'.'.join(filter(None, (found.module, found.name)))}"
        elif found.module == "?" and path not in SEAM | LOADERS:
            yield f"{path}:{found.line}: imports a module that is not named here, which cannot be checked"
        elif fault := _forbidden_name(f"{found.module}.{found.name}", path):
            yield f"{path}:{found.line}: {fault}"
    for node in ast.walk(module):
        if not isinstance(node, (ast.Attribute, ast.Call)):
            continue
        used = _dotted(node, aliases)
        if used and (fault := _forbidden_name(used, path)):
            yield f"{path}:{node.lineno}: {fault}"
        unseeded = isinstance(node, ast.Call) and not node.args and _dotted(node.func, aliases) == "random.Random"
        if unseeded and path not in SEAM:
            yield f"{path}:{node.lineno}: random.Random() without a seed draws one from the system"


def _forbidden_name(dotted: str, path: str) -> str | None:
    """Return what is wrong with using a dotted name in a file, None if nothing is."""
    if re.fullmatch(r"random\.([a-z]\w*|\*)", dotted):
        return f"{dotted}: the generator that everybody shares"
    if path in SEAM:
        return None
    if dotted in WORLDLY_NAMES:
        return f"uses {dotted}"
    _, *rest = dotted.split(".")
    if not dotted.startswith("datetime.time") and WORLDLY_MODULES.intersection(rest):
        return f"uses {dotted}, a module taken from another"
    return None
