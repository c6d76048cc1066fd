"""The decorator and the registry."""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import Any

import pytest

from edda import WorkflowContext, workflow
from edda.app import EddaApp
from edda.workflow import (
    StartIds,
    Workflow,
    _is_another_definition,
    deriving_start_ids,
    find_workflow,
    get_all_workflows,
    next_start_id,
)
from tests.support.apps import instance


@workflow
async def at_module_level(ctx: WorkflowContext, name: str = "Ada") -> str:
    """Greet."""
    return f"hello {name}"


def at_module_level_too() -> None: ...


async def test_a_workflow_keeps_name_docstring_and_function() -> None:
    assert isinstance(at_module_level, Workflow)
    assert (at_module_level.name, at_module_level.__doc__) == ("at_module_level", "Greet.")
    assert (at_module_level.event_handler, at_module_level.lock_timeout_seconds) == (False, None)
    assert inspect.unwrap(at_module_level) is at_module_level.func


async def test_awaiting_a_call_runs_the_plain_function() -> None:
    ctx: Any = None
    assert await at_module_level(ctx, "Bob") == "hello Bob"


def test_options_are_kept() -> None:
    @workflow(event_handler=True, lock_timeout_seconds=60)
    async def with_options(ctx: WorkflowContext) -> None: ...

    assert (with_options.event_handler, with_options.lock_timeout_seconds) == (True, 60)


def test_anything_but_an_async_function_is_refused() -> None:
    def plain(ctx: WorkflowContext) -> None: ...

    with pytest.raises(TypeError, match=r"^Workflow plain must be an async function$"):
        workflow(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be an async function"):
        workflow(event_handler=True)(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "60", True])
async def test_a_lock_timeout_is_a_positive_number(seconds: Any) -> None:
    async def flow(ctx: WorkflowContext) -> None: ...

    with pytest.raises(ValueError, match="lock_timeout_seconds"):
        workflow(lock_timeout_seconds=seconds)(flow)
    with pytest.raises(ValueError, match="lock_timeout_seconds"):
        await at_module_level.start(lock_timeout_seconds=seconds)


def test_another_function_of_the_same_name_is_refused() -> None:
    async def impostor(ctx: WorkflowContext) -> None: ...

    impostor.__name__ = impostor.__qualname__ = "at_module_level"
    impostor.__module__ = "somewhere.else"
    with pytest.raises(ValueError) as caught:
        workflow(impostor)
    assert str(caught.value) == f"Workflow 'at_module_level' is already defined as {__name__}.at_module_level"
    known = find_workflow("at_module_level")
    assert known is not None
    assert known.func is at_module_level.func


def test_the_same_function_again_replaces_the_definition() -> None:
    assert not _is_another_definition(at_module_level.func, at_module_level.func)
    again = workflow(at_module_level.func)
    assert find_workflow("at_module_level") is again


def test_functions_inside_functions_replace_each_other() -> None:
    def make() -> Any:
        @workflow
        async def inner(ctx: WorkflowContext) -> None: ...

        return inner

    first, second = make(), make()
    assert first is not second
    assert find_workflow("inner") is second


def test_the_registry_is_handed_out_as_a_copy() -> None:
    everything = get_all_workflows()
    everything.clear()
    assert "at_module_level" in get_all_workflows()


def test_the_hash_is_that_of_the_source_text() -> None:
    assert "hello" in at_module_level.source_code
    digest = hashlib.sha256(at_module_level.source_code.encode()).hexdigest()
    assert at_module_level.source_hash == digest


def test_a_function_without_source_has_its_name_instead() -> None:
    names: dict[str, Any] = {"WorkflowContext": WorkflowContext, "__name__": "typed_in"}
    exec("async def typed(ctx): ...", names)  # noqa: S102 - as in a shell
    assert Workflow(names["typed"]).source_code == "typed_in.typed"


async def test_the_definition_is_stored_with_the_instance(app: EddaApp) -> None:
    row = await instance(app, await at_module_level.start())
    assert row["source_code"] == at_module_level.source_code
    assert row["source_hash"] == at_module_level.source_hash


def test_start_ids_follow_from_the_cause_and_the_count() -> None:
    first, again, other = StartIds("event", "handler"), StartIds("event", "handler"), StartIds("event", "x")
    assert [first.next("w"), first.next("w")] == [again.next("w"), again.next("w")]
    assert StartIds("event", "handler").next("w") != other.next("w")


def test_start_ids_are_prescribed_in_the_block_only() -> None:
    with deriving_start_ids("event"):
        assert next_start_id("w") == StartIds("event").next("w")
    assert next_start_id("w") is None


def test_a_partial_is_no_function() -> None:
    with pytest.raises(TypeError, match="must be an async function"):
        workflow(functools.partial(at_module_level_too))  # type: ignore[arg-type]
