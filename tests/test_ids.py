"""Identifiers and randomness."""

from __future__ import annotations

import os
import re

from edda import ids


def test_instance_ids_name_the_workflow_and_are_all_different() -> None:
    made = {ids.new_instance_id("order_saga") for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"order_saga-[0-9a-f]{32}", each) for each in made)


def test_ids_of_a_later_time_sort_after_earlier_ones() -> None:
    earlier = ids.new_instance_id("w")
    while (later := ids.new_instance_id("w"))[:14] == earlier[:14]:
        pass
    assert later > earlier


def test_derived_ids_follow_from_their_parts() -> None:
    made = ids.derived_instance_id("w", "a", "b")
    assert re.fullmatch(r"w-[0-9a-f]{32}", made)
    assert made == ids.derived_instance_id("w", "a", "b")


def test_parts_do_not_run_into_each_other() -> None:
    parts = [("a", "b"), ("ab",), ("a", "b", ""), ("", "ab"), ("1:a", "b"), ("é",)]
    assert len({ids.derived_key(*each) for each in parts}) == len(parts)


def test_worker_ids_name_service_and_process_and_are_all_different() -> None:
    one, two = ids.new_worker_id("shop"), ids.new_worker_id("shop")
    assert re.fullmatch(rf"shop-{os.getpid()}-[0-9a-f]{{8}}", one)
    assert one != two


def test_keys_are_64_hex_digits_and_fractions_below_1() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", ids.new_key())
    assert all(0 <= ids.fraction() < 1 for _ in range(1000))


def test_derived_uuids_follow_from_their_parts() -> None:
    made = ids.derived_uuid("a", "b")
    assert (made.version, made) == (4, ids.derived_uuid("a", "b"))
    assert made != ids.derived_uuid("a", "c")


def test_random_uuids_are_all_different() -> None:
    made = {ids.new_uuid() for _ in range(1000)}
    assert (len(made), {each.version for each in made}) == (1000, {4})
