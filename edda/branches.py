"""Parts of a body with ids of their own: branches of a race, and transaction blocks.

How far a loser gets before it is cancelled depends on timing, and what happened in a
block is gone if the process dies before its commit. Their steps are therefore numbered
under them, so that they cannot shift the ids of what is recorded beside or after them.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from edda.journal import StepIds
from edda.run import Run
from edda.scope import activity_scope
from edda.variables import Setting


class Branch:
    """One branch of a race, or one block, as the code in it and its child tasks see it.

    ``lost`` says that a recorded race went to another branch: steps of this one that are
    not recorded wait, since they were cancelled in the run that recorded the race.
    """

    def __init__(self, run: Run, prefix: str, *, lost: bool = False) -> None:
        self.run = run
        self.prefix = prefix
        self.ids = StepIds(self.prefix, run.journal.called)
        self.activity = activity_scope(run)
        self.parent = current_branch(run)
        self._lost: set[asyncio.Future[None]] | None = set() if lost else None
        self._holds = lost

    def end_hold(self) -> None:
        """Steps that are called from now on are performed: the branch cleans up."""
        self._holds = False

    def empty_hold(self) -> None:
        """Steps that still wait belong to tasks that outlive the branch: they go on."""
        for turn in self._lost or ():
            if not turn.done():
                turn.set_result(None)

    async def pass_hold(self) -> None:
        """Return when a step that is not recorded may be performed."""
        branch: Branch | None = self
        while branch is not None:
            if branch._holds and branch._lost is not None:  # noqa: SLF001 - of the same class
                await branch._wait_in(branch._lost)  # noqa: SLF001
            branch = branch.parent

    async def _wait_in(self, room: set[asyncio.Future[None]]) -> None:
        turn = asyncio.get_running_loop().create_future()
        held = self.run.tasks.held
        room.add(turn)
        held.add(turn)
        try:
            await turn
        finally:
            room.discard(turn)
            held.discard(turn)

    def current(self) -> Setting[Branch | None]:
        """Tasks made in this block belong to the branch."""
        return Setting(_current, self)


_current: ContextVar[Branch | None] = ContextVar("edda_branch", default=None)


def current_branch(run: Run) -> Branch | None:
    """The branch or block of this run in which the caller is, if it is in one."""
    branch = _current.get()
    return branch if branch is not None and branch.run is run else None


def ids_here(run: Run) -> StepIds:
    """Where the caller numbers its steps: under its activity, its branch, or the body."""
    scope, branch = activity_scope(run), current_branch(run)
    if branch is not None and branch.activity is scope:
        return branch.ids
    return run.journal if scope is None else scope.ids
