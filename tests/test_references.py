from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edda import references
from edda.references import find, reference_of, remember


async def undo() -> None:
    pass


def test_a_function_of_a_module_is_found_without_being_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_remembered", {})
    monkeypatch.setitem(sys.modules, "shop_references", sys.modules[__name__])
    assert find("shop_references:undo") is undo


def test_a_module_that_nobody_has_imported_yet_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_shop.py").write_text("class Flights:\n    def cancel(ctx): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = find("late_shop:Flights.cancel")
    assert found is sys.modules.pop("late_shop").Flights.cancel


def test_a_local_function_is_found_once_it_is_remembered() -> None:
    def local() -> None:
        pass

    assert find(reference_of(local)) is None
    remember(local)
    assert find(reference_of(local)) is local


class Desk:
    def of_one(self) -> None: ...

    @classmethod
    def of_all(cls) -> None: ...


def test_the_method_of_an_object_has_a_name_that_finds_nothing_and_that_of_a_class_is_found() -> None:
    assert find(reference_of(Desk().of_one)) is None
    assert find(reference_of(Desk.of_all)) == Desk.of_all
    assert find(reference_of(Desk.of_one)) is Desk.of_one


@pytest.mark.parametrize(
    "reference", ["nowhere:undo", f"{__name__}:lost", "edda.references:logger", "nonsense"]
)
def test_what_is_not_there_or_no_function_is_not_found(reference: str) -> None:
    assert find(reference) is None


def test_a_module_that_cannot_be_imported_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken_shop.py").write_text("raise RuntimeError('no settings')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find("broken_shop:undo") is None
    assert "Cannot import broken_shop" in caplog.text
    assert "no settings" in caplog.text
