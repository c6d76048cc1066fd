"""How `make docs` makes the site: plain Markdown by MyST, docstrings by autodoc, the theme furo.

The sources stay Markdown that reads well without being built: what only the site needs, its
navigation and the text of the docstrings, is added here while it is built.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import version as installed
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

from edda import exceptions

project = "edda"
author = "The edda authors"
version = release = installed("edda-durable")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "examples/README.md",
    "docs/**.md",
    "docs/images/**",
    "docs/benchmarks/**",
]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = f"edda {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["edda.css"]
html_extra_path = ["index.html"]  # leads from the root of the site to its first page

myst_heading_anchors = 3  # as on the pages of a code host
myst_enable_extensions = ["fieldlist"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"JSONObject": "JSONObject", "JSONValue": "JSONValue"}
python_maximum_signature_line_length = 100

# Classes of which a user calls only some methods; the others are how the parts of the library speak.
CALLED_BY_USERS = {
    "ReplayEngine": {"cancel_workflow", "resume_by_name", "retry_compensations"},
    "SQLAlchemyStorage": {
        "append_history",
        "get_archived_history",
        "get_dead_letters",
        "get_history",
        "get_instance",
        "get_outbox_events",
        "get_pending_outbox_events",
        "requeue_dead_letter",
        "requeue_outbox_event",
    },
    "StorageProtocol": set[str](),
}

NAVIGATION = {
    "Begin": ["docs/quickstart", "docs/why", "docs/concepts", "docs/guarantees"],
    "How to": ["docs/howto/*", "examples/README"],
    "Run it": ["docs/deployment", "docs/operations", "docs/migration", "SECURITY"],
    "Reference": ["docs/reference/*", "docs/benchmarks", "How it is measured <benchmarks/README>"],
    "The project": ["The README <README>", "CHANGELOG", "CONTRIBUTING", "docs/design/*"],
}


def navigation() -> str:
    """The pages in their order, as the table of contents of the first one."""
    blocks = []
    for caption, pages in NAVIGATION.items():
        there = [_from_the_top(page) for page in pages]
        blocks.append(
            "\n".join(["```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *there, "```"])
        )
    return "\n\n".join(blocks)


def _from_the_top(page: str) -> str:
    """``page`` or ``Title <page>``, as a path from the root of the sources."""
    title, opened, path = page.partition("<")
    return f"{title}</{path}" if opened else f"/{page}"


def docstrings(page: str) -> str:
    """The page with what the docstrings say at the end of each section about a module.

    Each object is shown once, where it is named first, exceptions with the others of their tree;
    `edda.workflow` and two more are modules as well as functions, and shown with their module.
    """
    shown: set[int] = set()

    def fill(section: re.Match[str]) -> str:
        module = importlib.import_module(section[1])
        names = [name for name in public_names(module) if f"{section[1]}.{name}" not in sys.modules]
        new = [name for name in names if id(getattr(module, name)) not in shown]
        if module is not exceptions:
            new = [name for name in new if not hasattr(exceptions, name)]
        shown.update(id(getattr(module, name)) for name in new)
        lines = [f".. automodule:: {section[1]}"]
        lines += [f"   :members: {', '.join(new)}"] if new else []
        lines += ["   :show-inheritance:"] if module is exceptions else []
        return "\n".join([section[0], "```{eval-rst}", *lines, "```", "", ""])

    return re.sub(r"^## `(edda[\w.]*)`$.*?(?=^## |\Z)", fill, page, flags=re.MULTILINE | re.DOTALL)


def public_names(module: ModuleType) -> list[str]:
    """What a module offers; of the exceptions all, also those that only this library raises."""
    if module is not exceptions:
        return list(module.__all__)
    return [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]


def add_what_the_site_needs(_: Sphinx, page: str, source: list[str]) -> None:
    """Complete the text of a page before it is read."""
    if page == root_doc:
        source[0] += "\n\n" + navigation() + "\n"
    if page == "docs/reference/api":
        source[0] = docstrings(source[0])


def leave_out(_: Sphinx, __: str, name: str, value: object, *___: object) -> bool | None:
    """Say that a method is not shown."""
    function = getattr(value, "fget", value)  # of a property
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    return True if name not in CALLED_BY_USERS.get(owner, {name}) else None


def name_aliases(*event: Any) -> tuple[str | None, str | None]:
    """The arguments and the result of a signature, with the names of ``autodoc_type_aliases`` alone."""
    arguments, result = (
        text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in event[-2:]
    )
    return arguments, result


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("source-read", add_what_the_site_needs)
