"""An app for tests that is otherwise like the user's."""

from __future__ import annotations

from typing import Any

from edda import EddaApp, RetryPolicy
from edda.storage.writes import DefinitionRegistered
from edda.testing.twin import TwinApp


class Hooks:
    """An observer."""


def original() -> EddaApp:
    policy = RetryPolicy(max_attempts=2)
    app = EddaApp(
        "shop",
        "sqlite:///never.db",
        outbox_enabled=True,
        broker_url="http://broker.invalid/",
        hooks=Hooks(),
        default_retry_policy=policy,
        message_retention_days=3,
    )
    app.strict_replay = True
    return app


def test_it_has_the_handlers_hooks_and_settings_of_the_original_but_neither_database_nor_broker() -> None:
    app = original()

    @app.on_event("order.created")
    async def handle(event: Any) -> None: ...

    twin = TwinApp(app)
    assert twin.event_handlers == {"order.created": [handle]}
    assert twin.hooks is app.hooks
    assert twin.strict_replay
    assert (twin.service_name, twin.settings.message_retention_days) == ("shop", 3)
    assert twin.default_retry_policy is app.default_retry_policy
    assert twin.db_url == "sqlite:///:memory:"
    assert not twin.outbox_enabled


def test_options_come_before_the_settings_of_the_original() -> None:
    assert TwinApp(original(), message_retention_days=5).settings.message_retention_days == 5


async def test_its_writes_are_counted() -> None:
    async with TwinApp(None) as twin:
        before = twin.storage.submitted
        await twin.storage.submit(DefinitionRegistered("w", "0" * 64, "text"))
        assert twin.storage.submitted > before
        assert twin.storage.answered <= twin.storage.submitted
