"""The public interface: what can be imported from where, and how it is called.

The API page is transcribed here. What the library has beyond it stands in ``BEYOND``, and only there.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import edda
from tests.support.workers import PROJECT

# The names of the API page, by the module that it documents them in.
NAMES = {
    "edda": (
        "EddaApp workflow activity WorkflowContext"
        " ChannelMessage subscribe unsubscribe receive publish send_to"
        " ReceivedEvent wait_event send_event EventTimeoutError"
        " sleep sleep_until wait_timer wait_until"
        " compensation register_compensation on_failure"
        " OutboxRelayer send_event_transactional WorkflowHooks HooksBase"
        " RetryPolicy RetryExhaustedError TerminalError create_wsgi_app"
    ),
    "edda.app": "EddaApp",
    "edda.workflow": "workflow Workflow RecurException get_all_workflows set_replay_engine",
    "edda.activity": "activity Activity",
    "edda.context": "WorkflowContext",
    "edda.channels": (
        "ChannelMessage ReceivedEvent EventTimeoutError ChannelModeConflictError"
        " subscribe unsubscribe receive publish send_to"
        " sleep sleep_until wait_timer wait_until wait_event send_event"
    ),
    "edda.compensation": (
        "CompensationAction compensation on_failure register_compensation"
        " execute_compensations clear_compensations"
    ),
    "edda.exceptions": (
        "EddaError TerminalError RetryExhaustedError WorkflowCancelledException EventTimeoutError"
        " ChannelModeConflictError LockNotAcquiredError LockLostError NonDeterminismError StorageError"
        " WorkflowSignal WorkflowSuspended RecurException"
    ),
    "edda.retry": (
        "RetryPolicy RetryMetadata DEFAULT_RETRY_POLICY AGGRESSIVE_RETRY CONSERVATIVE_RETRY INFINITE_RETRY"
    ),
    "edda.hooks": "WorkflowHooks HooksBase",
    "edda.outbox": "OutboxRelayer send_event_transactional",
    "edda.outbox.relayer": "OutboxRelayer",
    "edda.outbox.transactional": "send_event_transactional",
    "edda.wsgi": "create_wsgi_app",
    "edda.replay": "ReplayEngine",
    "edda.storage": "StorageProtocol SQLAlchemyStorage",
    "edda.storage.protocol": "StorageProtocol",
    "edda.storage.sqlalchemy_storage": "SQLAlchemyStorage",
}

# What the library offers beyond the API page.
BEYOND = {
    "edda": "RaceResult bearer_token gather hmac_signature pivot race",
    "edda.compensation": "pivot",
    "edda.outbox": "Postponed Published Publisher Refused",
    "edda.wsgi": "WSGIApplication",
}

ON_ACTIVITY = "self, instance_id, activity_id, activity_name"

SIGNATURES = {
    "edda.app:EddaApp": (
        "service_name, db_url, outbox_enabled=False, broker_url=None, hooks=None, default_retry_policy=None,"
        " message_retention_days=7, pool_size=5, max_overflow=10, pool_timeout=30, pool_recycle=3600,"
        " pool_pre_ping=True, use_listen_notify=None, notify_fallback_interval=30,"
        " max_workflows_per_batch=10, leader_heartbeat_interval=15, leader_lease_duration=45"
    ),
    "edda.app:EddaApp.__call__": "self, scope, receive, send",
    "edda.app:EddaApp.find_instances": (
        "self, *, input_filters=None, status=None, workflow_name=None, instance_id=None, started_after=None,"
        " started_before=None, limit=50, page_token=None"
    ),
    "edda.app:EddaApp.handle_cloudevent": "self, event, wait=False",
    "edda.app:EddaApp.initialize": "self",
    "edda.app:EddaApp.on_event": "self, event_type, proto_type=None",
    "edda.app:EddaApp.shutdown": "self",
    "edda.workflow:RecurException": "kwargs",
    "edda.workflow:Workflow": "func, event_handler=False, lock_timeout_seconds=None",
    "edda.workflow:Workflow.resume": "self, instance_id, event=None",
    "edda.workflow:Workflow.start": "self, lock_timeout_seconds=None, **kwargs",
    "edda.workflow:get_all_workflows": "",
    "edda.workflow:set_replay_engine": "engine",
    "edda.workflow:workflow": "func=None, *, event_handler=False, lock_timeout_seconds=None",
    "edda.activity:Activity": "func, retry_policy=None",
    "edda.activity:Activity.__call__": "self, ctx, *args, **kwargs",
    "edda.activity:activity": "func=None, *, retry_policy=None",
    "edda.context:WorkflowContext": (
        "instance_id, workflow_name, storage, worker_id, is_replaying=False, hooks=None"
    ),
    "edda.context:WorkflowContext.in_transaction": "self",
    "edda.context:WorkflowContext.register_post_commit": "self, callback",
    "edda.context:WorkflowContext.transaction": "self",
    "edda.channels:sleep": "ctx, seconds, timer_id=None",
    "edda.channels:sleep_until": "ctx, target_time, timer_id=None",
    "edda.channels:wait_event": "ctx, event_type, timeout_seconds=None, model=None, event_id=None",
    "edda.channels:send_event": (
        "event_type, source, data,"
        " broker_url='http://broker-ingress.knative-eventing.svc.cluster.local', datacontenttype=None"
    ),
    "edda.channels:subscribe": "ctx, channel, mode='broadcast'",
    "edda.channels:unsubscribe": "ctx, channel",
    "edda.channels:receive": "ctx, channel, timeout_seconds=None, message_id=None",
    "edda.channels:publish": (
        "ctx_or_storage, channel, data, metadata=None, *, target_instance_id=None, worker_id=None"
    ),
    "edda.channels:send_to": "ctx, instance_id, data, channel='__direct__', metadata=None",
    "edda.channels:ChannelMessage": "id, channel, data, metadata=<factory>, published_at=<factory>",
    "edda.channels:ReceivedEvent": (
        "data, type, source, id, time=None, datacontenttype=None, subject=None, extensions=<factory>"
    ),
    "edda.compensation:CompensationAction.execute": "self",
    "edda.compensation:clear_compensations": "ctx",
    "edda.compensation:compensation": "func",
    "edda.compensation:execute_compensations": "ctx",
    "edda.compensation:on_failure": "compensation_func",
    "edda.compensation:register_compensation": "ctx, compensation_func, *args, activity_id=None, **kwargs",
    "edda.outbox:OutboxRelayer": (
        "storage, broker_url, poll_interval=1.0, max_retries=3, batch_size=10, max_age_hours=None,"
        " wake_event=None"
    ),
    "edda.outbox:OutboxRelayer.start": "self",
    "edda.outbox:OutboxRelayer.stop": "self",
    "edda.outbox:send_event_transactional": (
        "ctx, event_type, event_source, event_data, content_type='application/json'"
    ),
    "edda.retry:RetryPolicy": (
        "initial_interval=1.0, backoff_coefficient=2.0, max_interval=60.0, max_attempts=5,"
        " max_duration=300.0, retryable_error_types=(<class 'Exception'>,), non_retryable_error_types=()"
    ),
    "edda.retry:RetryPolicy.calculate_delay": "self, attempt",
    "edda.retry:RetryPolicy.is_retryable": "self, error",
    "edda.retry:RetryMetadata": (
        "total_attempts=0, total_duration_ms=0, exhausted=False, errors=<factory>, last_error=None"
    ),
    "edda.retry:RetryMetadata.add_attempt": "self, attempt, error",
    "edda.retry:RetryMetadata.to_dict": "self",
    "edda.wsgi:create_wsgi_app": "edda_app",
    "edda.replay:ReplayEngine.cancel_workflow": "self, instance_id, cancelled_by='user'",
    "edda.replay:ReplayEngine.resume_by_name": "self, instance_id, workflow_name",
    "edda.hooks:WorkflowHooks.on_workflow_start": "self, instance_id, workflow_name, input_data",
    "edda.hooks:WorkflowHooks.on_workflow_complete": "self, instance_id, workflow_name, result",
    "edda.hooks:WorkflowHooks.on_workflow_failed": "self, instance_id, workflow_name, error",
    "edda.hooks:WorkflowHooks.on_workflow_cancelled": "self, instance_id, workflow_name",
    "edda.hooks:WorkflowHooks.on_activity_start": f"{ON_ACTIVITY}, is_replaying",
    "edda.hooks:WorkflowHooks.on_activity_complete": f"{ON_ACTIVITY}, result, cache_hit",
    "edda.hooks:WorkflowHooks.on_activity_failed": f"{ON_ACTIVITY}, error",
    "edda.hooks:WorkflowHooks.on_activity_retry": f"{ON_ACTIVITY}, error, attempt, delay",
    "edda.hooks:WorkflowHooks.on_event_sent": "self, event_type, event_source, event_data",
    "edda.hooks:WorkflowHooks.on_event_received": "self, instance_id, event_type, event_data",
}


def _found(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _without_annotations(function: Any) -> inspect.Signature:
    signature = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)


@pytest.mark.parametrize("module", NAMES)
def test_a_module_offers_the_names_of_the_api_page_and_what_is_said_to_be_beyond(module: str) -> None:
    promised = set(NAMES[module].split()) | set(BEYOND.get(module, "").split())
    imported = importlib.import_module(module)
    assert set(imported.__all__) == promised
    assert [name for name in promised if not hasattr(imported, name)] == []


@pytest.mark.parametrize("path", SIGNATURES)
def test_it_is_called_as_the_api_page_says(path: str) -> None:
    """What is added behind the parameters of the page is by keyword only, and may be left out."""
    promised = [part for part in SIGNATURES[path].split(", ") if part not in ("", "*")]
    parameters = list(_without_annotations(_found(path)).parameters.values())
    assert [str(one) for one in parameters[: len(promised)]] == promised
    for added in parameters[len(promised) :]:
        assert added.kind is inspect.Parameter.KEYWORD_ONLY
        assert added.default is not inspect.Parameter.empty


@pytest.mark.parametrize("path", [path for path in SIGNATURES if ", *, " in SIGNATURES[path]])
def test_what_the_api_page_takes_by_keyword_only_is_so_here(path: str) -> None:
    names = SIGNATURES[path].partition("*, ")[2].split(", ")
    parameters = inspect.signature(_found(path)).parameters
    kinds = {parameters[name.partition("=")[0]].kind for name in names}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_recur_takes_keyword_arguments_only() -> None:
    assert str(_without_annotations(edda.WorkflowContext.recur)) == "(self, /, **kwargs)"


def test_there_are_29_names_and_two_of_them_are_second_names() -> None:
    assert len(NAMES["edda"].split()) == 29
    assert edda.wait_timer is edda.sleep
    assert edda.wait_until is edda.sleep_until


@pytest.mark.parametrize("name", ["workflow", "activity", "compensation"])
def test_a_name_is_a_function_of_the_package_and_a_module_of_its_own(name: str) -> None:
    """`from edda import workflow` is the function, `from edda.workflow import ...` reaches the module."""
    module = sys.modules[f"edda.{name}"]
    assert isinstance(module, ModuleType)
    assert getattr(edda, name) is getattr(module, name)


def test_the_version_is_that_of_the_distribution() -> None:
    assert f'\nversion = "{edda.__version__}"\n' in (PROJECT / "pyproject.toml").read_text()


def test_nothing_hides_the_package_alembic() -> None:
    assert not (PROJECT / "alembic" / "__init__.py").exists()


QUIET = """
import asyncio, importlib, logging, sys, threading

def state():
    logs = logging.root.level, list(logging.root.handlers)
    return logs, asyncio.get_event_loop_policy(), threading.active_count()

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
assert state() == before, (state(), before)
"""


def test_importing_changes_nothing_and_says_nothing() -> None:
    """No logging, no event-loop policy, no thread, no line of output."""
    command = [sys.executable, "-W", "error", "-c", QUIET, *NAMES]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    assert (outcome.stdout, outcome.stderr) == ("", "")
