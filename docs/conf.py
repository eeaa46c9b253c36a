"""How Sphinx builds these pages: ``tox -e docs``. Nothing is fetched, to build or to read them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.matching import patfilter
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from meshsync import arguments, messaging
from tools import reference

project = "meshsync"
author = "the authors of meshsync"
copyright = "the authors of meshsync, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]

html_theme = "furo"
html_title = "meshsync"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "colon_fence"]


def _list_the_rest(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in the place of each pattern of the index the pages that match it, and that the index does not name."""
    if page != "index":
        return
    lines: list[str] = []
    named = {page, *source[0].splitlines()}
    for line in source[0].splitlines():
        if re.fullmatch(r"[\w/-]*\*", line):
            found = sorted(set(patfilter(app.env.found_docs, line)) - named)
            named.update(found)
            lines += found
        else:
            lines.append(line)
    source[0] = "\n".join(lines)


COLUMNS = 88
"""How many characters of code a line of a page has place for, as the theme is; docs/ruff.toml has it, too."""


def _mark_what_wraps(app: Sphinx, tree: nodes.document) -> None:
    """Let what a program says be continued in the next line, where it is a sentence, or too wide for a page."""
    for block in tree.findall(nodes.literal_block):
        lines = block.astext().splitlines()
        if block.get("language") in ("text", "json") and (len(lines) == 1 or max(map(len, lines)) > COLUMNS):
            block["classes"].append("wraps")


# --- the reference, from the docstrings -------------------------------------------------------------------------------

# What stands between single backticks in a docstring is a name.
default_role = "py:obj"
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Annotations of overloads are looked up among the names of the module that a method's decorator comes from.
vars(arguments).update({name: value for name, value in vars(messaging).items() if name not in vars(arguments)})

# Members are called so as well, and each `type` of an annotation could be one of them.
suppress_warnings = ["ref.python"]
nitpicky = True
# Names of Python and of libraries, which are documented elsewhere, and type variables.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(abc|blinker|collections|concurrent|contextlib|datetime|enum|hypothesis|logging|os|pathlib|pytest|queue|random|ssl"
        r"|threading|types|typing)\..*",
    ),
    ("py:.*", r"(Axes|DataFrame|NDArray|SearchStrategy|Executor|Path|BrokenBarrierError|threading)"),
    ("py:.*", r".*\b(_?[A-Z]|\w+_co)"),
    # The beginnings of annotations that cannot be evaluated.
    ("py:class", r"(tuple|dict|list|\w*Mapping)\[.*"),
    # What a model is, and what rules are, for type checkers.
    ("py:class", r"meshsync\.typed\.\w+Model|simulator\.stateful\.rules\.(Consumed|Function|Several)"),
    # What the bases of public classes have for other parts of this package.
    (
        "py:class",
        r"meshsync\.runtime\.(holdings\.Holdings|interfaces\.Shield)|simulator\.(engine\.seeds\.Seeds|faults\.plans\._Following"
        r"|network\.network\.Network|record\.files\.RecordFile|room\.seat\.SeatedRoom)",
    ),
]

_SECTIONS = Config(
    napoleon_numpy_docstring=False,
    napoleon_use_ivar=True,
    napoleon_use_rtype=False,
    napoleon_custom_sections=["Source"],
)


def _read_sections(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the sections of a docstring, ``Args`` to ``Example``, into fields.

    Not by napoleon's own handler: of an attribute it takes all before the first colon for a type.
    """
    kind = "function" if what in ("attribute", "data", "property") else what
    text = [re.sub(r"``docs/([\w-]+)\.md``", r":doc:`/\1`", line) for line in lines]
    lines[:] = GoogleDocstring(text, _SECTIONS, app, kind, name).lines()


def _hide_constructor(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Leave out the arguments of a class that no program makes: one of them is of a class that is not public."""
    if what not in ("class", "exception") or signature is None:
        return None
    used = set(re.findall(r"\b(?:meshsync|simulator)\.[\w.]+", signature))
    return None if used <= reference.documented() else ("", None)


def _name_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Name those bases alone that have an entry, or are Python's."""
    own = [base for base in bases if str(getattr(base, "__module__", "")).partition(".")[0] in reference.FACES]
    bases[:] = [base for base in bases if base not in own or _is_documented(base)]
    bases[:] = [base for base in bases if base is not object] or [object]


def _is_documented(value: Any) -> bool:
    return f"{value.__module__}.{getattr(value, '__qualname__', '')}" in reference.documented()


def _find_by_name(app: Sphinx, env: Any, node: pending_xref, content: nodes.TextElement) -> nodes.reference | None:
    """Resolve a name that a docstring gives without its module, or by the module that defines it."""
    if node.get("refdomain") != "py":
        return None
    domain, target = env.get_domain("py"), str(node["reftarget"])
    wanted = target.rpartition(".")[2]
    if target.startswith("simulator.faults.kinds."):  # Of which programs need the functions that make them.
        wanted = "Fault"
    if target == "simulator.record.records.Records":  # A transcript without what draws it.
        wanted = "Transcript"
    owner = target.rpartition(".")[0].rpartition(".")[2]
    for tail in (f".{owner}.{wanted}", *(f".{face}.{wanted}" for face in reference.FACES), f".{wanted}"):
        found = {(one.docname, one.node_id) for full, one in domain.objects.items() if f".{full}".endswith(tail)}
        if len(found) == 1:
            ((page, anchor),) = found
            return make_refnode(app.builder, node["refdoc"], page, anchor, content, target)
    return None


def setup(app: Sphinx) -> None:
    """Write the pages of the reference, and read docstrings as they are written here."""
    reference.write_pages(ROOT / "docs" / "reference")
    app.connect("source-read", _list_the_rest)
    app.connect("doctree-read", _mark_what_wraps)
    app.connect("env-get-outdated", lambda *_: ["index"])  # It may list other pages than before.
    app.connect("autodoc-process-docstring", _read_sections)
    app.connect("autodoc-process-signature", _hide_constructor)
    app.connect("autodoc-process-bases", _name_bases)
    app.connect("missing-reference", _find_by_name)
