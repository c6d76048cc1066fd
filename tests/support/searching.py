"""Searches with the criteria that a test names."""

from __future__ import annotations

from typing import Any

from edda.searching import Search

ANYTHING: dict[str, Any] = {
    "input_filters": None,
    "status": None,
    "workflow_name": None,
    "instance_id": None,
    "started_after": None,
    "started_before": None,
    "limit": 50,
    "page_token": None,
}


def search(**criteria: Any) -> Search:
    """A search for instances of these criteria and any others."""
    return Search.of(**(ANYTHING | criteria))
