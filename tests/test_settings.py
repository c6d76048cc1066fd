"""The options of an app are checked before anything is opened."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edda.app import EddaApp
from edda.settings import Settings


def settings(**options: Any) -> Settings:
    return EddaApp("orders", "sqlite:///:memory:", **options).settings


@pytest.mark.parametrize("value", [0, -1, True, "fast", 1.5, None])
def test_a_batch_that_is_no_whole_number_from_1_and_no_mode_is_refused(value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        settings(max_workflows_per_batch=value)
    assert str(caught.value) == (
        f"Invalid max_workflows_per_batch: {value}. Must be int, 'auto', or 'auto:cpu'."
    )


@pytest.mark.parametrize("value", [1, 37, "auto", "auto:cpu"])
def test_a_batch_is_a_number_or_a_mode(value: Any) -> None:
    assert settings(max_workflows_per_batch=value).max_workflows_per_batch == value


def test_an_outbox_needs_a_broker() -> None:
    with pytest.raises(ValueError, match=r"^broker_url is required when outbox_enabled=True$"):
        settings(outbox_enabled=True)
    assert settings(outbox_enabled=True, broker_url="http://broker/").broker_url == "http://broker/"


@pytest.mark.parametrize(
    "arguments", [("", "sqlite:///x"), ("orders", ""), (None, "sqlite:///x"), ("orders", None)]
)
def test_service_name_and_url_are_texts(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="must be a text that is not empty"):
        EddaApp(*arguments)


@pytest.mark.parametrize(
    "name", ["leader_lease_duration", "leader_heartbeat_interval", "notify_fallback_interval"]
)
@pytest.mark.parametrize("value", [0, -1, "1", True, None])
def test_durations_are_positive_numbers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a positive number of seconds"):
        settings(**{name: value})


@pytest.mark.parametrize("url", ["nosuch:///x", "mssql://h/d", "not a url"])
def test_an_unknown_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        EddaApp("orders", url)


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql://h/d", "mysql+aiomysql://h/d"])
def test_notifications_need_postgresql(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(settings(use_listen_notify=True), db_url=url).check_notifications()
    assert str(caught.value) == (
        "use_listen_notify=True requires PostgreSQL database. "
        f"Current database URL starts with: {url.partition(':')[0]}"
    )


def test_notifications_on_postgresql_are_fine() -> None:
    for url in ("postgresql://h/d", "postgres://h/d", "postgresql+asyncpg://h/d"):
        dataclasses.replace(settings(use_listen_notify=True), db_url=url).check_notifications()


def test_a_lease_is_two_thirds_of_that_of_the_leader() -> None:
    assert settings().lease_seconds == 30
    assert settings(leader_lease_duration=3).lease_seconds == 2


def test_a_transaction_may_stand_still_for_a_third_of_a_lease_within_bounds() -> None:
    durations = (3, 12, 45, 3600)
    assert [settings(leader_lease_duration=each).stall_seconds for each in durations] == [2, 8 / 3, 10, 10]


def test_who_is_told_looks_in_time_for_the_leases_of_dead_workers() -> None:
    assert settings().told_poll_interval == 15
    assert settings(leader_lease_duration=3).told_poll_interval == 1
    assert settings(notify_fallback_interval=5).told_poll_interval == 5


@pytest.mark.parametrize("value", [0, -1, "7", True, None])
def test_a_retention_is_a_positive_number_of_days(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^message_retention_days must be a positive number of days"):
        settings(message_retention_days=value)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().service_name = "other"  # type: ignore[misc]
