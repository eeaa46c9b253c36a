"""Measure modules, classes and functions, their docstrings not counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.imports import Tree

MODULE, CLASS, FUNCTION = 450, 350, 60
"""The most lines that each may have."""


def check_sizes(tree: Tree) -> list[str]:
    """Return every module, class and function that is too long, one line each; empty if there is none."""
    return [
        f"{path}:{line}: {what} has {lines} lines without docstrings; at most {limit}"
        for path, text in tree.items()
        for line, what, lines, limit in _sizes(path, text)
        if lines > limit
    ]


def _sizes(path: str, text: str) -> Iterator[tuple[int, str, int, int]]:
    """Yield the line, the name, the size and its limit for a module and for everything in it."""
    module = ast.parse(text, path)
    documented = {line for node in ast.walk(module) if _is_docstring(node) for line in _lines(node)}
    yield 1, "the module", len(set(range(1, len(text.splitlines()) + 1)) - documented), MODULE
    for node in ast.walk(module):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            limit = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
            yield node.lineno, node.name, len(set(_lines(node)) - documented), limit


def _is_docstring(node: ast.AST) -> bool:
    """Return whether a statement is a bare text: a docstring, or the text below a name."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _lines(node: ast.AST) -> range:
    assert isinstance(node, ast.stmt)
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
