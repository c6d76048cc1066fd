"""What the event object takes, gives and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v03.event import CloudEvent as CloudEventV2Old
from cloudevents.core.v1.event import CloudEvent as CloudEventV2
from cloudevents.v1.http import CloudEvent as CloudEventV1
from hypothesis import given
from hypothesis import strategies as st

from edda.cloudevent import Event, require_attributes
from edda.exceptions import EddaError, InvalidRequiredFields, MissingRequiredFields

COMPLETE = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created"}


def test_reads_like_the_objects_of_both_generations() -> None:
    event = Event({**COMPLETE, "subject": "s", "tenant": "t", "time": "2024-02-29T12:00:00Z"}, {"n": 1})

    assert (event["type"], event.get("subject"), event.get("dataschema", "none")) == (
        "order.created",
        "s",
        "none",
    )
    assert event.data == event.get_data() == {"n": 1}
    assert (event.get_id(), event.get_source(), event.get_type()) == ("7", "/shop", "order.created")
    assert (event.get_specversion(), event.get_subject(), event.get_datacontenttype()) == ("1.0", "s", None)
    assert event.get_extension("tenant") == "t"
    assert event["time"] == "2024-02-29T12:00:00Z"
    assert event.get_time() == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert "tenant" in event
    assert "data" not in event
    assert len(event) == len(list(event)) == 7


def test_is_understood_by_the_bindings_of_the_library() -> None:
    event: BaseCloudEvent = Event({**COMPLETE, "time": "2024-02-29T12:00:00Z"}, {"n": 1})

    assert isinstance(event, CloudEventV2)
    assert to_binary_event(event).headers["ce-time"] == "2024-02-29T12:00:00Z"
    assert json.loads(to_structured_event(event).body)["data"] == {"n": 1}


def test_changing_what_an_event_gave_out_or_was_made_of_leaves_it_alone() -> None:
    attributes = dict(COMPLETE)
    event = Event(attributes)
    attributes["id"] = "other"
    event.get_attributes()["id"] = "another"
    assert event["id"] == "7"


@pytest.mark.parametrize(
    ("version", "name"), [("1.0", "dataschema"), ("0.3", "schemaurl")], ids=["1.0", "0.3"]
)
def test_the_schema_has_one_getter_in_both_versions(version: str, name: str) -> None:
    event = Event({**COMPLETE, "specversion": version, name: "https://example.com/s"})
    assert event.get_dataschema() == "https://example.com/s"


def test_equal_by_contents_and_shown_without_its_data() -> None:
    assert Event(COMPLETE, [1]) == Event(dict(COMPLETE), [1])
    assert Event(COMPLETE, [1]) != Event(COMPLETE, [2])
    assert Event(COMPLETE) != COMPLETE
    assert repr(Event(COMPLETE, "secret")) == "Event(type='order.created', source='/shop', id='7')"


def test_only_the_type_is_needed_by_programs() -> None:
    event = Event({"type": "ping", "id": None})
    assert (event.get("id"), event.get("source"), event["specversion"]) == (None, None, "1.0")
    with pytest.raises(MissingRequiredFields, match="'type'"):
        Event({"id": "7", "source": "/shop"})


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_each_required_attribute_is_missed_by_name(name: str) -> None:
    for incomplete in ({k: v for k, v in COMPLETE.items() if k != name}, {**COMPLETE, name: None}):
        with pytest.raises(MissingRequiredFields, match=f"'{name}'") as caught:
            require_attributes(incomplete)
        assert isinstance(caught.value, EddaError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", ["", 5, 1.0, True, [], {}, ["x"]])
def test_each_required_attribute_must_be_a_text(name: str, value: object) -> None:
    with pytest.raises(InvalidRequiredFields, match=f"'{name}'"):
        require_attributes({**COMPLETE, name: value})


@pytest.mark.parametrize("version", ["2.0", "1.0.2", "1", "0.2", " 1.0"])
def test_an_unknown_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidRequiredFields, match="'specversion'"):
        Event({**COMPLETE, "specversion": version})


@pytest.mark.parametrize("name", ["", "Type", "my_ext", "my-ext", "data", "data_base64", "ünicode", "a b"])
def test_names_of_attributes_are_lower_case_letters_and_digits(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid attribute name"):
        Event({**COMPLETE, name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", ""),
        ("subject", 1),
        ("datacontenttype", True),
        ("dataschema", ""),
        ("ext", 1.5),
        ("ext", [1]),
        ("ext", {"a": 1}),
        ("ext", "a\x00b"),
        ("id", "line\nbreak"),
        ("type", "\ud800"),
        ("source", "\x9f"),
    ],
)
def test_values_that_are_no_attribute_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        Event({**COMPLETE, name: value})


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T12:00:00Z",
        "2024-02-29t12:00:00z",
        "2024-02-29T12:00:00.123456789+01:00",
        "2024-02-29T12:00:00-00:00",
    ],
)
def test_times_with_an_offset_are_kept_as_written(text: str) -> None:
    event = Event({**COMPLETE, "time": text})
    time = event.get_time()
    assert event["time"] == text
    assert time is not None
    assert time.tzinfo is not None


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2024-02-29", "2024-02-29T12:00:00", "2023-02-29T12:00:00Z", "20240229T120000Z", 5],
)
def test_other_times_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="'time'"):
        Event({**COMPLETE, "time": value})


def test_values_of_programs_become_what_can_be_stored() -> None:
    class Version(str, Enum):  # noqa: UP042 - as in the library of the first generation
        V1 = "1.0"

    event = Event(
        {
            **COMPLETE,
            "specversion": Version.V1,
            "time": datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=1))),
            "digest": b"\x00\x01",
        },
        bytearray(b"x"),
    )
    assert type(event["specversion"]) is str
    assert (event["time"], event["digest"]) == ("2024-02-29T12:00:00+01:00", "AAE=")
    assert type(event.data) is bytes
    assert Event({**COMPLETE, "time": datetime(2024, 1, 1, tzinfo=UTC)})["time"] == "2024-01-01T00:00:00Z"
    with pytest.raises(ValueError, match="'time'"):
        Event({**COMPLETE, "time": datetime(2024, 1, 1)})  # noqa: DTZ001 - that is the point


class _Oldest:
    """The shape of event objects before there were getters."""

    def __init__(self, attributes: dict[str, Any], data: Any) -> None:
        self._attributes = attributes
        self.data = data

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __getitem__(self, name: str) -> Any:
        return self._attributes[name]


@pytest.mark.parametrize(
    "theirs",
    [
        CloudEventV1(COMPLETE, {"n": 1}),
        CloudEventV2(dict(COMPLETE), {"n": 1}),
        _Oldest(COMPLETE, {"n": 1}),
        {**COMPLETE, "data": {"n": 1}},
        Event(COMPLETE, {"n": 1}),
    ],
    ids=["1.x", "2.x", "oldest", "dict", "ours"],
)
def test_every_kind_of_event_object_is_understood(theirs: object) -> None:
    event = Event.of(theirs)
    assert (event["id"], event["source"], event["type"]) == ("7", "/shop", "order.created")
    assert event.data == {"n": 1}


def test_events_of_the_old_version_are_understood() -> None:
    event = Event.of(CloudEventV2Old({**COMPLETE, "specversion": "0.3"}, b"x"))
    assert (event["specversion"], event.data) == ("0.3", b"x")


@pytest.mark.parametrize("thing", [None, 5, "text", b"bytes", [1]])
def test_what_is_no_event_is_a_type_error(thing: object) -> None:
    with pytest.raises(TypeError, match=type(thing).__name__):
        Event.of(thing)


@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize(
    "data", [None, b"", b"\x00\xff", "", "text", 0, False, [], {}, {"a": [1, None]}], ids=repr
)
def test_an_event_comes_back_from_its_structured_form(version: str, data: Any) -> None:
    event = Event({**COMPLETE, "specversion": version, "flag": True, "n": 3}, data)
    again = Event.from_json_object(json.loads(json.dumps(event.to_json_object())))
    assert again == event
    assert type(again.data) is type(data)


_names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name != "data")
_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=10,
)


@given(
    version=st.sampled_from(["1.0", "0.3"]),
    extensions=st.dictionaries(_names, _texts | st.booleans() | st.integers(), max_size=4),
    required=st.tuples(_texts, _texts, _texts),
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    data=_json | st.binary(),
)
def test_every_event_comes_back_from_its_structured_form(
    version: str,
    extensions: dict[str, object],
    required: tuple[str, str, str],
    time: datetime | None,
    data: Any,
) -> None:
    optional = {"datacontenttype", "dataschema", "schemaurl", "subject", "time", "specversion"}
    attributes = {name: value for name, value in extensions.items() if name not in optional}
    attributes |= dict(zip(("id", "source", "type"), required, strict=True))
    event = Event({**attributes, "specversion": version, "time": time}, data)
    again = Event.from_json_object(json.loads(json.dumps(event.to_json_object())))
    assert again == event


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ({"data_base64": "AAE="}, b"\x00\x01"),
        ({"data": None, "data_base64": ""}, b""),
        ({"data": 1, "data_base64": None}, 1),
        ({"specversion": "0.3", "datacontentencoding": "Base64", "data": "AAE="}, b"\x00\x01"),
        ({"specversion": "0.3", "data": "AAE="}, "AAE="),
        ({"specversion": "1.0", "datacontentencoding": "base64", "data": "AAE="}, "AAE="),
    ],
)
def test_bytes_are_decoded_where_the_version_says_so(form: dict[str, Any], data: object) -> None:
    assert Event.from_json_object({**COMPLETE, **form}).data == data


@pytest.mark.parametrize(
    "form",
    [
        {"data": 1, "data_base64": "AAE="},
        {"data_base64": "AA*E="},
        {"data_base64": "AAE"},
        {"data_base64": "ü"},
        {"data_base64": 5},
        {"specversion": "0.3", "datacontentencoding": "base64", "data": {"a": 1}},
    ],
)
def test_ambiguous_or_broken_data_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="data"):
        Event.from_json_object({**COMPLETE, **form})
