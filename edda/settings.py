"""The options of an app, checked once and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edda.retry import RetryPolicy
from edda.types import is_number

# A lease is this part of the leader's, so that a dead worker's instances are found and
# taken over within one `leader_lease_duration`.
_LEASE_SHARE = 2 / 3
_DAY = 86_400.0
# A process that is merely slow must not be taken for one that stands still.
_SHORTEST_STALL = 2.0
_LONGEST_STALL = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the constructor of an app was given; raises ``ValueError`` for what cannot work."""

    service_name: str
    db_url: str
    outbox_enabled: bool
    broker_url: str | None
    default_retry_policy: RetryPolicy | None
    message_retention_days: int
    pool_size: int
    max_overflow: int
    pool_timeout: int
    pool_recycle: int
    pool_pre_ping: bool
    use_listen_notify: bool | None
    notify_fallback_interval: int
    max_workflows_per_batch: int | str
    leader_heartbeat_interval: int
    leader_lease_duration: int
    auto_migrate: bool

    def __post_init__(self) -> None:
        _require_text("service_name", self.service_name)
        _require_text("db_url", self.db_url)
        if self.outbox_enabled and self.broker_url is None:
            raise ValueError("broker_url is required when outbox_enabled=True")
        _check_batch(self.max_workflows_per_batch)
        for name in ("leader_lease_duration", "leader_heartbeat_interval", "notify_fallback_interval"):
            _require_positive(name, getattr(self, name), "seconds")
        _require_positive("message_retention_days", self.message_retention_days, "days")

    @property
    def lease_seconds(self) -> float:
        """How long the lease of an instance lasts unless its own lock timeout is shorter."""
        return self.leader_lease_duration * _LEASE_SHARE

    @property
    def stall_seconds(self) -> float:
        """How long a transaction may stand still: others that wait for its locks still renew their leases."""
        return min(max(self.lease_seconds / 3, _SHORTEST_STALL), _LONGEST_STALL)

    @property
    def retention_seconds(self) -> float:
        """How long messages and records of what was accepted or sent are kept."""
        return self.message_retention_days * _DAY

    @staticmethod
    def retention_of_instances(days: float | None) -> float | None:
        """Seconds for which ended instances are kept, None: for ever; ``ValueError`` for what cannot be."""
        if days is None:
            return None
        _require_positive("instance_retention_days", days, "days")
        return days * _DAY

    @property
    def told_poll_interval(self) -> float:
        """Seconds between polls while notifications come in; soon enough for the leases of the dead."""
        return min(self.notify_fallback_interval, self.leader_lease_duration / 3)

    def check_notifications(self) -> None:
        """Reject notifications on a database that has none."""
        scheme = self.db_url.partition(":")[0]
        if self.use_listen_notify and not scheme.startswith("postgres"):
            raise ValueError(
                "use_listen_notify=True requires PostgreSQL database. "
                f"Current database URL starts with: {scheme}"
            )


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text that is not empty, not {value!r}")


def _require_positive(name: str, value: Any, unit: str) -> None:
    if not is_number(value) or not value > 0:
        raise ValueError(f"{name} must be a positive number of {unit}, not {value!r}")


def _check_batch(value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not whole and value not in ("auto", "auto:cpu"):
        raise ValueError(f"Invalid max_workflows_per_batch: {value}. Must be int, 'auto', or 'auto:cpu'.")
