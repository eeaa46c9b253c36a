"""Judge the imports of the two packages: the floors, the seam, the one clock and the one path to a name of the wire.

docs/ARCHITECTURE.md explains them. Each check takes a tree (see `tools.imports`) and returns its breaches, one line
each; an empty list if there is none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.imports import (
    OWN,
    UNKNOWN,
    Names,
    Tree,
    is_face,
    longest_module,
    module_name,
    read_imports,
    read_reached,
    read_uses,
)

# --- the tables -------------------------------------------------------------------------------------------------------

FLOORS = """
000 meshsync.tracebacks
00 meshsync.hints  meshsync.notebook  meshsync.places  meshsync.values
00a meshsync.arguments
0  meshsync.errors  meshsync.excerpts  meshsync.reasons  meshsync.pytest_cases
1  meshsync.runtime: allocation coroutines holdings shields / interfaces lifecycle thread_permits
                     / critical_sections deadlines / mutex threads / stop_signals
1  meshsync.discovery  meshsync.pytest_tracebacks
2  meshsync.protocol: envelopes frames heartbeat packets
                      / content flow_control roster send_buffer stream_messages / operations pacing resuming
                      / attachments bridging events greeting / dialects tool_calls weight / codec / session
3  meshsync.transport: acknowledgements endings interfaces proxies redaction senders sockets / dialing poller / upgrade
                      / refusals / handshake shared_socket / closing / websocket / connector
3  meshsync.confirming: bodies / proofs sender / receiver / exchange
3  meshsync.participants  meshsync.signals
4  meshsync.faces  meshsync.local_emulator  meshsync.tokens  meshsync.typed  meshsync.world
5  meshsync.connection: alarms budget deliveries failures forks reconnecting states traffic / inbox outbox send_queue
                        / send_room turns / connection / uplink
5  meshsync.targets
5m meshsync.messages
6  meshsync.waiting: binding gathering turnstile / locks queues signalling
6  meshsync.dispatch: dispatcher gate interfaces receivers reports subscriptions / hooks / router
7  meshsync.forms  meshsync.placement
7  meshsync.streams: channels interfaces resuming / life statements / duplex stream / incoming outgoing
                     / resumable_outgoing / endpoints / registry / offers resumptions / opening / table
8  meshsync.filters: wrapping / filtering / buffering compression encryption negotiation
8  meshsync.files: exclusive file_names progress / partial_file / continuing / transfer
8  meshsync.confirmation
8a meshsync.asking: pending requests / asking / answering answers
9  meshsync.membership
10 meshsync.client
10a meshsync.sending
10b meshsync.receiving
10c meshsync.requesting
11 meshsync.messaging  meshsync.buffering  meshsync.compression  meshsync.encryption  meshsync.negotiation
12 meshsync.room
13 meshsync.connect
14 meshsync
15 meshsync.cli: advice bodies directories durations exits masking pipes wording / output
                 / access arrivals checks program progress recipients
                 / asking chatting doctor listening presence sending starting transferring / main
16 meshsync.__main__

a  simulator.spellings
a1 simulator.errors
a1 simulator.latency: laws spellings / matrices
b  simulator.engine: housekeeping kernel marks os_process results seeds stalls / actors clock schedules
                     / aiming diagnosis pending_errors ready_actors / lateness mistakes / branches traced_schedule
                     / scheduler / conditions hindrances lives / permits real_waits tasks / actor_threads invariants
                     / watchdog / runtime
c  simulator.faults: fields spellings / fault / layers / asking registry / kinds.block kinds.connecting kinds.crash
                     kinds.drop kinds.half_open kinds.join kinds.latency kinds.leave kinds.offers kinds.partition
                     kinds.pause kinds.programs kinds.pushes kinds.replies kinds.reset kinds.restart kinds.throttle
                     / kinds / plans / injection
d  simulator.room: limits members / call_ends / calls classic_streams / rules / seat / watched / passages / faulty
e  simulator.admission
e  simulator.histories: history models / linearizability
e  simulator.network: bandwidths frames traffic / links / desks heartbeat_timer / client_end network room_end
                      / connector headless_end programs
f  simulator.record: attachments calls_as_streams files names record / confirmed_messages joined_chunks lines redaction
                     / log / records / recorder whole_chunks wording / link_recorder charts timeline_styles
                     timeline_labels timeline_view / timeline_names timeline_scale / drawn_faults timeline_marks
                     / timeline / transcript / comparing
g  simulator.lives: disks leftovers / programs
g  simulator.participants: hooks peers spellings stays / confirming stream surroundings / lasting / streams
                           / participant / messaging streaming visiting
h  simulator.emulator: doorway events framing limits loop_clock memory rates refusals wire
                       / event_log flushes intake newcomers recording sockets / rooms settings / connection stage
                       / gateway / loop_thread / emulator
e  simulator.settings  simulator.failing_receivers  simulator.dropped_streams
h  simulator.simulation
i  simulator.exploring: crews estimates network_options programs progress_bar repeated_records run_plot
                        shrinking / moments runs
                        / checking delays failure_shrinking guided origin_plot / jobs / sweeps / search / halted_search
                        / exploration / origin
i2 simulator.replaying: questions / steps venues / director / player subjects / performing / replay testing / making
i2 simulator.stateful: members rules / scripts / performance / report / machine
j  simulator.cli: demo logs options shells values / finding programs staging / emulating
                  / executing replaying serving / main
j  simulator.calibration
j  simulator.fixtures: emulating simulating
k  simulator.__main__  simulator
l  meshsync.pytest_plugin
"""
"""The house from the ground up. A line is a floor, or several modules and packages of one; after a package's colon come
its own modules, with a stroke between its floors. An imported module lies on a lower floor: of the house, and for two
modules of one package of that package. So there is no circle, neither of packages nor of files."""

BACKWARD = "meshsync/pytest_plugin.py"
"""The only file of meshsync that may import the simulator, in functions alone: pytest loads it in every project, and
one may have another package of that name."""

PEERS = ("simulator.room", "simulator.participants")
"""The packages that the client converses with."""
PEERS_SHARE = (
    "errors",
    "reasons",
    "values",
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
PARTICIPANTS_SHARE = ("confirming", "protocol.resuming", "protocol.pacing", "protocol.stream_messages")
"""What participants may borrow besides: confirmed messages and resumed streams are between clients, and no room knows
of them. A stream that ends with its connection borrows nothing."""

SEAM = frozenset(
    {
        "meshsync/cli/arrivals.py",
        "meshsync/cli/doctor.py",
        "meshsync/cli/listening.py",
        "meshsync/cli/pipes.py",
        "meshsync/cli/progress.py",
        "meshsync/cli/transferring.py",
        "meshsync/discovery.py",
        "meshsync/runtime/coroutines.py",
        "meshsync/runtime/thread_permits.py",
        "meshsync/runtime/threads.py",
        "meshsync/transport/poller.py",
        "meshsync/transport/shared_socket.py",
        "meshsync/transport/dialing.py",
        "meshsync/transport/handshake.py",
        "meshsync/transport/refusals.py",
        "meshsync/transport/upgrade.py",
        "meshsync/waiting/queues.py",
        "meshsync/waiting/signalling.py",
        "simulator/emulator/connection.py",
        "simulator/emulator/gateway.py",
        "simulator/emulator/loop_clock.py",
        "simulator/emulator/loop_thread.py",
        "simulator/emulator/newcomers.py",
        "simulator/emulator/sockets.py",
        "simulator/emulator/stage.py",
        "simulator/emulator/wire.py",
        "simulator/cli/logs.py",
        "simulator/cli/serving.py",
        "simulator/engine/actor_threads.py",
        "simulator/engine/real_waits.py",
        "simulator/engine/runtime.py",
        "simulator/engine/watchdog.py",
        "simulator/exploring/crews.py",
        "simulator/exploring/jobs.py",
        "simulator/exploring/sweeps.py",
    }
)
"""The only files that use real time, threads, sockets and chance."""

LOADERS = frozenset(
    {
        "meshsync/values.py",
        "simulator/exploring/programs.py",
        "simulator/engine/marks.py",
        "simulator/engine/real_waits.py",
        "simulator/cli/main.py",
    }
)
"""The only files that may import or look up modules named at run time: the user's, those in a table of commands,
and none at all, but constructors made of the names of fields. Else they are held to the seam."""

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

CLOCK = frozenset(
    {"meshsync/__init__.py", "meshsync/cli/doctor.py", "meshsync/connect.py", "meshsync/world.py"}
    | {"meshsync/waiting/binding.py"}
)
"""The only files of meshsync that may read the world of the calling task; all else lives in its client's runtime."""
UNAMBIENT = frozenset({"World", "runtime_of"})
"""All that other files may take from ``meshsync.world``: a type, and the function that finds an owner's runtime."""
AMBIENT = frozenset({"condition", "monotonic", "sleep", "spawn", "wall_time", "*"})
"""What the face of meshsync hands on from there; a star too."""
REAL_RUNTIME = "meshsync.runtime.threads.ThreadRuntime"
"""May be made in its package and in ``meshsync.world`` alone."""

WIRE = "meshsync.protocol"
"""The package in which each name has one import path: the module that defines it."""


# --- floors -----------------------------------------------------------------------------------------------------------


def check_floors(tree: Tree) -> list[str]:
    """Return every import against the floors, and every one that cannot be judged."""
    modules = {module_name(path): path for path in tree}
    floors = read_floors(FLOORS)
    breaches: list[str] = []
    for path, text in tree.items():
        module, importer = ast.parse(text, path), module_name(path)
        breaches += [
            f"{path}:{found.line}: {importer} imports a module that is not named here, which cannot be checked"
            for found in read_imports(path, module)
            if found.module == UNKNOWN and path not in LOADERS
        ]
        breaches += [
            f"{path}:{line}: {importer} imports {target} outside of a function: it is to be ours first"
            for line, target in read_reached(path, _without_functions(module), modules)
            if path == BACKWARD and target.startswith("simulator")
        ]
        for line, target in read_reached(path, module, modules):
            if target != importer and (breach := _breach(importer, target, modules, floors)):
                breaches.append(f"{path}:{line}: {breach}")
    return breaches


def check_table(tree: Tree, table: str = FLOORS) -> list[str]:
    """Return every module and face without a row in the table of floors, and every row without a module."""
    modules = {module_name(path): path for path in tree}
    floors = read_floors(table)
    unplaced = [
        f"{path}: give it a floor in tools/structure.py" for name, path in modules.items() if name not in floors
    ]
    ghosts = [f"tools/structure.py: {name} has a floor and does not exist" for name in floors if name not in modules]
    return unplaced + ghosts


def _without_functions(module: ast.Module) -> ast.Module:
    """Return what of a module runs when it is imported, functions and what only a type checker reads left out."""
    body = [
        node
        for node in module.body
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    ]
    return ast.Module(body, [])


@dataclass(frozen=True, slots=True)
class Floor:
    """Where a module lies: the floor of the house, the package or module that lies there, the floor inside it."""

    outer: int
    unit: str
    inner: int = 0


def read_floors(table: str) -> dict[str, Floor]:
    """Return the floor of each module that a table like `FLOORS` names, and of each package.

    Raises:
        ValueError: If it names one twice.
    """
    floors: dict[str, Floor] = {}

    def place(name: str, floor: Floor) -> None:
        if name in floors:
            raise ValueError(f"{name} has two floors")
        floors[name] = floor

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
            for name in rest.split():
                place(name, Floor(outer, name))
            continue
        package = package.strip()
        place(package, Floor(outer, package, len(inside)))  # Its face is above all its modules.
        for inner, names in enumerate(inside.split("/")):
            for name in names.split():
                place(f"{package}.{name}", Floor(outer, package, inner))
    return floors


def _breach(importer: str, target: str, modules: Mapping[str, str], floors: Mapping[str, Floor]) -> str | None:
    """Return the breach of one import between modules of the two packages, None if there is none."""
    if target not in modules:
        return f"{importer} imports {target}, which does not exist"
    if importer.startswith("meshsync") and target.startswith("simulator") and modules[importer] != BACKWARD:
        return f"{importer} imports {target}: meshsync never imports simulator"
    if f"{importer}.".startswith(tuple(f"{name}." for name in PEERS)) and target.startswith("meshsync"):
        shared = target.removeprefix("meshsync.")
        may_share = PEERS_SHARE + (PARTICIPANTS_SHARE if importer.startswith("simulator.participants") else ())
        if not any(shared == name or shared.startswith(f"{name}.") for name in may_share):
            return f"{importer} imports {target}: the room and its participants share only {', '.join(PEERS_SHARE)}"
    if is_face(modules[importer]) and "." in importer and not target.startswith(f"{importer}."):
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
    """Return every use of real time, threads, sockets or chance outside the seam."""
    return [breach for path, text in tree.items() for breach in _seam_breaches(path, ast.parse(text, path))]


def _seam_breaches(path: str, module: ast.Module) -> Iterator[str]:
    for found in read_imports(path, module):
        worldly = found.module.split(".")[0] in WORLDLY_MODULES or found.name in WORLDLY_MODULES - {"time"}
        smuggled = found.name == "time" and found.module != "datetime"  # datetime.time is a class, a value
        if (worldly or smuggled) and path not in SEAM:
            yield f"{path}:{found.line}: imports {'.'.join(filter(None, (found.module, found.name)))}"
        elif found.module == UNKNOWN and path not in SEAM | LOADERS:
            yield f"{path}:{found.line}: imports a module that is not named here, which cannot be checked"
        elif fault := _forbidden_name(f"{found.module}.{found.name}", path):
            yield f"{path}:{found.line}: {fault}"
        elif found.name == "*":
            yield f"{path}:{found.line}: imports * from {found.module}: the names cannot be checked"
    for line, used in read_uses(path, module):
        if fault := _forbidden_name(used, path):
            yield f"{path}:{line}: {fault}"
    if path not in SEAM:
        names = Names(path, module)
        for call in ast.walk(module):
            if isinstance(call, ast.Call) and names.dotted(call.func) == "random.Random" and _is_of_nothing(call):
                yield f"{path}:{call.lineno}: random.Random() without a seed draws one from the system"


def _is_of_nothing(call: ast.Call) -> bool:
    """Return whether a call has no argument, or a literal None."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    return all(isinstance(argument, ast.Constant) and argument.value is None for argument in arguments)


def _forbidden_name(dotted: str, path: str) -> str | None:
    """Return the breach of using a dotted name in a file, None if there is none."""
    if re.match(r"random\.([a-z]\w*|\*)(\.|$)", dotted):
        return f"{dotted}: the generator that everybody shares"
    if path in SEAM:
        return None
    if any(f"{dotted}.".startswith(f"{name}.") for name in WORLDLY_NAMES):
        return f"uses {dotted}"
    _, *rest = dotted.split(".")
    if not dotted.startswith("datetime.time") and WORLDLY_MODULES.intersection(rest):
        return f"uses {dotted}, a module taken from another"
    return None


# --- one clock --------------------------------------------------------------------------------------------------------


def check_clock(tree: Tree) -> list[str]:
    """Return every use of the calling task's world in meshsync outside `CLOCK`, and every second real runtime."""
    breaches: list[str] = []
    for path, text in tree.items():
        if not path.startswith("meshsync/"):
            continue
        module = ast.parse(text, path)
        if path not in CLOCK:
            breaches += [
                f"{path}:{line}: uses {name}, the world of the calling task: take the runtime of the client"
                for line, name in sorted(_ambient_uses(path, module))
            ]
        if not path.startswith("meshsync/runtime/") and path != "meshsync/world.py":
            breaches += [
                f"{path}:{line}: uses {REAL_RUNTIME}: take the runtime of the client"
                for line, name in sorted(_uses(path, module))
                if f"{name}.".startswith(f"{REAL_RUNTIME}.")
            ]
    return breaches


def _uses(path: str, module: ast.Module) -> set[tuple[int, str]]:
    """Return the line and the dotted path of everything that a module imports, or reaches from an import."""
    imported = {(found.line, f"{found.module}.{found.name}") for found in read_imports(path, module)}
    return imported | set(read_uses(path, module))


def _ambient_uses(path: str, module: ast.Module) -> Iterator[tuple[int, str]]:
    names, finder = Names(path, module), "meshsync.world.runtime_of"
    for line, used in _uses(path, module):
        face, _, name = used.partition(".")
        if face == "meshsync" and name.split(".")[0] in AMBIENT:
            yield line, used
        name = used.removeprefix("meshsync.world.").split(".")[0]
        if used.startswith("meshsync.world.") and name and name not in UNAMBIENT:
            yield line, used
    for call in ast.walk(module):
        # Without an owner there is only the world of the calling task.
        if isinstance(call, ast.Call) and _is_of_nothing(call) and names.dotted(call.func) == finder:
            yield call.lineno, f"{finder}(None)"


# --- one path to a name -----------------------------------------------------------------------------------------------


def check_paths(tree: Tree) -> list[str]:
    """Return every name of a module of `WIRE` that is taken from another module than the one that defines it."""
    modules = {module_name(path): path for path in tree}
    wire = {name: path for name, path in modules.items() if f"{name}.".startswith(f"{WIRE}.")}
    defined = {name: set(_definitions(path, ast.parse(tree[path], path))) for name, path in wire.items()}
    breaches: list[str] = []
    for name, path in wire.items():
        breaches += [
            f"{path}:{line}: __all__ names {exported}, which {name} does not define"
            for line, exported in _exports(ast.parse(tree[path], path))
            if exported not in defined[name]
        ]
    for path, text in tree.items():
        for line, used in sorted(_uses(path, ast.parse(text, path))):
            origin = longest_module(used, wire)
            if origin is None or origin == module_name(path):
                continue
            taken = used.removeprefix(origin).removeprefix(".").split(".")[0]
            if taken and not taken.startswith("__") and taken not in defined[origin]:
                breaches.append(f"{path}:{line}: takes {taken} from {origin}, which does not define it")
    return breaches


def _exports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each name in a module's ``__all__``."""
    for node in module.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                for name in ast.walk(node):
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        yield name.lineno, name.value


def _definitions(path: str, module: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines at its top; a second name for what it imports is no definition."""
    names = Names(path, module)
    statements: list[ast.stmt] = list(module.body)
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            if node.value is not None and (names.dotted(node.value) or "").split(".")[0] in OWN:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For)):
            statements += [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
