"""Move modules and names to their new homes, and rewrite everything that refers to them.

    python -m tools.rearrange files          whole files, by MODULES and PATHS
    python -m tools.rearrange split OLD …    names out of a module, by SYMBOLS; OLD is the module as it is called now

References are imports, dotted names and paths in every text file that git tracks; what README, examples and notebooks
import stays as it is, since the packages' faces keep that working. Deleted when the house stands.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

MODULES: dict[str, str] = {}
"""Where a module goes, whole."""
PATHS: dict[str, str] = {}
"""Where a file goes that is no module of the two packages."""
SYMBOLS: dict[tuple[str, str], str] = {}
"""Where a name goes, by the module that has it after the whole files have moved."""
MARK = "\x01"
HEADS: dict[str, str] = {}
"""The docstrings of modules that splits make."""


def _move(old: str, new: str, names: str) -> None:
    for pair in names.split():
        name, _, other = pair.partition(">")
        MODULES[f"{old}.{name}"] = f"{new}.{other or name}"


_move("meshsync", "meshsync.runtime", "threads turns>deadlines")
MODULES["meshsync.runtime"] = "meshsync.world"
_move("meshsync", "meshsync.transport", "transport>interfaces wires>sockets handshake websocket")
_move("meshsync", "meshsync.connection", "connection deliveries inbox")
_move("meshsync", "meshsync.dispatch", "routing>router receivers subscriptions")
_move("meshsync", "meshsync.streams", "chunks>interfaces streams>stream carriers>channels calls>duplex")
_move("meshsync", "meshsync.streams", "stream_table>registry")
_move(
    "meshsync", "meshsync.filters", "filters>filtering wrappers>wrapping negotiation compression encryption buffering"
)
_move("meshsync", "meshsync.files", "files>transfer partialfile>partial_file filenames>file_names progress")
_move("meshsync.protocol", "meshsync.protocol", "sendbuffer>send_buffer vocabulary>operations calls>tool_calls")
_move("meshsync.protocol", "meshsync.protocol", "streams>stream_messages")
_move("simulator.world", "simulator.engine", "actors conditions diagnosis kernel runtime scheduler schedules seeds")
_move("simulator.world", "simulator.engine", "stalls tasks summons>pending_errors checkpoints>housekeeping")
_move("simulator.world", "simulator.engine", "process>os_process __init__")
_move("simulator.network", "simulator.faults", "mishaps>kinds faults>plans values>fields")
MODULES["simulator.network.latency"] = "simulator.latency"
MODULES["simulator.plan"] = "simulator.faults.injection"
_move("simulator.network", "simulator.network", "transport>client_end carrier>room_end plain>headless_end")
_move("simulator.network", "simulator.network", "pulse>heartbeat_timer")
_move("simulator.room", "simulator.participants", "participant peers speakers>messaging streamers>streaming stream")
_move("simulator.room", "simulator.participants", "visitors>visiting participants>__init__")
_move("simulator.room", "simulator.room", "ends>call_ends classic>classic_streams")
_move("simulator.record", "simulator.record", "words>calls_as_streams stories>wording")
_move("simulator", "simulator.exploring", "checking exploration runs shrinking programs")
_move("simulator", "simulator.cli", "cli>main cli_programs>programs demo")
MODULES["simulator.emulator.admission"] = "simulator.admission"


def _tests(new: str, names: str, old: str = "tests/unit") -> None:
    for pair in names.split():
        name, _, other = pair.partition(">")
        PATHS[f"{old}/{name}.py"] = f"{new}/{other or name}.py"


_tests("tests/unit/runtime", "test_turns>test_deadlines")
_tests("tests/unit/transport", "test_wires>test_sockets test_websocket")
_tests("tests/unit/connection", "test_connection test_deliveries test_inbox")
_tests("tests/unit/dispatch", "test_routing>test_router test_receivers test_subscriptions")
_tests("tests/unit/streams", "test_streams>test_stream test_stream_table>test_registry test_calls>test_duplex")
_tests("tests/unit/filters", "test_filters>test_filtering test_wrappers>test_wrapping test_negotiation")
_tests("tests/unit/filters", "test_compression test_encryption test_buffering")
_tests("tests/unit/files", "test_files>test_transfer test_partialfile>test_partial_file")
_tests("tests/unit/files", "test_filenames>test_file_names test_progress")
_tests("tests/unit/protocol", "test_calls>test_tool_calls test_sendbuffer>test_send_buffer", "tests/unit/protocol")
_tests("tests/unit/protocol", "test_streams>test_stream_messages", "tests/unit/protocol")
_tests(
    "tests/unit/engine", "busy test_kernel test_overtaking test_runtime test_schedules test_seeds", "tests/unit/world"
)
_tests("tests/unit/engine", "test_stalls", "tests/unit/world")
_tests("tests/unit/faults", "test_faults>test_plans", "tests/unit/network")
_tests("tests/unit", "test_latency", "tests/unit/network")
_tests("tests/unit/network", "test_transport>test_client_end", "tests/unit/network")
_tests("tests/unit/participants", "test_stream", "tests/unit/room")
_tests("tests/unit/room", "test_classic>test_classic_streams", "tests/unit/room")
_tests("tests/unit/exploring", "test_checking test_exploration test_shrinking test_programs")
_tests("tests/unit/cli", "test_cli>test_main test_cli_programs>test_programs")
_tests("tests/unit", "test_admission", "tests/unit/emulator")
_tests("tests/support", "rooms scripted scripted_streams seats", "tests")
_tests("tests/support", "scripted_server", "tests/contract")
_tests("tests/support", "sockets", "tests/interop")
_tests("tests/support", "streaming worlds", "tests/simulation")
_tests("tests/emulator", "test_client test_gateway test_must_hold test_filtered_streams test_streams", "tests/interop")
_tests("tools", "interpreters notebooks seeds structure", "tests")
_tests("tests/unit/tools", "test_notebooks test_structure test_project")


def _split(old: str, new: str, head: str, names: str) -> None:
    SYMBOLS.update(((old, name), new) for name in names.split())
    HEADS[new] = head


_split(
    "meshsync.world",
    "meshsync.runtime.interfaces",
    """Time, threads and chance as interfaces.

Production code waits, spawns and draws chance only through a `Runtime`. ``meshsync.runtime.threads`` implements it with
real threads; the simulator implements it on a virtual clock.
""",
    "TaskExit Condition Task Runtime",
)
_split("meshsync.runtime.deadlines", "meshsync.runtime.mutex", "Mutual exclusion with a time limit.", "Turn")
_split(
    "meshsync.transport.websocket",
    "meshsync.transport.endings",
    "How a connection ends: its states, and the reason that every caller gets an error of its own from.",
    "Life _MOVES _End _CLOSED_HERE _broke",
)
_split(
    "meshsync.transport.websocket",
    "meshsync.transport.poller",
    "Waiting for a socket, or for a wake-up from another task.",
    "_Poller",
)
_split(
    "meshsync.transport.websocket",
    "meshsync.transport.connector",
    "Opens WebSocket connections to one endpoint.",
    "WebSocketConnector",
)
_split(
    "meshsync.connection.deliveries",
    "meshsync.connection.send_queue",
    "Whose turn it is to send.",
    "Turns",
)
_split(
    "meshsync.streams.stream",
    "meshsync.streams.endpoints",
    "What a program has of a stream: its writer and its reader.",
    "MessageStreamWriter MessageStreamReader",
)
_split(
    "meshsync.protocol.stream_messages",
    "meshsync.protocol.flow_control",
    "One side's account of a stream: phases, windows, what may be sent and what is unread. Sans-I/O, no clock.",
    "WINDOW WINDOWS_OF_A_CLIENT LEAST_WINDOW UNREAD_LIMIT CHUNK_OVERHEAD size_of next_window Phase _MOVES Account",
)
_split(
    "meshsync.protocol.tool_calls",
    "meshsync.protocol.operations",
    "",
    "check_text declare",
)
_split(
    "meshsync.protocol.dialects",
    "meshsync.protocol.greeting",
    "How a room greets: the forms by release, and how each is written.",
    "GreetingForm _FIRST_ENVELOPE greeting_form _numbers encode_room_ready encode_connected _greet",
)
_split(
    "meshsync.protocol.dialects",
    "meshsync.protocol.codec",
    "Requests and pushes to message types and bodies, and back.",
    "_NO_HEADER encode_request encode_apart _WORTH_PARTING _MAX_REQUEST_DEPTH decode_request _decode_enable "
    "_decode_disable _decode_send _decode_broadcast _decode_set_attributes _REQUEST_TYPES encode_reply encode_push "
    "encode_status decode_push _decode_either",
)
_split("meshsync.streams.interfaces", "meshsync.runtime.deadlines", "", "Timeout")
_G = "simulator.emulator.gateway"
_split(_G, "simulator.emulator.settings", "What a gateway goes by.", "Settings")
_split(
    _G,
    "simulator.emulator.connection",
    """One client's WebSocket: frames in bulk both ways, its heartbeat, and how it ends.

aiohttp does the handshake. What comes in one read is handled in one go, and what one turn of the loop produced for a
participant leaves in one buffer, framed once for all who get it.
""",
    "_MAX_PACKET _HIGH_WATER _BATCH _JOINED _Socket _Connection _join",
)
_split(_G, "simulator.emulator.loop_thread", "A gateway's loop in a thread of its own.", "LoopThread _T")


def tracked(*endings: str) -> list[Path]:
    """Return the text files that git tracks, this one left out."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        ROOT / name
        for name in listed.splitlines()
        if name.endswith(endings or (".py", ".md", ".cfg", ".ini", ".toml", ".ipynb", ".mjs", "run", ".gitignore"))
        and name not in ("tools/rearrange.py", "LICENSE")
        and (ROOT / name).exists()
    ]


def path_of(module: str) -> str:
    """Return ``a/b.py`` for ``a.b``."""
    return module.replace(".", "/") + ".py"


def module_of(path: str) -> str:
    """Return ``a.b`` for ``a/b.py``."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


# --- whole files ------------------------------------------------------------------------------------------------------


def move_files() -> None:
    """Move every file, then rewrite what refers to it."""
    paths = {path_of(old): path_of(new) for old, new in MODULES.items()} | PATHS
    paths = {old: new for old, new in paths.items() if (ROOT / old).exists() and old != new}
    for old, new in paths.items():
        (ROOT / new).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", old, new], cwd=ROOT, check=True)
    dotted = {module_of(old): module_of(new) for old, new in paths.items()}
    for file in tracked():
        text = file.read_text(encoding="utf-8")
        changed = text
        if file.suffix == ".py" and file.parts[-2] != "examples":
            changed = rewrite_from_imports(changed, dotted)
        changed = rewrite_names(changed, paths, dotted, prose_only=is_shown(file))
        changed = changed.replace(MARK, "")
        if changed != text:
            file.write_text(changed, encoding="utf-8")


def is_shown(file: Path) -> bool:
    """Return whether it shows users what to import."""
    return file.name == "README.md" or file.suffix == ".ipynb" or file.parts[-2] == "examples"


def rewrite_names(text: str, paths: dict[str, str], dotted: dict[str, str], *, prose_only: bool) -> str:
    """Replace paths and dotted names, all at once, so that none is replaced twice."""
    table = dict(paths)
    if not prose_only:
        table |= dotted
    pattern = "|".join(re.escape(name) for name in sorted(table, key=len, reverse=True))
    return re.sub(rf"(?<![\w./{MARK}])({pattern})(?![\w/])(?!\.py)", lambda found: table[found[1]], text)


def rewrite_from_imports(text: str, dotted: dict[str, str]) -> str:
    """Rewrite ``from package import module`` where the module moves; its old name stays as an alias."""
    lines = text.split("\n")
    for node in sorted(
        (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)), key=lambda n: -n.lineno
    ):
        moved = [alias for alias in node.names if f"{node.module}.{alias.name}" in dotted]
        if not moved:
            continue
        indent = lines[node.lineno - 1][: node.col_offset]
        new = []
        kept = [alias for alias in node.names if alias not in moved]
        if kept:
            new.append(f"{indent}from {node.module} import {', '.join(ast.unparse(alias) for alias in kept)}")
        for alias in moved:
            package, _, name = dotted[f"{node.module}.{alias.name}"].rpartition(".")
            bound = alias.asname or alias.name
            # The mark keeps the other pass from taking a new package for an old module of that name.
            new.append(f"{indent}from {MARK}{package} import {name}" + (f" as {bound}" if bound != name else ""))
        lines[node.lineno - 1 : node.end_lineno] = new
    return "\n".join(lines)


# --- names out of modules ---------------------------------------------------------------------------------------------


def names_of(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a module defines."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [found.id for target in node.targets for found in ast.walk(target) if isinstance(found, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def split(old: str) -> None:
    """Cut names out of one module, each into its new home, which is made or added to."""
    file = ROOT / path_of(old)
    text = file.read_text(encoding="utf-8")
    homes = {name: new for (module, name), new in SYMBOLS.items() if module == old}
    lines = text.split("\n")
    body = ast.parse(text).body
    imports: list[str] = []
    blocks: list[tuple[str | None, str]] = []
    defined: set[str] = set()
    begin = 0
    last_home: str | None = None
    for index, node in enumerate(body):
        end = node.end_lineno or 0
        block = "\n".join(lines[begin:end])
        begin = end
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not (
            isinstance(node, ast.ImportFrom) and node.module == "__future__"
        ):
            imports.append("\n".join(lines[node.lineno - 1 : end]))
        names = names_of(node)
        defined.update(names)
        home = next((homes[name] for name in names if name in homes), None)
        if is_docstring and index and not names:
            home = last_home  # The docstring of a constant goes with it.
        last_home = home
        blocks.append((home, block))
    rest = "\n".join(lines[begin:])
    places = {name: homes.get(name, old) for name in defined}
    for new in dict.fromkeys(homes.values()):
        own = "\n".join(block for home, block in blocks if home == new)
        target = ROOT / path_of(new)
        foreign = [
            f"from {module} import {name}"
            for name, module in sorted(places.items())
            if module != new and used(name, own)
        ]
        head = imports + foreign
        if target.exists():
            there = target.read_text(encoding="utf-8")
            target.write_text(add(there, head, own), encoding="utf-8")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            doc = HEADS.get(new, "TODO")
            target.write_text(
                f'"""{doc}"""\n\nfrom __future__ import annotations\n\n' + "\n".join(head) + f"\n{own}\n",
                encoding="utf-8",
            )
            subprocess.run(["git", "add", "-N", target], cwd=ROOT, check=True)
    own = "\n".join(block for home, block in blocks if home is None) + "\n" + rest
    foreign = [
        f"from {module} import {name}" for name, module in sorted(places.items()) if module != old and used(name, own)
    ]
    file.write_text(add(own, foreign, ""), encoding="utf-8")
    for module in {old, *homes.values()}:
        set_all(ROOT / path_of(module), defined)
    for other in tracked(".py"):
        if not is_shown(other):
            rewrite_importer(other, old, homes)


def used(name: str, text: str) -> bool:
    """Return whether a text uses a name, strings and docstrings left out."""
    code = ast.parse(text)
    without_all = [node for node in code.body if "__all__" not in names_of(node)]
    for node in (inner for top in without_all for inner in ast.walk(top)):
        if isinstance(node, ast.Name) and node.id == name:
            return True
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(rf"[\w\[\], .|]*\b{name}\b[\w\[\], .|]*", node.value)
        ):
            return True
    return False


def add(text: str, imports: list[str], own: str) -> str:
    """Put imports behind the last import of a module, and code at its end."""
    lines = text.split("\n")
    last = max(
        (node.end_lineno or 0 for node in ast.parse(text).body if isinstance(node, (ast.Import, ast.ImportFrom))),
        default=1,
    )
    lines[last:last] = imports
    return "\n".join(lines).rstrip("\n") + "\n" + (own + "\n" if own else "")


def set_all(file: Path, defined: set[str]) -> None:
    """Let ``__all__`` name what the module defines and other modules may import."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    here = {name for node in tree.body for name in names_of(node)}
    public = sorted(name for name in here if not name.startswith("_") and name != "logger")
    statement = next((node for node in tree.body if "__all__" in names_of(node)), None)
    lines = text.split("\n")
    if statement is None:
        written = f"\n__all__ = {public!r}\n".replace("'", '"')
        last = max(node.end_lineno or 0 for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
        lines[last:last] = written.split("\n")
    else:
        was = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        kept = [name for name in was if name in here] or public
        lines[statement.lineno - 1 : statement.end_lineno] = [f"__all__ = {kept!r}".replace("'", '"')]
    file.write_text("\n".join(lines), encoding="utf-8")


def rewrite_importer(file: Path, old: str, homes: dict[str, str]) -> None:
    """Let a module import each name from its home."""
    text = file.read_text(encoding="utf-8")
    lines = text.split("\n")
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom) and n.module == old]
    for node in sorted(nodes, key=lambda n: -n.lineno):
        if not any(alias.name in homes for alias in node.names):
            continue
        indent = lines[node.lineno - 1][: node.col_offset]
        by_home: dict[str, list[str]] = {}
        for alias in node.names:
            by_home.setdefault(homes.get(alias.name, old), []).append(ast.unparse(alias))
        lines[node.lineno - 1 : node.end_lineno] = [
            f"{indent}from {home} import {', '.join(names)}" for home, names in by_home.items()
        ]
    changed = "\n".join(lines)
    for name, home in homes.items():
        changed = re.sub(rf"(?<![\w.]){re.escape(old)}\.{name}(?!\w)", f"{home}.{name}", changed)
    if changed != text:
        file.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "files":
        move_files()
    else:
        for module in sys.argv[2:]:
            split(module)
