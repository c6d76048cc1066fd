"""The model of the oracle: instances, their steps and their leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edda.codec.json import dumps
from edda.storage.appending import Appended, RowAppended
from edda.storage.leases import takeover_delay
from edda.storage.records import Lease
from edda.storage.upkeep_writes import InstancesPurged
from edda.storage.writes import (
    CancelRequested,
    CancelTold,
    InstanceClaimed,
    InstancesClaimed,
    LeasesRenewed,
    NewInstance,
    NotCancellable,
    NotClaimable,
    NotReopened,
    RollbackBegun,
    RollbackReopened,
    RunFinished,
    RunParked,
    RunRecurred,
    RunReleased,
    StepRecorded,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
    Write,
)
from edda.types import EventType, JSONValue, Status
from tests.proof.oracle_world import HOUR, Instance, World


def half_hours(seconds: float | None) -> int | None:
    """A span without what the machine has taken for the test."""
    return None if seconds is None else round(seconds / (HOUR / 2))


# -- beginning and going on ------------------------------------------------------------------


def create(world: World, write: NewInstance) -> bool:
    if write.instance_id in world.instances:
        return False
    one = Instance(write.instance_id, write.workflow_name, write.input_data, world.now, world.now)
    one.lock_timeout = write.lock_timeout_seconds
    one.chain_id, one.continued_from = write.chain_id, write.continued_from
    one.due = world.now
    if write.lease is not None:
        one.owner, one.token, one.leased_at = write.lease.owner, 1, world.now
        one.due = world.now + write.lease.seconds
        world.given.append(write.lease)
    world.instances[one.instance_id] = one
    world.done["instance"] += 1
    return True


def record(world: World, write: StepRecorded) -> tuple[Any, tuple[Write[Any], ...]]:
    """The answer, and the effects that come with the step."""
    one, answer = world.held(write.lease), Verdict.ACCEPTED
    if one is None:
        answer = world.refusal(write.lease)
        if answer is Verdict.LEASE_LOST:
            return answer, ()
        one = world.instances[write.lease.instance_id]
    if write.ends_wait:
        one.waits.pop(write.activity_id, None)
    row = (write.activity_id, write.event_type.value, write.event_data)
    if (there := one.history.get(write.activity_id)) is not None:
        return (Verdict.ACCEPTED if there == row else ("recorded", *there)), ()
    for inner in write.effects:
        if isinstance(inner, StepRecorded):
            one.history[inner.activity_id] = (inner.activity_id, inner.event_type.value, inner.event_data)
    one.history[write.activity_id] = row
    world.done[f"step: {write.event_type}"] += 1
    effects = tuple(effect for effect in write.effects if not isinstance(effect, StepRecorded))
    world.done["step with effects"] += bool(effects)
    return answer, effects


def append(world: World, write: RowAppended) -> Appended:
    one = world.instances.get(write.instance_id)
    if one is None:
        return Appended.UNKNOWN_INSTANCE
    if write.activity_id in one.history:
        return Appended.RECORDED_ALREADY
    if _is_run(world, one):
        return Appended.LEASED
    one.history[write.activity_id] = (write.activity_id, write.event_type.value, write.event_data)
    world.done["row appended"] += 1
    return Appended.DONE


def register_waits(world: World, write: WaitsRegistered) -> Verdict:
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    world.register(one, write.waits)
    world.done["waits registered"] += 1
    return Verdict.ACCEPTED


def end_waits(world: World, write: WaitsEnded) -> Verdict:
    names = {world.stored_name(channel) for channel in write.channels}
    for name in names:
        world.lock(name)
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    for step in write.activity_ids:
        one.waits.pop(step, None)
    world.shared |= names
    world.done["waits ended"] += 1
    return Verdict.ACCEPTED


# -- parking and ending ------------------------------------------------------------------------


def _free(world: World, one: Instance, status: Status, *, due: float | None) -> None:
    one.status, one.owner, one.leased_at, one.due, one.extra = status, None, None, due, 0.0
    one.attempts, one.error, one.updated = 0, None, world.now


def park(world: World, write: RunParked) -> Any:
    names = [world.stored_name(wait.channel) for wait in write.waits if wait.channel is not None]
    for name in names:
        world.lock(name)
    one = world.held(write.lease)
    if one is not None:
        world.register(one, write.waits)
        dues = [wait.due for wait in one.waits.values() if wait.due is not None]
        _free(world, one, write.status, due=min(dues, default=None))
        one.current = write.current_activity_id
        world.done["park"] += 1
    else:
        one = world.handed_back(write.lease)
        if one is None or not one.is_live:
            return world.refusal(write.lease)
    if any(_may_take(world, one, name) for name in names):
        world.woken.add(one.instance_id)
        world.done["park although a message is there"] += 1
        return ("parked", 0)
    return ("parked", half_hours(None if one.due is None else max(0.0, one.due - world.now)))


def _may_take(world: World, one: Instance, channel: str) -> bool:
    return bool(world.own(channel, one.chain) or world.unread(channel, one.chain))


def _record_last(one: Instance, write: RunFinished | RollbackBegun) -> None:
    if write.activity_id is not None and write.event_type is not None and write.event_data is not None:
        row = (write.activity_id, write.event_type.value, write.event_data)
        one.history.setdefault(write.activity_id, row)


def finish(world: World, write: RunFinished) -> Verdict:
    one = world.held(write.lease)
    if one is not None:
        _record_last(one, write)
        _free(world, one, write.status, due=None)
        one.output, one.waits = write.output_data, {}
        world.done[f"end: {write.status}"] += 1
    else:
        one = world.handed_back(write.lease)
        if one is None or one.status is not write.status:
            return world.refusal(write.lease)
    if write.subscriber is not None:
        world.shared |= world.competing(one.chain)
        for key in [key for key in world.subscriptions if key[0] == one.chain]:
            del world.subscriptions[key]
    return Verdict.ACCEPTED


def recur(world: World, write: RunRecurred) -> Verdict:
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    one.current = next(reversed(one.history), None)
    _free(world, one, Status.RECURRED, due=None)
    one.output, one.waits = write.output_data, {}
    one.archive, one.history = list(one.history.values()), {}
    create(world, write.new)
    world.done["recur"] += 1
    return Verdict.ACCEPTED


def release(world: World, write: RunReleased) -> Verdict:
    one = world.held(write.lease)
    if one is not None:
        attempts = one.attempts + 1 if write.last_error is not None else 0
        _free(world, one, one.status, due=world.now + write.delay)
        one.attempts, one.error = attempts, write.last_error
        world.done["release" if write.last_error is None else "release after a failure"] += 1
    else:
        one = world.handed_back(write.lease)
        if one is None or not one.is_live:
            return world.refusal(write.lease)
    if write.subscriber is not None and write.last_error is not None:
        world.shared |= world.competing(one.chain)
    return Verdict.ACCEPTED


def begin_rollback(world: World, write: RollbackBegun) -> Verdict:
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    _record_last(one, write)
    one.status, one.output, one.waits, one.updated = Status.COMPENSATING, write.output_data, {}, world.now
    if write.subscriber is not None:
        world.shared |= world.competing(one.chain)
    world.done["rollback begun"] += 1
    return Verdict.ACCEPTED


# -- leases ------------------------------------------------------------------------------------


def renew(world: World, write: LeasesRenewed) -> dict[str, Verdict]:
    refused = {}
    for lease in write.leases:
        one = world.held(lease)
        if one is None:
            refused[lease.instance_id] = world.refusal(lease)
            continue
        assert one.leased_at is not None
        assert one.due is not None
        lasts, until = one.leased_at <= world.now - lease.seconds, world.now + lease.seconds
        if lasts:
            one.attempts = 0
        if lasts or one.due <= until:
            one.extra = 0.0 if lasts else max(0.0, one.due + one.extra - until)
            one.due = until
        world.done["renewal"] += 1
    return refused


def _lease(world: World, one: Instance, owner: str, seconds: float, *, cancelled: bool = False) -> Any:
    if one.owner is not None:
        one.attempts += 1
        world.done["lease taken from a worker that died"] += 1
    if one.lock_timeout is not None:
        seconds = min(seconds, one.lock_timeout)
    if one.status is not Status.COMPENSATING:
        one.status = Status.RUNNING
    one.owner, one.token, one.leased_at, one.updated = owner, one.token + 1, world.now, world.now
    one.due, one.extra = world.now + seconds, takeover_delay(one.attempts)
    lease = Lease(one.instance_id, owner, one.token, seconds)
    world.given.append(lease)
    return (
        "claimed",
        lease,
        one.workflow_name,
        one.status,
        one.attempts,
        one.chain_id,
        cancelled or one.cancel_token is not None,
    )


def claim_due(world: World, write: InstancesClaimed, taken: Any) -> Any:
    """Whoever was due earlier comes first; of those due at the same moment the database chooses."""
    due = {
        one.instance_id: one
        for one in world.instances.values()
        if world.is_due(one) and one.workflow_name in write.workflow_names
    }
    chosen = [claimed.lease.instance_id for claimed in taken]
    assert set(chosen) <= due.keys(), f"claimed, and not due: {set(chosen) - due.keys()}"
    assert len(chosen) == min(write.limit, len(due)), f"{len(chosen)} claimed of {sorted(due)}"
    last = max((due[each].due or 0.0 for each in chosen), default=0.0)
    passed = [each for each in due.keys() - set(chosen) if (due[each].due or 0.0) + due[each].extra < last]
    assert not passed, f"due longer and passed over: {passed}"
    world.done["claim of what is due"] += bool(chosen)
    return tuple(_lease(world, due[each], write.owner, write.lease_seconds) for each in sorted(chosen))


def claim_particular(world: World, write: InstanceClaimed) -> Any:
    one = world.instances.get(write.instance_id)
    if one is None:
        return NotClaimable.UNKNOWN
    if not one.is_live:
        return NotClaimable.TERMINAL
    outrun = write.expected_token is not None and write.expected_token != one.token
    if outrun or _is_run(world, one):
        return NotClaimable.LEASED
    world.done["claim of one instance"] += 1
    return _lease(world, one, write.owner, write.lease_seconds)


def _is_run(world: World, one: Instance) -> bool:
    return one.owner is not None and not world.is_due(one)


def request_cancel(world: World, write: CancelRequested) -> Any:
    one = world.instances.get(write.instance_id)
    if one is None or not one.is_live or one.status is Status.COMPENSATING:
        return NotCancellable.NOT_LIVE
    is_new = one.cancel_token is None
    if is_new and any(kind == EventType.PIVOT_PASSED for _, kind, _ in one.history.values()):
        world.done["cancel refused behind a pivot"] += 1
        return NotCancellable.PAST_PIVOT
    data: dict[str, JSONValue] = {
        "cancelled_by": write.cancelled_by,
        "cancelled_at": write.cancelled_at.isoformat(),
        "previous_status": one.status,
    }
    answer: Any
    if _is_run(world, one):
        assert one.owner is not None
        answer = CancelTold(one.owner, one.token if one.cancel_token is None else one.cancel_token)
        if is_new:
            one.cancel_token, one.token, one.updated = one.token, one.token + 1, world.now
            world.given.append(Lease(one.instance_id, one.owner, one.token, HOUR / 2))
        world.done["cancel told to a run"] += is_new
    else:
        answer = _lease(world, one, write.owner, write.lease_seconds, cancelled=True)
        if is_new:
            one.cancel_token = 0
        world.done["cancel of what nobody runs"] += is_new
    if is_new:
        row = ("workflow_cancelled", EventType.WORKFLOW_CANCELLED.value, dumps(data))
        one.history.setdefault("workflow_cancelled", row)
    return answer


def reopen_rollback(world: World, write: RollbackReopened) -> Any:
    one = world.instances.get(write.instance_id)
    if one is None:
        return NotReopened.UNKNOWN
    if one.is_live:
        return NotReopened.LIVE
    failed = [step for step, kind, _ in one.history.values() if kind == EventType.COMPENSATION_FAILED]
    if one.status not in (Status.FAILED, Status.CANCELLED) or not failed:
        return NotReopened.NOTHING_FAILED
    for step in failed:
        del one.history[step]
    one.status = Status.COMPENSATING
    world.done["rollback reopened"] += 1
    return _lease(world, one, write.owner, write.lease_seconds)


# -- retention -----------------------------------------------------------------------------------


def purge(world: World, write: InstancesPurged) -> Any:
    old = [
        one.instance_id
        for one in world.instances.values()
        if not one.is_live and one.updated < world.now - write.older_than
    ]
    for instance_id in old:
        del world.instances[instance_id]
    world.done["retention of instances"] += bool(old)
    return ("swept", len(old))


HANDLERS: dict[type[Write[Any]], Callable[[World, Any], Any]] = {
    NewInstance: create,
    WaitsRegistered: register_waits,
    WaitsEnded: end_waits,
    RowAppended: append,
    RollbackBegun: begin_rollback,
    RunParked: park,
    RunFinished: finish,
    RunRecurred: recur,
    RunReleased: release,
    LeasesRenewed: renew,
    CancelRequested: request_cancel,
    RollbackReopened: reopen_rollback,
    InstanceClaimed: claim_particular,
    InstancesPurged: purge,
}
