"""Classes by name: which are found, and what is never done to find one."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from edda.codec import classes
from edda.codec.classes import class_name, find_class
from tests.support.kinds import Color, Item, Page


class Outer:
    class Inner:
        pass


@pytest.mark.parametrize(
    "cls", [Item, Outer.Inner, Color, ValueError, subprocess.CalledProcessError, Page[Item]]
)
def test_a_class_is_found_by_its_name(cls: type) -> None:
    assert find_class(class_name(cls)) is cls


def test_names_are_module_and_qualified_name() -> None:
    assert class_name(Item) == "tests.support.kinds:Item"
    assert class_name(Outer.Inner).endswith("test_classes:Outer.Inner")


def test_a_generic_model_is_named_with_its_parameters() -> None:
    assert class_name(Page[Item]) == "tests.support.kinds:Page[tests.support.kinds:Item]"
    nested = class_name(Page[Page[int]])
    assert nested == "tests.support.kinds:Page[tests.support.kinds:Page[builtins:int]]"
    assert find_class(nested) is Page[Page[int]]


def test_a_local_class_is_found_by_this_process_only(caplog: pytest.LogCaptureFixture) -> None:
    class Local(BaseModel):
        pass

    with caplog.at_level(logging.WARNING):
        name = class_name(Local)
        class_name(Local)

    assert name.endswith("<locals>.Local")
    assert find_class(name) is Local
    assert caplog.messages == [f"{name} cannot be imported by name: only this process can restore it"]
    assert classes._import_class(name) is None


def test_a_generic_model_of_something_without_a_name_is_local() -> None:
    assert find_class(class_name(Page[list[int]])) is Page[list[int]]


def test_only_so_many_local_classes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_LOCAL_LIMIT", 2)
    monkeypatch.setattr(classes, "_local", {})

    made = [type(f"Made{index}", (), {"__qualname__": f"f.<locals>.Made{index}"}) for index in range(3)]
    names = [class_name(cls) for cls in made]

    assert [find_class(name) for name in names] == [None, made[1], made[2]]


UNKNOWN = [
    "",
    ":",
    "builtins",
    "builtins:",
    "builtins:nope",
    "builtins:print",
    "builtins:int.real",
    "no_such_module:X",
    "tests.support.kinds:Item.nope",
    "tests.support.kinds:Item.model_fields",
    "tests.support.kinds:Item[builtins:int]",
    "tests.support.kinds:Page[]",
    "tests.support.kinds:Page[builtins:object]",
    "tests.support.kinds:Page[builtins:int,builtins:int]",
    "tests.support.nope:X",
    "tests.support.kinds.nope:X",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_no_class(name: str) -> None:
    assert find_class(name) is None


def test_modules_that_the_application_does_not_use_are_never_imported() -> None:
    for name in ("antigravity:X", "unittest.__main__:X", "wsgiref.handlers:BaseHandler", "pip.__main__:X"):
        sys.modules.pop(name.partition(":")[0], None)
        assert find_class(name) is None
        assert name.partition(":")[0] not in sys.modules


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A loaded package with modules that are not loaded."""
    (tmp_path / "shop_for_names").mkdir()
    folder = tmp_path / "shop_for_names"
    (folder / "__init__.py").touch()
    (folder / "models.py").write_text("class Basket: pass\n")
    (folder / "broken.py").write_text("raise RuntimeError\n")
    (folder / "leaving.py").write_text("raise SystemExit\n")
    module = ModuleType("shop_for_names")
    module.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, "shop_for_names", module)
    monkeypatch.delitem(sys.modules, "shop_for_names.models", raising=False)
    return "shop_for_names"


def test_a_module_beside_the_loaded_ones_is_imported(package: str) -> None:
    found: Any = find_class(f"{package}.models:Basket")

    assert found.__name__ == "Basket"
    sys.modules.pop(f"{package}.models")


@pytest.mark.parametrize("module", ["broken", "leaving", "models..x", "mod els", "__main__"])
def test_a_module_that_cannot_be_loaded_has_no_classes(package: str, module: str) -> None:
    assert find_class(f"{package}.{module}:X") is None


def test_no_code_of_a_module_runs_to_find_a_name() -> None:
    module = ModuleType("lazy_for_names")
    module.__getattr__ = lambda name: Item  # type: ignore[method-assign]
    sys.modules["lazy_for_names"] = module
    try:
        assert find_class("lazy_for_names:Item") is None
    finally:
        del sys.modules["lazy_for_names"]
