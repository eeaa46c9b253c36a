"""Read the imports of the two packages and judge them: the floors, the seam and the one clock of docs/ARCHITECTURE.md.

No module is imported or run; a tree is a mapping of paths, relative to the repository, to source text. So a planted
fault is a mapping too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Tree = Mapping[str, str]

# --- the tables -------------------------------------------------------------------------------------------------------

FLOORS = """
0  meshsync.errors
1  meshsync.runtime: interfaces lifecycle / deadlines threads / mutex
2  meshsync.protocol: envelopes frames heartbeat packets / content flow_control roster send_buffer stream_messages
                      / operations / attachments bridging events greeting / dialects tool_calls / codec / session
3  meshsync.transport: endings interfaces proxies redaction senders sockets / dialing poller / upgrade
                      / refusals / handshake shared_socket / closing / websocket / connector
3  meshsync.participants  meshsync.signals
4  meshsync.messages  meshsync.tokens  meshsync.world
5  meshsync.connection: alarms deliveries failures forks inbox / send_queue / connection
6  meshsync.dispatch: dispatcher receivers subscriptions / router
7  meshsync.streams: channels interfaces / life statements / duplex stream / incoming outgoing / endpoints / registry
                     / offers opening / table
8  meshsync.filters: wrapping / filtering / buffering compression encryption negotiation
8  meshsync.files: file_names partial_file progress / transfer
8  meshsync.client
9  meshsync.messaging  meshsync.buffering  meshsync.compression  meshsync.encryption  meshsync.negotiation
10 meshsync.room
11 meshsync.connect
12 meshsync

a  simulator.errors  simulator.latency
b  simulator.engine: housekeeping kernel marks os_process seeds stalls / actors schedules
                     / diagnosis pending_errors ready_actors / scheduler / conditions / tasks / actor_threads
                     / watchdog / runtime
c  simulator.faults: fields / fault / layers / registry / kinds.connecting kinds.half_open kinds.join kinds.latency
                     kinds.leave kinds.offers kinds.partition kinds.pause kinds.pushes kinds.replies kinds.reset
                     kinds.restart kinds.throttle / plans / injection
d  simulator.room: members / call_ends / calls classic_streams / rules / faulty seat
e  simulator.admission
e  simulator.network: heartbeat_timer links traffic / client_end room_end / network / connector headless_end
f  simulator.record: calls_as_streams names records / recorder wording / charts timeline_view / drawn_faults / timeline
                     / transcript
g  simulator.participants: peers / stream / participant / messaging streaming visiting
h  simulator.emulator: settings / connection / gateway / loop_thread / emulator
h  simulator.simulation
i  simulator.exploring: programs runs shrinking / checking exploration
j  simulator.cli: demo programs / main
j  simulator.pytest_plugin
k  simulator.__main__  simulator
"""
"""The house from the ground up. A line is a floor, or several modules and packages of one; after a package's colon come
its own modules, with a stroke between its floors. An imported module lies on a lower floor: of the house, and for two
modules of one package of that package. So there is no circle, neither of packages nor of files."""

PEERS = ("simulator.room", "simulator.participants")
"""The packages that the client converses with."""
PEERS_SHARE = (
    "errors",
    "runtime.lifecycle",
    "protocol.packets",
    "protocol.envelopes",
    "protocol.content",
    "protocol.operations",
    "protocol.dialects",
    "protocol.codec",
    "protocol.greeting",
    "protocol.bridging",
)
"""The modules they may borrow from the client: a shared reading hides a misreading."""

SEAM = frozenset(
    {
        "meshsync/runtime/threads.py",
        "meshsync/transport/poller.py",
        "meshsync/transport/shared_socket.py",
        "meshsync/transport/dialing.py",
        "meshsync/transport/handshake.py",
        "meshsync/transport/refusals.py",
        "meshsync/transport/upgrade.py",
        "simulator/emulator/connection.py",
        "simulator/emulator/gateway.py",
        "simulator/emulator/loop_thread.py",
        "simulator/cli/main.py",
        "simulator/engine/actor_threads.py",
        "simulator/engine/runtime.py",
        "simulator/engine/watchdog.py",
    }
)
"""The only files that use real time, threads, sockets and chance."""

LOADERS = frozenset({"simulator/exploring/programs.py"})
"""The only files that may import modules named at run time: programs of the user's. Else they are held to the seam."""

WORLDLY_MODULES = frozenset(
    {"time", "threading", "_thread", "queue", "_queue", "socket", "_socket", "select", "selectors", "uuid", "secrets"}
    | {"asyncio", "concurrent", "multiprocessing", "sched"}
)
"""The modules that the seam is made of, and others that are clocks, threads or sockets by another name."""
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


CLOCK = frozenset({"meshsync/__init__.py", "meshsync/connect.py", "meshsync/world.py"})
"""The only files of meshsync that may read the world of the calling task; all else lives in its client's runtime."""
AMBIENT = frozenset(f"meshsync.world.{name}" for name in ("condition", "current_world", "monotonic", "sleep", "spawn"))
"""Functions that read that world, or wait in it."""


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
    aliases = read_aliases(path, tree)
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


def read_aliases(path: str, tree: ast.AST) -> dict[str, str]:
    """Return the meaning of each name of a module, as a dotted path: ``{"t": "time", "s": "time.sleep"}``.

    Scopes are not told apart; a name that is bound twice may be taken for either.
    """
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and (origin := _origin(path, node)):
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{origin}.{alias.name}"
    for _ in range(3):  # names of names: `o = os`, then `u = o.urandom`
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (meant := _dotted(node.value, aliases)):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        aliases.setdefault(target.id, meant)
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
    floors = read_floors(FLOORS)
    breaches = [
        f"{path}: give it a floor in tools/structure.py"
        for module, path in modules.items()
        if module not in floors and not _is_face(path)
    ]
    for path, text in tree.items():
        importer = module_name(path)
        for found in read_imports(path, ast.parse(text, path)):
            target = find_target(found, modules)
            if target is None or target == importer:
                continue
            if breach := _breach(importer, target, modules, floors):
                breaches.append(f"{path}:{found.line}: {breach}")
    return breaches


@dataclass(frozen=True, slots=True)
class Floor:
    """Where a module lies: the floor of the house, the package or module that lies there, the floor inside it."""

    outer: int
    unit: str
    inner: int = 0


def read_floors(table: str) -> dict[str, Floor]:
    """Return the floor of each module that a table like `FLOORS` names, and of each package."""
    floors: dict[str, Floor] = {}
    order: list[str] = []
    for line in table.replace("\n  ", " ").split("\n"):
        if not line.strip():
            continue
        label, _, rest = line.partition(" ")
        if label not in order:
            order.append(label)
        outer = order.index(label)
        package, has_modules, inside = rest.partition(":")
        if not has_modules:
            floors |= {name: Floor(outer, name) for name in rest.split()}
            continue
        package = package.strip()
        floors[package] = Floor(outer, package, len(inside))  # Its face is above all its modules.
        for inner, names in enumerate(inside.split("/")):
            floors |= {f"{package}.{name}": Floor(outer, package, inner) for name in names.split()}
    return floors


def _is_face(path: str) -> bool:
    return path.endswith("__init__.py")


def find_target(found: Import, modules: Mapping[str, str]) -> str | None:
    """Return the module of the two packages that an import reaches, None for a foreign one."""
    if found.module.split(".")[0] not in ("meshsync", "simulator"):
        return None
    inner = f"{found.module}.{found.name}"
    return inner if found.name and inner in modules else found.module


def _breach(importer: str, target: str, modules: Mapping[str, str], floors: Mapping[str, Floor]) -> str | None:
    """Return the breach of one import between modules of the two packages, None if there is none."""
    if target not in modules:
        return f"{importer} imports {target}, which does not exist"
    if importer.startswith("meshsync") and target.startswith("simulator"):
        return f"{importer} imports {target}: meshsync never imports simulator"
    if f"{importer}.".startswith(tuple(f"{name}." for name in PEERS)) and target.startswith("meshsync"):
        shared = target.removeprefix("meshsync.")
        if not any(shared == name or shared.startswith(f"{name}.") for name in PEERS_SHARE):
            return f"{importer} imports {target}: the room and its participants share only {', '.join(PEERS_SHARE)}"
    if _is_face(modules[importer]) and "." in importer and not target.startswith(f"{importer}."):
        return f"{importer} imports {target}: a package's face hands on only its own modules"
    own, other = floors.get(importer), floors.get(target)
    if own is None or other is None:
        return None
    if own.unit == other.unit:
        is_lower = other.inner < own.inner
    else:
        is_lower = other.outer < own.outer
    return None if is_lower else f"{importer} imports {target}, which is not on a lower floor"


# --- the seam ---------------------------------------------------------------------------------------------------------


def check_seam(tree: Tree) -> list[str]:
    """Return every use of real time, threads, sockets or chance outside the seam, one line each."""
    return [breach for path, text in tree.items() for breach in _seam_breaches(path, ast.parse(text, path))]


def _seam_breaches(path: str, module: ast.Module) -> Iterator[str]:
    aliases = read_aliases(path, module)
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
    """Return the breach of using a dotted name in a file, None if there is none."""
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


# --- one clock --------------------------------------------------------------------------------------------------------


def check_clock(tree: Tree) -> list[str]:
    """Return every use of the calling task's world in meshsync outside `CLOCK`, one line each."""
    return [
        f"{path}:{line}: uses {name}, the world of the calling task: take the runtime of the client"
        for path, text in tree.items()
        if path.startswith("meshsync/") and path not in CLOCK
        for line, name in sorted(_ambient_uses(path, ast.parse(text, path)))
    ]


def _ambient_uses(path: str, module: ast.Module) -> set[tuple[int, str]]:
    aliases = read_aliases(path, module)
    uses = {(found.line, f"{found.module}.{found.name}") for found in read_imports(path, module)}
    for node in ast.walk(module):
        if isinstance(node, (ast.Attribute, ast.Call)) and (used := _dotted(node, aliases)):
            uses.add((node.lineno, used))
    # The face hands them on: meshsync.sleep is meshsync.world.sleep.
    faces = {name.replace("meshsync.world.", "meshsync."): name for name in AMBIENT}
    named = {(line, faces.get(name, name)) for line, name in uses}
    return {(line, name) for line, name in named if name in AMBIENT or name == "meshsync.world.*"}
