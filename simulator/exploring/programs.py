"""The name of a program, and finding it again in another process: ``module:name`` or ``FILE:name``.

A program is a callable that takes a `Simulation`. One that has a name can be run elsewhere; a lambda, a function inside
another, or a function of a notebook has none. Running it is not this module's business.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from meshsync.errors import UsageError
from meshsync.reasons import describe_error
from meshsync.signals import check_callable

__all__ = ["afresh", "check_program", "find", "load", "reference"]


def reference(program: Callable[..., object]) -> str | None:
    """Return the name by which a Python that starts in this directory finds a program, or None if it cannot.

    ``module:name`` if the module lies in this directory or is installed, else ``FILE:name``.
    """
    module = sys.modules.get(getattr(program, "__module__", None) or "")
    name = getattr(program, "__qualname__", "<none>")
    if module is None or "<" in name or _member(module, name) is not program:
        return None
    given = getattr(module, "__file__", None)
    if given is None or not os.path.isfile(given):
        return None
    file = Path(given).resolve()
    tail = Path(*module.__name__.split("."))
    for inner in (tail.with_suffix(".py"), tail / "__init__.py"):
        if module.__name__ != "__main__" and file.parts[-len(inner.parts) :] == inner.parts:
            root = Path(*file.parts[: -len(inner.parts)])
            if root in (Path.cwd(), *(Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib"))):
                return f"{module.__name__}:{name}"
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return f"{file}:{name}"


def check_program(program: object, *, takes_simulation: bool = True) -> None:
    """Check that calling a program runs it.

    Args:
        takes_simulation: Whether it has to take the Simulation.
    Raises:
        UsageError: If it cannot be called, does not take what it has to, or is a coroutine or generator function: of
            one nothing would run, and every seed would pass.
    """
    try:
        check_callable(program, "the Simulation", "a program", count=1 if takes_simulation else None)
    except TypeError as error:
        raise UsageError(str(error)) from None


def load(text: str) -> Callable[..., object]:
    """Return the program that ``module:name`` or ``FILE:name`` means, importing its module.

    A file is imported as ``python FILE`` would find its neighbours, and not as ``__main__``.

    Raises:
        UsageError: If there is no such program; the text names the missing part.
    """
    program = find(text)
    if not callable(program):
        raise UsageError(f"{text} is no program, which is a callable, but {type(program).__name__}")
    check_program(program)
    return program  # type: ignore[no-any-return]


def find(text: str) -> Any:
    """Return what ``module:name`` or ``FILE:name`` means, importing its module.

    Raises:
        UsageError: If there is no such thing; the text names the missing part.
    """
    place, _, name = text.rpartition(":")
    if not place or name.endswith(".py"):  # the colon of a drive
        place, name = text, ""
    is_file = place.endswith(".py") or os.sep in place
    module = _load_file(Path(place)) if is_file else _load_module(place)
    found = _member(module, name) if name else None
    if found is None:
        raise UsageError(_missing(module, place, name))
    return found


@contextmanager
def afresh(directory: Path) -> Iterator[None]:
    """Forget at the end what was imported meanwhile from a directory: the next run of a program begins anew."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name not in before]:
            file = getattr(sys.modules[name], "__file__", None)
            if isinstance(file, str) and Path(file).resolve().is_relative_to(directory.resolve()):
                del sys.modules[name]


def _member(module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def _missing(module: ModuleType, place: str, name: str) -> str:
    own = [
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
    ]
    there = f"it defines {', '.join(own)}" if own else "it defines no function"
    if not name:
        return f"which program of {place}? Give it as {place}:NAME; {there}"
    close = get_close_matches(name, own, 1)
    return f"{place} has no {name!r}" + (f"; is {close[0]!r} meant?" if close else f"; {there}")


def _load_module(name: str) -> ModuleType:
    try:
        # The documented way from such a name to the module, which is the user's and none of ours.
        module: ModuleType = pkgutil.resolve_name(f"{name}:")
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        hint = "; a program in a file is FILE.py:NAME" if "." not in name else ""
        raise UsageError(f"no module is named {name!r}, seen from {Path.cwd()}{hint}") from None
    except (ValueError, AttributeError):
        raise UsageError(f"{name!r} is no name of a module: give MODULE:NAME or FILE.py:NAME") from None
    except Exception as error:
        raise _failed(name, error) from error
    return module


def _load_file(path: Path) -> ModuleType:
    file = path.resolve()
    if not file.is_file():
        raise UsageError(f"there is no file {path}, seen from {Path.cwd()}")
    for module in list(sys.modules.values()):
        known = getattr(module, "__file__", None)
        if isinstance(known, str) and known.endswith(".py") and os.path.realpath(known) == str(file):
            return module
    root, names = file.parent, [file.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    name = ".".join(names)
    if name in sys.modules:
        name = f"{name} of {root.name}"  # its neighbour's name must not be taken away
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise _failed(str(path), error) from error
        raise
    return module


def _failed(what: str, error: Exception) -> UsageError:
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
    return UsageError(f"{what} cannot be imported: {describe_error(error)} ({where})")
