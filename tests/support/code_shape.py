"""Rules about the shape of source files, each a function from one file to what it breaks."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

PROJECT = Path(__file__).resolve().parents[2]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file, parsed; ``path`` is relative to the project."""

    path: str
    text: str
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", ast.parse(self.text, self.path))

    def at(self, node: ast.stmt | ast.expr, finding: str) -> str:
        return f"{self.path}:{node.lineno}: {finding}"


def sources(*folders: str) -> Iterator[Source]:
    """Every Python file in these folders of the project, as far as they exist."""
    for folder in folders:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            name = path.relative_to(PROJECT).as_posix()
            # Hidden folders hold environments, whose code is not ours.
            if "/." not in name:
                yield _read(name)


@cache  # each rule looks at every file, and no test changes one
def _read(name: str) -> Source:
    return Source(name, (PROJECT / name).read_text())


def too_long(source: Source, limit: int) -> Iterator[str]:
    """A file with more than ``limit`` lines."""
    lines = len(source.text.splitlines())
    if lines > limit:
        yield f"{source.path}: {lines} lines"


def long_bodies(source: Source, limit: int) -> Iterator[str]:
    """Functions with more than ``limit`` lines between their docstring and their end."""
    for function in _functions(source.tree):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        if body and (lines := (function.end_lineno or 0) - body[0].lineno + 1) > limit:
            yield source.at(function, f"{function.name} has a body of {lines} lines")


def prints(source: Source) -> Iterator[str]:
    """Calls of ``print``."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield source.at(node, "print")


def imports_in_functions(source: Source, allowed: Collection[str]) -> Iterator[str]:
    """Imports inside functions, unless of the packages that may be imported late."""
    found = {node: None for function in _functions(source.tree) for node in ast.walk(function)}
    for node in found:
        for module in _imported_modules(node):
            if module.partition(".")[0] not in allowed:
                yield source.at(node, f"imports {module} in a function")  # type: ignore[arg-type]


def root_imports(source: Source, allowed: Collection[str]) -> Iterator[str]:
    """Relative imports, and names taken from the package root instead of from their module."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} - set(allowed)
            if node.level > 0 or (node.module == "edda" and names):
                yield source.at(node, f"import {', '.join(sorted(names))} from its module by the full name")


def lacks_future_annotations(source: Source) -> Iterator[str]:
    """A file with code that does not begin with ``from __future__ import annotations``."""
    statements = [node for node in source.tree.body if not _is_docstring(node)]
    if statements and not any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in statements
    ):
        yield source.path


def sleeps(source: Source) -> Iterator[str]:
    """Uses of ``asyncio.sleep`` and ``time.sleep``, except the bare yield ``asyncio.sleep(0)``."""
    yields = {
        node.func
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and [ast.unparse(argument) for argument in node.args] == ["0"]
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"asyncio.sleep", "time.sleep"}:
            if node not in yields:
                yield source.at(node, f"{ast.unparse(node)}")
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module in {"asyncio", "time"}
            and any(alias.name == "sleep" for alias in node.names)
        ):
            yield source.at(node, f"imports sleep from {node.module}")


def untested_modules(exempt: Collection[str]) -> Iterator[str]:
    """Modules of the package without the test file of the same path and name."""
    for path in sorted((PROJECT / "edda").rglob("*.py")):
        module = path.relative_to(PROJECT / "edda")
        test = PROJECT / "tests" / module.parent / f"test_{module.name}"
        if module.name != "__init__.py" and module.as_posix() not in exempt and not test.exists():
            yield f"edda/{module.as_posix()} has no {test.relative_to(PROJECT).as_posix()}"


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _imported_modules(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module):
            return [module or "."]
        case _:
            return []


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
