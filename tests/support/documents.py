"""What documents contain: blocks of code, links, headings."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.workers import PROJECT

DOCUMENTS = [
    *(PROJECT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    PROJECT / "benchmarks/README.md",
    PROJECT / "examples/README.md",
    *sorted(PROJECT.glob("docs/**/*.md")),
]


def blocks(document: Path, language: str, beginning: str = "") -> list[str]:
    """The blocks of code in a language that begin so, in their order."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE
    )
    return [block.strip() for block in found if block.startswith(beginning)]


def local_links(document: Path) -> list[str]:
    """The links to files and headings of the project."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    links: list[str] = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in links if "://" not in link]


def headings(document: Path) -> set[str]:
    """The names under which the headings of a document can be linked."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles: list[str] = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
