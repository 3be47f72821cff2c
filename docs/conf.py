"""Sphinx configuration. Nothing is fetched: the site builds offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import condrule

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "condrule"
author = "condrule contributors"
project_copyright = "2026, condrule contributors"
release = version = condrule.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "explanation/*-table*.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "index"
default_role = "py:obj"
nitpicky = True
# Names of other packages, whose inventories would have to be downloaded, and type variables.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(abc|argparse|attrs?|click|collections|contextlib|datetime|enum|matplotlib|np|numpy|pandas"
        r"|pathlib|pd|torch|types|typing)(\..*)?",
    ),
    (
        "py:.*",
        r"(Any|Axes|Method|Callable|DataFrame|Iterable|Iterator|Literal|Mapping|NDArray|Path|Self|Sequence"
        r"|ValueError|RuntimeError|ImportError|Exception|None|bool|bytes|dict|float|float64|int|intp"
        r"|list|object|set|str|tuple)",
    ),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 90

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "condrule"
html_show_sphinx = False


def _plain_attribute(app: Any, what: str, name: str, value: Any, options: Any, lines: Any) -> None:
    """Keep napoleon from reading "None: all" at the start of an attribute's docstring as a type."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> None:
    """Go before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _plain_attribute, priority=400)
