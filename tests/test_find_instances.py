"""Finding instances through the app."""

from __future__ import annotations

import pytest

from edda import WorkflowContext, workflow
from edda.app import EddaApp
from tests.support.apps import Apps


@workflow
async def found_order(ctx: WorkflowContext, order_id: str, amount: float) -> str:
    return order_id


async def test_instances_are_found_by_what_they_were_started_with(app: EddaApp) -> None:
    ids = [await found_order.start(order_id=f"ORD-{number}", amount=number) for number in range(3)]
    page = await app.find_instances(input_filters={"order_id": "ORD-1"}, status="completed")
    assert page["has_more"] is False
    assert page["next_page_token"] is None
    (shown,) = page["instances"]
    assert shown == await app.storage.get_instance(ids[1])
    assert shown["output_data"] == {"result": "ORD-1"}
    first = await app.find_instances(limit=2, workflow_name="ORD")
    rest = await app.find_instances(limit=2, workflow_name="ORD", page_token=first["next_page_token"])
    assert [each["instance_id"] for each in [*first["instances"], *rest["instances"]]] == ids[::-1]


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_nothing_is_found_before_the_app_is_initialised(apps: Apps) -> None:
    with pytest.raises(RuntimeError, match="not initialized"):
        await apps.make().find_instances()
