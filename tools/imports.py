"""Read the imports of a module, and what its names stand for, from its text; no module is imported or run.

A tree is a mapping of paths, relative to the repository, to source text. So a planted fault is a mapping too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Tree = Mapping[str, str]

OWN = ("meshsync", "simulator")
"""The two packages."""
UNKNOWN = "?"
"""Stands for a module that is named only at run time."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module, or of a name from it."""

    path: str
    line: int
    module: str
    """`UNKNOWN` where the text does not tell."""
    name: str = ""
    """The imported name; empty where the module itself is meant."""


_BY_NAME = {"importlib.import_module", "importlib.__import__", "__import__", "builtins.__import__"} | {
    "importlib.util.find_spec",
    "importlib.util.resolve_name",
    "pkgutil.resolve_name",
    "runpy.run_module",
}
"""Functions that take the name of a module."""
_BY_OTHER_MEANS = {"importlib.util.spec_from_file_location", "importlib.reload", "runpy.run_path"} | {
    f"{prefix}{name}" for prefix in ("", "builtins.") for name in ("exec", "eval")
}
"""Functions that run code which their arguments do not name."""
_BUILTINS = {"__import__", "exec", "eval"}


def read_tree(root: Path) -> dict[str, str]:
    """Return the sources of both packages under a repository's root."""
    files = sorted(file for package in OWN for file in (root / package).rglob("*.py"))
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def module_name(path: str) -> str:
    """Return ``meshsync.protocol.frames`` for its path; a package goes by its own name."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def is_face(path: str) -> bool:
    """Return whether a path is that of a package's ``__init__.py``."""
    return path.endswith("__init__.py")


def read_imports(path: str, tree: ast.AST) -> Iterator[Import]:
    """Yield every import in a module, wherever it stands: in functions, under TYPE_CHECKING, by ``import_module``.

    An importing function that is handed on instead of called is an import of `UNKNOWN`, and so is ``sys.modules``.
    """
    names = Names(path, tree)
    understood: set[ast.AST] = set()
    for node in ast.walk(tree):  # A parent comes before its children.
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = names.origin(node)
            yield from (Import(path, node.lineno, origin, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and (module := names.imported_by(node)):
            understood.update(ast.walk(node.func))
            yield Import(path, node.lineno, module)
            yield from (Import(path, node.lineno, module, name) for name in _names_from(node))
        elif isinstance(node, ast.Subscript) and names.is_modules(node.value):
            understood.add(node.value)
            yield Import(path, node.lineno, _text(node.slice) or UNKNOWN)
        elif isinstance(node, (ast.Name, ast.Attribute)) and node not in understood and names.is_handed_on(node):
            yield Import(path, node.lineno, UNKNOWN)


def read_reached(path: str, tree: ast.AST, modules: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each module of the two packages that a module reaches.

    By an import, or, once its package is imported, by a chain of attributes: ``meshsync.room.RoomClient``. A chain
    through a module that is imported by name is not named again.

    Args:
        modules: The path of each module of the tree, by its name.
    """
    imported = {(found.line, target) for found in read_imports(path, tree) if (target := find_target(found, modules))}
    yield from sorted(imported)
    known = {target for _, target in imported}
    for line, used in read_uses(path, tree):
        target = longest_module(used, modules)
        if target is not None and target not in known:
            known.add(target)
            yield line, target


def read_uses(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted path of each chain of attributes that begins with an imported name."""
    names = Names(path, tree)
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Call)) and node not in inner and (used := names.dotted(node)):
            yield node.lineno, used


def find_target(found: Import, modules: Mapping[str, str]) -> str | None:
    """Return the module of the two packages that an import reaches, None for a foreign one."""
    if found.module.split(".")[0] not in OWN:
        return None
    inner = f"{found.module}.{found.name}"
    return inner if found.name and inner in modules else found.module


def longest_module(dotted: str, modules: Mapping[str, str]) -> str | None:
    """Return the module at the beginning of a dotted path, None if there is none."""
    parts = dotted.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in modules), None)


class Names:
    """The meaning of each name of a module, as a dotted path: ``{"t": "time", "s": "time.sleep"}``.

    Scopes are not told apart; a name that is bound twice may be taken for either.
    """

    def __init__(self, path: str, tree: ast.AST) -> None:
        self._path = path
        self._meanings: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    self._meanings[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and (origin := self.origin(node)):
                for alias in node.names:
                    self._meanings[alias.asname or alias.name] = f"{origin}.{alias.name}"
        bindings = [binding for node in ast.walk(tree) for binding in _bindings(node)]
        for _ in range(3):  # names of names: `o = os`, then `u = o.urandom`
            for name, value in bindings:
                if meant := self.dotted(value):
                    self._meanings.setdefault(name, meant)

    def origin(self, node: ast.ImportFrom) -> str:
        """Return the module that a ``from`` import names, relative ones resolved."""
        return self._resolve("." * node.level + (node.module or ""))

    def dotted(self, node: ast.expr) -> str | None:
        """Return the dotted path that an expression stands for; None where it does not begin with an imported name."""
        if isinstance(node, ast.Name):
            return self._meanings.get(node.id, node.id if node.id in _BUILTINS else None)
        if isinstance(node, ast.NamedExpr):
            return self.dotted(node.value)
        if isinstance(node, ast.Attribute):
            value = self.dotted(node.value)
            return f"{value}.{node.attr}" if value else None
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
                value, name = self.dotted(node.args[0]), _text(node.args[1])
                return f"{value}.{name}" if value and name else None
            module = self.imported_by(node)
            return module if module != UNKNOWN else None
        return self._looked_up(node)

    def _looked_up(self, node: ast.expr) -> str | None:
        """Return the module that ``sys.modules["time"]`` is."""
        return _text(node.slice) if isinstance(node, ast.Subscript) and self.is_modules(node.value) else None

    def is_handed_on(self, node: ast.Name | ast.Attribute) -> bool:
        """Return whether an expression reads a function that imports, or ``sys.modules``."""
        meant = self.dotted(node) if isinstance(node.ctx, ast.Load) else None
        return meant is not None and (_is_one_of(meant, _BY_NAME | _BY_OTHER_MEANS) or self.is_modules(node))

    def is_modules(self, node: ast.expr) -> bool:
        """Return whether an expression is ``sys.modules``."""
        return bool(re.search(r"(^|\.)sys\.modules$", self.dotted(node) or ""))

    def imported_by(self, call: ast.Call) -> str | None:
        """Return the module that a call imports or looks up, `UNKNOWN` where it is not literal; None for other calls.

        A relative name counts from the second argument: a literal text, ``__name__`` or ``__package__``.
        """
        if isinstance(call.func, ast.Attribute) and self.is_modules(call.func.value):
            return (_text(call.args[0]) if call.args else None) or UNKNOWN
        meant = self.dotted(call.func)
        if meant is None or not _is_one_of(meant, _BY_NAME | _BY_OTHER_MEANS):
            return None
        name = _text(_argument(call, 0, "name"))
        if not name or not _is_one_of(meant, _BY_NAME):
            return UNKNOWN
        if meant.endswith("__import__"):
            level = _argument(call, 4, "level")
            if level is None:
                return name
            if not (isinstance(level, ast.Constant) and isinstance(level.value, int)):
                return UNKNOWN
            return self._resolve("." * level.value + name)
        name, package = name.partition(":")[0], _argument(call, 1, "package")
        if not name.startswith(".") or package is None or _is_name(package, "__package__"):
            return self._resolve(name)
        start = module_name(self._path) if _is_name(package, "__name__") else _text(package)
        return self._resolve(name, start) if start else UNKNOWN

    def _resolve(self, name: str, package: str | None = None) -> str:
        """Return the full name of a module whose name may begin with dots, from a package or that of this module."""
        level = len(name) - len(name.lstrip("."))
        if not level:
            return name
        parts = package.split(".") if package else self._path.split("/")[:-1]
        return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name[level:]])])


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield each name that a node binds to an expression: by assignment, annotation, walrus, tuple or default."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _paired(target, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        yield from _paired(node.target, node.value)
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        last = positional[len(positional) - len(node.defaults) :]
        defaults = zip([*last, *node.kwonlyargs], [*node.defaults, *node.kw_defaults], strict=True)
        yield from ((argument.arg, default) for argument, default in defaults if default is not None)


def _paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for one, its_value in zip(target.elts, value.elts, strict=False):
            yield from _paired(one, its_value)


def _is_one_of(dotted: str, functions: set[str]) -> bool:
    """Return whether a dotted path is one of these functions, or is one taken from a module that imported it."""
    return dotted in functions or any("." in name and dotted.endswith(f".{name}") for name in functions)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _names_from(call: ast.Call) -> Iterator[str]:
    """Yield the names in ``__import__("meshsync", fromlist=["room"])``."""
    named = _argument(call, 3, "fromlist")
    if isinstance(named, (ast.List, ast.Tuple)):
        yield from filter(None, map(_text, named.elts))


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
