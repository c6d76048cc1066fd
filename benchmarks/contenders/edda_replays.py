"""The replay by edda's public interface, which edda-framework has as well; each brings its own ``edda``."""

# mypy: disable-error-code="import-not-found"
# (replaying is found beside the script.)

from __future__ import annotations

import time

from replaying import Arguments, measure

from edda import EddaApp, WorkflowContext, activity, wait_event, workflow

TOTALS: list[int] = []  # what each run added up before it waited


@activity
async def number(ctx: WorkflowContext, i: int) -> dict[str, int]:  # noqa: ARG001  every activity takes it
    return {"i": i}


async def add_up_and_wait(ctx: WorkflowContext, steps: int) -> None:
    total = 0
    for i in range(steps):
        total += (await number(ctx, i))["i"]
    TOTALS.append(total)
    await wait_event(ctx, "never")


async def replay(app: EddaApp, args: Arguments) -> None:
    """From the call that resumes a waiting workflow until it waits again."""
    await app.initialize()
    long = workflow(add_up_and_wait)
    instance_id = await long.start(steps=args.steps)

    async def once() -> tuple[float, int | None]:
        TOTALS.clear()
        began = time.perf_counter()
        await long.resume(instance_id)
        return time.perf_counter() - began, TOTALS[0] if len(TOTALS) == 1 else None

    await measure(once, args)
