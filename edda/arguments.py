"""Whether an activity is called with the arguments that are recorded for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from edda.codec.binding import FunctionCodec
from edda.codec.json import dumps
from edda.codec.plain import NotPlainError, snapshot
from edda.exceptions import NonDeterminismError
from edda.run import Run
from edda.steps import place_in_user_code
from edda.types import JSONValue

logger = logging.getLogger(__name__)

_SHOWN = 200


def check_arguments(
    run: Run,
    step_id: str,
    *,
    recorded: JSONValue,
    codec: FunctionCodec,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> None:
    """Log a warning if the arguments differ from the recorded ones; stop the run in strict mode.

    The order of keys never counts. The order of lists counts in plain JSON only: in
    models and collections they may come from sets, whose order is one of chance.
    """
    try:
        attempted = codec.dump_call(args, kwargs).json
    except TypeError as error:
        attempted = f"arguments that cannot be stored: {error}"
    if attempted == recorded:
        return
    ordered = _is_plain(args, kwargs)
    if _canonical(attempted, ordered=ordered) != _canonical(recorded, ordered=ordered):
        _report(run, step_id, recorded, attempted)


def _is_plain(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    try:
        snapshot([*args, *kwargs.values()])
    except NotPlainError:
        return False
    return True


def _canonical(value: JSONValue, *, ordered: bool) -> str:
    """A text that is the same for values that count as the same, also for NaN."""
    if isinstance(value, dict):
        items = sorted((dumps(key), _canonical(item, ordered=ordered)) for key, item in value.items())
        return "{" + ",".join(f"{key}:{item}" for key, item in items) + "}"
    if isinstance(value, list):
        texts = [_canonical(item, ordered=ordered) for item in value]
        return "[" + ",".join(texts if ordered else sorted(texts)) + "]"
    return dumps(value)


def _report(run: Run, step_id: str, recorded: JSONValue, attempted: JSONValue) -> None:
    problem = (
        f"step {step_id!r} of instance {run.instance_id} is recorded with the arguments {_shown(recorded)}, "
        f"but the code attempts it with {_shown(attempted)} at {place_in_user_code()}"
    )
    if not run.services.strict_replay:
        logger.warning(
            "Workflow %r: %s; the recorded outcome is returned",
            run.workflow_name,
            problem,
            extra={"instance_id": run.instance_id, "activity_id": step_id},
        )
        return
    run.stop(
        NonDeterminismError(
            f"Workflow {run.workflow_name!r} does not match its history: {problem}. "
            "The instance is set aside, not failed; it goes on when the matching code is deployed."
        )
    )
    raise run.signal()


def _shown(value: JSONValue) -> str:
    text = dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
