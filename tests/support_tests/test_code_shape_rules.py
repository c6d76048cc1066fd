from __future__ import annotations

import pytest

from tests.support import code_shape
from tests.support.code_shape import Source


def source(text: str) -> Source:
    return Source("a.py", text)


def test_a_file_over_the_limit_is_found() -> None:
    assert list(code_shape.too_long(source("a = 1\nb = 2\n"), 1)) == ["a.py: 2 lines"]
    assert list(code_shape.too_long(source("a = 1\nb = 2\n"), 2)) == []


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_body_over_the_limit_is_found_and_its_docstring_does_not_count(keyword: str) -> None:
    text = f'{keyword} f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a\n'
    assert list(code_shape.long_bodies(source(text), 1)) == ["a.py:1: f has a body of 2 lines"]
    assert list(code_shape.long_bodies(source(text), 2)) == []


def test_a_print_is_found() -> None:
    assert list(code_shape.prints(source("x = 1\nprint(x)\n"))) == ["a.py:2: print"]


def test_an_import_in_a_function_is_found_unless_its_package_may_come_late() -> None:
    text = "def f():\n    from alembic import command\n    import json.decoder\n"
    assert list(code_shape.imports_in_functions(source(text), {"alembic"})) == [
        "a.py:3: imports json.decoder in a function"
    ]


def test_an_import_in_a_nested_function_is_reported_once() -> None:
    text = "def f():\n    def g():\n        import json\n"
    assert len(list(code_shape.imports_in_functions(source(text), ()))) == 1


@pytest.mark.parametrize("line", ["from edda import workflow", "from . import x", "from .a import b"])
def test_an_import_from_the_root_or_by_a_relative_name_is_found(line: str) -> None:
    assert len(list(code_shape.root_imports(source(line), ("clock",)))) == 1


@pytest.mark.parametrize(
    "line", ["from edda.types import Status", "import edda.types", "from edda import clock"]
)
def test_an_import_by_the_full_name_is_fine(line: str) -> None:
    assert list(code_shape.root_imports(source(line), ("clock",))) == []


def test_a_file_without_postponed_annotations_is_found() -> None:
    assert list(code_shape.lacks_future_annotations(source('"""Doc."""\nimport json\n'))) == ["a.py"]


@pytest.mark.parametrize("text", ["", '"""Doc."""\n', "from __future__ import annotations\nx = 1\n"])
def test_a_file_without_code_needs_no_postponed_annotations(text: str) -> None:
    assert list(code_shape.lacks_future_annotations(source(text))) == []


@pytest.mark.parametrize(
    "line", ["await asyncio.sleep(0.1)", "time.sleep(1)", "from asyncio import sleep", "f(asyncio.sleep)"]
)
def test_a_sleep_is_found(line: str) -> None:
    assert len(list(code_shape.sleeps(source(f"async def f():\n    {line}\n")))) == 1


def test_giving_way_to_other_tasks_is_no_sleep() -> None:
    assert list(code_shape.sleeps(source("async def f():\n    await asyncio.sleep(0)\n"))) == []
