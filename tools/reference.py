"""Write the pages of the reference that Sphinx fills from the docstrings, and those that docstrings cannot give.

    python -m tools.reference [DIRECTORY]

Which name stands on which page is the table `SUBJECTS`. A public name in none of its rows stands on the page "Further
names", so that none is missing. Events are those of ``meshsync.signals``, commands and options those that click knows,
variables those of `VARIABLES`. ``docs/conf.py`` calls this at each build; the pages are not kept.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import click

from meshsync.messages import RoomMessageEvent
from meshsync.signals import EVENTS

__all__ = [
    "SUBJECTS",
    "VARIABLES",
    "Subject",
    "bodies",
    "commands",
    "documented",
    "missing",
    "pages",
    "pytest_plugin",
    "write_pages",
]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Subject:
    """A page of the reference."""

    title: str
    names: dict[str, str]
    """By module the names that stand on the page, between spaces and in their order; ``*`` for all of the module."""
    text: str = ""
    """What the page begins with, as reStructuredText."""


def _tree(module: str) -> str:
    """Return the tree of errors from a module's docstring, with no more than two blanks before all meanings."""
    text = inspect.getdoc(importlib.import_module(module)) or ""
    tree = re.split(r"\n(?=\S)", text.partition("::\n")[2].rstrip())[0]
    blanks = min(len(gap) for gap in re.findall(r"(?<=\w)  +", tree))
    return "::\n" + re.sub(rf"(?<=\w) {{{blanks}}}", "  ", tree)


SUBJECTS = {
    "rooms": Subject(
        "Rooms", {"meshsync": "connect RoomClient ClientStats", "meshsync.connection.states": "ClientState"}
    ),
    "messaging": Subject(
        "Messages",
        {"meshsync": "MessagingClient Answers Delivery Subscription Registration RoomMessage RoomMessageEvent"},
    ),
    "participants": Subject(
        "Participants and tokens",
        {
            "meshsync": "RemoteParticipant LocalParticipant ParticipantToken Grant ApiKey",
            "meshsync.tokens": "MessagingRights",
        },
    ),
    "streams": Subject(
        "Streams and files",
        {
            "meshsync": """
                MessageStreamChunk MessageStreamWriter MessageStreamReader StreamWriter StreamReader StreamSubscription
                SentFile ReceivedFile
            """,
            "meshsync.reasons": "safe_text",
        },
    ),
    "filters": Subject(
        "Filters",
        {
            **{
                f"meshsync.{name}": "*" for name in ("negotiation", "filters", "compression", "encryption", "buffering")
            },
            "meshsync.filters.wrapping": "WrappedReader WrappedWriter",
        },
    ),
    "waiting": Subject(
        "Waiting, in every world",
        {"meshsync": "sleep monotonic wall_time spawn condition Lock RLock Semaphore Event Barrier Queue"},
    ),
    "errors": Subject("Errors of the client", {"meshsync": "MeshsyncError", "meshsync.errors": "*"}),
    "interfaces": Subject(
        "Interfaces to the outside",
        {
            "meshsync.runtime.interfaces": "Runtime Condition Permits Task TaskExit",
            "meshsync.transport.interfaces": "Connector Endpoint Transport TransportStats",
            "meshsync.world": "World",
        },
        "What ``connect(runtime=…, connector=…)`` takes, for programs that bring a clock or a network of their own.",
    ),
    "simulation": Subject(
        "Simulations",
        {
            "simulator": "Simulation current",
            "simulator.simulation": "SimulatedRoom",
            "simulator.lives.programs": "Crashed",
            "simulator.engine.schedules": "Schedule Deviation Late TIMER",
            "simulator.engine.lateness": "Lateness",
        },
    ),
    "latency": Subject("Laws of latency", {"simulator.latency": "*", "simulator.latency.laws": "Clock"}),
    "faults": Subject("Faults", {"simulator.faults": "*", "simulator.faults.kinds.pushes": "MALFORMATIONS"}),
    "scripted-participants": Subject("Scripted participants", {"simulator.participants": "*"}),
    "records": Subject(
        "Records",
        {
            "simulator": "Transcript diff replay_room",
            "simulator.record.record": "Record KINDS Packet",
            "simulator.record.redaction": "Redaction",
            "simulator.record.comparing": "Difference RouteDifference Route",
            "simulator.replaying.replay": "Replayed",
        },
    ),
    "searches": Subject(
        "Searches",
        {
            "simulator": "check explore replay why",
            "simulator.exploring.checking": "Checked RunsDiffer",
            "simulator.exploring.exploration": "Failure Replay",
            "simulator.exploring.runs": "Program Case Run Symptom",
            "simulator.exploring.network_options": "NetworkOptions",
            "simulator.exploring.search": "Plan",
            "simulator.exploring.crews": "Workers",
            "simulator.exploring.delays": "Delay",
            "simulator.exploring.origin": "Origin",
            "simulator.exploring.moments": "Event Point",
            "simulator.exploring.estimates": "Estimate",
        },
    ),
    "stateful": Subject("Stateful tests", {"simulator.stateful": "*"}),
    "histories": Subject("Histories", {"simulator": "History linearizable", "simulator.histories": "*"}),
    "emulator": Subject("The emulator", {"simulator": "Emulator calibrate", "simulator.emulator": "*"}),
    "simulation-errors": Subject("Errors of the simulator", {"simulator.errors": "*"}),
}
"""The pages by the names of their files, in the order in which the index lists them."""

_FOREIGN = "int, str, tuple, dict, object, Enum, Protocol, Generic, ABC, NamedTuple"
"""Bases whose members are Python's."""

FACES = ("meshsync", "simulator")
"""Modules of which every name is public."""

VARIABLES = {
    "MESHAGENT_ROOM": "The room's name, where a call or a command names none.",
    "MESHAGENT_TOKEN": "A participant token.",
    "MESHAGENT_API_KEY": "A key ``ma-…``, with which a token is made, if there is none.",
    "MESHAGENT_SECRET": "The secret of a key, with the next two; used if there is neither a token nor a combined key.",
    "MESHAGENT_PROJECT_ID": "The project that a token made with the secret is for.",
    "MESHAGENT_KEY_ID": "The id of the key whose secret that is.",
    "MESHAGENT_ROOM_URL": "The address of the service or of a room, with ``/rooms/`` in it. It beats the next one.",
    "MESHAGENT_API_URL": "The address of the service (``http``, ``https``, ``ws`` or ``wss``); else the hosted one.",
    "MESHAGENT_EXTRA_CA_FILE": "A file of certificates to trust besides the system's.",
    "MESHAGENT_PROFILE_API_URL": "Read by official SDKs alone; the emulator's commands unset it: it leads elsewhere.",
    "MESHSYNC_EMULATOR": (
        'The one emulator that ``url="emulator"`` finds, as JSON. ``python -m simulator exec`` and the fixture '
        "``emulator`` set it for what they run."
    ),
    "https_proxy, http_proxy, all_proxy, no_proxy": "An HTTP proxy, and who is reached without it, as with curl.",
    "XDG_RUNTIME_DIR, XDG_CACHE_HOME": "Where a running emulator leaves its note; see :doc:`/finding`.",
    "XDG_STATE_HOME": "Where ``meshsync chat`` keeps its history; ``~/.local/state`` by default.",
}
"""Every variable of the environment that the packages read, with its use."""


# --- names ------------------------------------------------------------------------------------------------------------


def public_names(module: str) -> list[str]:
    """Return the names that a module offers."""
    return list(importlib.import_module(module).__all__)


def _placed(subjects: Iterable[Subject]) -> Iterator[tuple[str, str, object]]:
    """Yield each name of some pages once: its module, itself and what it stands for."""
    seen: list[object] = []
    for subject in subjects:
        for module, names in subject.names.items():
            for name in [one for word in names.split() for one in (public_names(module) if word == "*" else [word])]:
                value = getattr(importlib.import_module(module), name)
                if not any(value is other for other in seen):
                    if inspect.isclass(value) or inspect.isroutine(value):
                        seen.append(value)
                    yield module, name, value


@cache
def documented() -> frozenset[str]:
    """Return every name that has an entry, by the module it is taken from and by the one that defines it."""
    names = set()
    for module, name, value in _placed(SUBJECTS.values()):
        names |= {f"{module}.{name}", f"{getattr(value, '__module__', module)}.{name}"}
    return frozenset(names)


def missing(subjects: Iterable[Subject]) -> list[tuple[str, str]]:
    """Return module and name of what the faces offer and no page has; a module has to be on one with all it has."""
    given = list(subjects)
    placed = list(_placed(given))
    names = {(module, name) for module, name, _ in placed}
    lacking = []
    for face in FACES:
        for name in public_names(face):
            value = getattr(importlib.import_module(face), name)
            is_placed = (face, name) in names or any(value is other for _, _, other in placed)
            if isinstance(value, ModuleType):  # Of signals the page on events has all.
                is_placed = name == "signals" or any("*" in one.names.get(value.__name__, "") for one in given)
            if not is_placed:
                lacking.append((face, name))
    return lacking


def _entry(module: str, name: str, value: object) -> str:
    """Return the directive that documents a name; what belongs to a face stands under the face's name."""
    for face in FACES:
        if name in public_names(face) and getattr(importlib.import_module(face), name) is value:
            module = face
    if inspect.isclass(value):
        if issubclass(value, BaseException):
            return f".. autoexception:: {module}.{name}\n   :members:\n   :show-inheritance:\n"
        members = f"   :members:\n   :undoc-members:\n   :inherited-members: {_FOREIGN}\n"
        has_base = any(f"{base.__module__}.{base.__qualname__}" in documented() for base in value.__bases__)
        return f".. autoclass:: {module}.{name}\n{members}" + ("   :show-inheritance:\n" if has_base else "")
    if inspect.isroutine(value):
        return f".. autofunction:: {module}.{name}\n"
    shown = repr(value)
    lines = [
        f".. py:data:: {module}.{name}",
        *([f"   :value: {shown}"] if len(shown) < 80 and " at 0x" not in shown else []),
    ]
    return "\n".join([*lines, "", f"   {_text_of_data(module, name)}", ""])


def _text_of_data(module: str, name: str) -> str:
    """Return the text below a variable in the module that defines it, from which others have it."""
    found = importlib.import_module(module)
    assert found.__file__ is not None
    tree = ast.parse(Path(found.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(name in (one.name, one.asname) for one in node.names):
            return _text_of_data(str(node.module), name)
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            return inspect.cleandoc(following.value.value).replace("\n", "\n   ") if is_text else ""
    return ""


def _title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def _table(widths: str, *rows: Iterable[str]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in rows:
        lines += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
    return [*lines, ""]


def _name_pages() -> Iterator[tuple[str, str]]:
    subjects = dict(SUBJECTS)
    if lacking := missing(SUBJECTS.values()):
        names = {face: " ".join(name for module, name in lacking if module == face) for face in FACES}
        subjects["further-names"] = Subject("Further names", names)
    by_title: list[object] = []
    for file, subject in subjects.items():
        lines = [*_title(subject.title), subject.text, ""]
        if "errors" in file:
            lines += _errors(next(module for module in reversed(subject.names)))
        for module, name, value in _placed([subject]):
            if not any(value is other for other in by_title):
                lines.append(_entry(module, name, value))
            if inspect.isclass(value) or inspect.isroutine(value):
                by_title.append(value)
        yield file, "\n".join(lines)


def _errors(module: str) -> list[str]:
    """Return the tree of a module's errors, and a table of what each leaves."""
    rows = [("error", "the same call may succeed later", "the connection is still there")]
    for name in public_names(module):
        kind = getattr(importlib.import_module(module), name)
        if issubclass(kind, Exception):
            rows.append((f"`{name}`", *("yes" if flag else "no" for flag in (kind.retryable, kind.connection_alive))))
    note = (
        "The table has what holds for the class; one error may differ, as `SendTimeout` does where nothing was sent. A "
        "client that makes lost connections anew goes on in any case, unless it was closed: ``room.state`` tells."
    )
    note = note if module == "meshsync.errors" else ""
    return [_tree(module), "", *_table("40 30 30", *rows), note, ""]


# --- events -----------------------------------------------------------------------------------------------------------


def bodies() -> dict[str, str]:
    """Return by event what it holds: the list in the docstring of `RoomMessageEvent`."""
    text = inspect.getdoc(RoomMessageEvent) or ""
    found = {}
    for names, body in re.findall(r"^- ((?:``\w+``(?:, )?)+): (.*(?:\n  .*)*)", text, re.MULTILINE):
        for name in re.findall(r"\w+", names):
            found[name] = re.sub(r"\s+", " ", body)
    return found


def _events() -> Iterator[tuple[str, str]]:
    lines = _title("Events")
    lines += [
        "``room.messaging.on(event, receiver)`` calls a receiver at each event of one client, with a "
        "`RoomMessageEvent`; ``meshsync.signals.<event>.connect(receiver)`` calls ``receiver(sender, event=…)`` at "
        "each of all clients of the process, with the `MessagingClient`. Below: the event, when it comes, and its "
        "``event.message.type`` and ``event.message.message``, with what else it has.",
        "",
    ]
    held = bodies()
    for name, signal in EVENTS.items():
        lines += [
            f".. py:data:: meshsync.signals.{name}",
            "",
            f"   {inspect.getdoc(signal)}",
            "",
            f"   {held[name]}",
            "",
        ]
    yield "events", "\n".join(lines)


# --- commands and variables -------------------------------------------------------------------------------------------


def commands(program: str) -> dict[str, click.Command]:
    """Return the commands of ``meshsync`` or of ``python -m simulator`` by how they are called."""
    module = importlib.import_module("meshsync.cli.main" if program == "meshsync" else "simulator.cli.main")
    group = module.main if program == "meshsync" else module._commands
    return dict(_walk(group, program))


def _walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _walk(found, f"{name} {inner}")


def _plain(text: str) -> str:
    """Return a text of click's as reStructuredText that shows it."""
    return re.sub(r"([*`|\\]|_\b)", r"\\\1", re.sub(r"\s+", " ", text.strip()))


def _help(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith("\b"):
            yield "::\n\n" + "\n".join(f"   {line}" for line in paragraph.splitlines()[1:])
        else:
            yield _plain(paragraph)


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield from _title(name, "-")
    yield f".. program:: {name}\n"
    yield f"``{name} {' '.join(command.collect_usage_pieces(context))}``\n"
    for part in _help(command.help or ""):
        yield f"{part}\n"
    for option in command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            yield f".. option:: {re.sub(r'  +', ' ', record[0])}\n\n   {_plain(record[1])}\n"


def _command_pages() -> Iterator[tuple[str, str]]:
    for program, file in (("meshsync", "commands"), ("python -m simulator", "simulator-commands")):
        lines = _title(f"The command {program}")
        for name, command in commands(program).items():
            lines += _command(name, command)
        yield file, "\n".join(lines)


def pytest_plugin() -> str:
    """Return the name of the module that pytest loads, as the distribution announces it."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings["options.entry_points"]["pytest11"].partition("=")[2].strip()


class _Options:
    """Notes the options that a plugin of pytest adds."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def getgroup(self, *names: str) -> _Options:
        return self

    def addoption(self, *names: str, metavar: str = "", help: str = "", **options: object) -> None:
        self.found.append((" ".join([", ".join(names), metavar]).strip(), help))

    def addini(self, name: str, help: str = "", **options: object) -> None:
        self.found.append((f"{name} (in the settings)", help))


def _quoted(text: str) -> str:
    """Return a docstring's text with names as code: those of fixtures lead nowhere."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)


def _pytest_page() -> Iterator[tuple[str, str]]:
    plugin, options = importlib.import_module(pytest_plugin()), _Options()
    lines = _title("In pytest")
    lines += ["pytest finds all of this where the package is installed.", "", *_title("Fixtures", "-")]
    for name, value in vars(plugin).items():
        if type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "__pytest_wrapped__"):
            text = _quoted(inspect.getdoc(value) or "").replace("\n", "\n   ")
            lines += [f".. py:data:: {name}", "   :no-index:", "", f"   {text}", ""] if name in plugin.__all__ else []
    usage, _, text = plugin.MARKER.partition(": ")
    lines += [*_title("The marker", "-"), f"``@pytest.mark.{usage}``", "", f"   {_quoted(text)}", ""]
    lines += _title("Options", "-")
    plugin.pytest_addoption(options)
    lines += [f"``{option}``\n   {_plain(text)}\n" for option, text in options.found]
    yield "pytest", "\n".join(lines)


def _variables() -> Iterator[tuple[str, str]]:
    lines = _title("Variables of the environment")
    lines += ["An argument or an option beats a variable, and a token beats a key.", ""]
    lines += _table("35 65", ("variable", "use"), *((f"``{name}``", use) for name, use in VARIABLES.items()))
    yield "variables", "\n".join(lines)


# --- pages ------------------------------------------------------------------------------------------------------------


def pages() -> dict[str, str]:
    """Return every page by the name of its file, in the order in which the index lists them."""
    return {
        **dict(_name_pages()),
        **dict(_events()),
        **dict(_command_pages()),
        **dict(_pytest_page()),
        **dict(_variables()),
    }


def write_pages(directory: Path) -> None:
    """Write the pages, those alone that have changed, so that Sphinx reads no others again."""
    directory.mkdir(exist_ok=True)
    wanted = {f"{name}.rst": text for name, text in pages().items()}
    for old in directory.glob("*.rst"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        file = directory / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference")
