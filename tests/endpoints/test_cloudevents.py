"""The three modes of an HTTP request, and what is no event in each of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from edda.cloudevent import Event
from edda.endpoints.cloudevents import read_events
from edda.exceptions import InvalidEventError

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
COMPLETE: dict[str, Any] = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created"}
BINARY = {f"ce-{name}": value for name, value in COMPLETE.items()}


def _read(headers: dict[str, str], body: bytes | object = b"") -> list[Event]:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return read_events(raw, body if isinstance(body, bytes) else json.dumps(body).encode())


def _refusal(headers: dict[str, str], body: bytes | object = b"") -> Exception:
    with pytest.raises(InvalidEventError) as caught:
        _read(headers, body)
    assert isinstance(caught.value.__cause__, Exception)
    assert str(caught.value) == str(caught.value.__cause__)
    return caught.value.__cause__


@pytest.mark.parametrize(
    "content_type",
    [
        STRUCTURED,
        "Application/CloudEvents+JSON",
        f"{STRUCTURED}; charset=utf-8",
        f'{STRUCTURED} ;Charset="UTF-8"',
        f"{STRUCTURED};charset=utf8;x=y",
    ],
)
def test_structured_mode_is_chosen_by_the_content_type(content_type: str) -> None:
    (event,) = _read({"Content-Type": content_type, "ce-id": "ignored"}, {**COMPLETE, "data": {"n": 1}})
    assert event == Event(COMPLETE, {"n": 1})


@pytest.mark.parametrize(
    "data", [None, True, 0, -1.5, 10**30, "", "text", [], [1, [2]], {}, {"a": None}], ids=repr
)
def test_structured_data_of_any_json_type_is_kept(data: object) -> None:
    (event,) = _read({"content-type": STRUCTURED}, {**COMPLETE, "data": data})
    assert event.data == data
    assert type(event.data) is type(data)


def test_structured_base64_data_gives_bytes() -> None:
    (event,) = _read({"content-type": STRUCTURED}, {**COMPLETE, "data_base64": "AP8="})
    assert event.data == b"\x00\xff"


def test_a_null_attribute_is_an_absent_one() -> None:
    (event,) = _read({"content-type": STRUCTURED}, {**COMPLETE, "subject": None, "ext": None})
    assert event.get_attributes() == COMPLETE


def test_extensions_keep_their_json_type() -> None:
    (event,) = _read({"content-type": STRUCTURED}, {**COMPLETE, "flag": True, "count": 3, "name": "x"})
    assert (event["flag"], event["count"], event["name"]) == (True, 3, "x")


@pytest.mark.parametrize(
    ("body", "error_type", "text"),
    [
        (b"", "MissingRequiredFields", "'specversion'"),
        (b"not json", "MissingRequiredFields", "'specversion'"),
        (b"\xff\xfe", "MissingRequiredFields", "'specversion'"),
        (b"[]", "MissingRequiredFields", "'specversion'"),
        (b'"text"', "MissingRequiredFields", "'specversion'"),
        (b"null", "MissingRequiredFields", "'specversion'"),
        (b"{}", "MissingRequiredFields", "'specversion'"),
        (b"{} {}", "MissingRequiredFields", "'specversion'"),
        ({"specversion": "1.0"}, "MissingRequiredFields", "'id'"),
        ({**COMPLETE, "type": None}, "MissingRequiredFields", "'type'"),
        ({**COMPLETE, "specversion": "2.0"}, "InvalidRequiredFields", "'specversion'"),
        ({**COMPLETE, "specversion": 1.0}, "InvalidRequiredFields", "'specversion'"),
        ({**COMPLETE, "specversion": []}, "InvalidRequiredFields", "'specversion'"),
        ({**COMPLETE, "id": 7}, "InvalidRequiredFields", "'id'"),
        ({**COMPLETE, "source": ""}, "InvalidRequiredFields", "'source'"),
        ({**COMPLETE, "time": "noon"}, "ValueError", "'time'"),
        ({**COMPLETE, "my_ext": "x"}, "ValueError", "my_ext"),
        ({**COMPLETE, "ext": {"a": 1}}, "ValueError", "'ext'"),
        ({**COMPLETE, "data_base64": "*"}, "ValueError", "base64"),
        ({**COMPLETE, "data": 1, "data_base64": "AA=="}, "ValueError", "data_base64"),
    ],
)
def test_what_is_no_structured_event_is_refused_with_the_reason(
    body: bytes | object, error_type: str, text: str
) -> None:
    error = _refusal({"content-type": STRUCTURED}, body)
    assert type(error).__name__ == error_type
    assert text in str(error)


@pytest.mark.parametrize(
    "data", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b'[{"a": -1e999}]', b"1" * 5000]
)
@pytest.mark.parametrize("mode", [STRUCTURED, "application/json"])
def test_numbers_that_no_json_can_hold_again_are_refused(mode: str, data: bytes) -> None:
    body = json.dumps(COMPLETE)[:-1].encode() + b', "data": ' + data + b"}" if mode == STRUCTURED else data
    assert "JSON" in str(_refusal({"content-type": mode, **BINARY}, body))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("content_type", [STRUCTURED, BATCH, "application/json"])
def test_deep_nesting_is_refused(content_type: str, opening: bytes) -> None:
    assert "JSON" in str(_refusal({"content-type": content_type, **BINARY}, opening * 100_000))


@pytest.mark.parametrize("content_type", [STRUCTURED, BATCH, "application/json"])
@pytest.mark.parametrize("charset", ["latin-1", '"utf-16"', "us-ascii", ""])
def test_json_in_another_charset_is_refused(content_type: str, charset: str) -> None:
    headers = {"content-type": f"{content_type}; charset={charset}", **BINARY}
    error = _refusal(headers, COMPLETE)
    assert type(error) is ValueError
    assert "charset" in str(error)


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents", "application/cloudevents+xml", "application/cloudevents-batch+avro"],
)
def test_other_formats_of_events_are_refused(content_type: str) -> None:
    error = _refusal({"content-type": content_type, **BINARY}, COMPLETE)
    assert content_type in str(error)


def test_the_text_of_a_refusal_stays_short_whatever_was_sent() -> None:
    huge = "x" * 500_000
    for body in ({**COMPLETE, f"_{huge}": 1}, {**COMPLETE, "specversion": huge}, {**COMPLETE, "time": huge}):
        assert len(str(_refusal({"content-type": STRUCTURED}, body))) < 300


def test_a_batch_is_all_its_events_in_order() -> None:
    events = _read({"content-type": BATCH}, [{**COMPLETE, "id": str(n), "data": n} for n in range(5)])
    assert [(event["id"], event.data) for event in events] == [(str(n), n) for n in range(5)]


def test_an_empty_batch_is_no_event() -> None:
    assert _read({"content-type": BATCH}, []) == []


def test_one_bad_element_refuses_the_batch_and_is_named() -> None:
    elements = [{**COMPLETE, "id": str(n)} for n in range(5)]
    del elements[2]["type"]
    error = _refusal({"content-type": BATCH}, elements)
    assert (type(error).__name__, str(error)) == (
        "MissingRequiredFields",
        "[2]: Missing required attribute 'type'",
    )


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (b"", "MissingRequiredFields"),
        (b"[", "MissingRequiredFields"),
        (COMPLETE, "ValueError"),
        (b"null", "ValueError"),
        ([COMPLETE, 5], "MissingRequiredFields"),
        ([[COMPLETE]], "MissingRequiredFields"),
        ([{**COMPLETE, "specversion": "9"}], "InvalidRequiredFields"),
        ([{**COMPLETE, "data_base64": 5}], "ValueError"),
    ],
)
def test_what_is_no_batch_is_refused(body: bytes | object, error_type: str) -> None:
    assert type(_refusal({"content-type": BATCH}, body)).__name__ == error_type


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"n": 1}', {"n": 1}),
        ("application/json; charset=UTF-8", b'"\xc3\xbc"', "ü"),
        ("text/json", b"[1]", [1]),
        ("application/vnd.shop.v1+json", b"1", 1),
        ("Application/JSON", b"null", None),
        ("application/json", b"", None),
        (None, b'{"n": 1}', {"n": 1}),
        (None, b"no json", b"no json"),
        (None, b"\xff", b"\xff"),
        (None, b"", None),
        ("text/plain; charset=latin-1", b"\xfc", b"\xfc"),
        ("application/octet-stream", b"", b""),
        ("application/jsonlines", b"1", b"1"),
    ],
)
def test_binary_data_follows_the_content_type(content_type: str | None, body: bytes, data: object) -> None:
    headers = {**BINARY, "content-type": content_type} if content_type else BINARY
    (event,) = _read(headers, body)
    assert event.data == data
    assert type(event.data) is type(data)
    assert event.get("datacontenttype") == content_type


@pytest.mark.parametrize("body", [b"no json", b"{", b" ", b"\xef\xbb\xbf{}", b'"\xff"'])
def test_invalid_json_under_a_json_content_type_is_refused(body: bytes) -> None:
    error = _refusal({**BINARY, "content-type": "application/json"}, body)
    assert type(error) is ValueError
    assert "not valid JSON" in str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("raw €", "raw €"),
        ("%2525", "%25"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("a+b", "a+b"),
        ('"quoted %22text\\" \\\\"', 'quoted "text" \\'),
        ('half "open', 'half "open'),
        ('"\\"', '"\\"'),
        ('"a" and "b"', "a and b"),
    ],
)
def test_headers_are_unquoted_and_percent_decoded_once(value: str, text: str) -> None:
    (event,) = _read({**BINARY, "CE-Subject": value})
    assert event["subject"] == text


def test_unbalanced_quotes_cost_no_more_than_their_length() -> None:
    # A cost that grew with the square would take an hour here, which no test has.
    _read({**BINARY, "ce-subject": '"' + '\\"' * 1_000_000})


@pytest.mark.parametrize("value", [b"\xff", b"%FF", b"%C0%A0", b"%ED%A0%80", b"%00", b"%0A", b"a\tb"])
def test_headers_that_are_no_valid_text_are_refused(value: bytes) -> None:
    headers = [(name.encode(), text.encode()) for name, text in BINARY.items()]
    with pytest.raises(InvalidEventError, match="subject") as caught:
        read_events([*headers, (b"ce-subject", value)], b"")
    assert type(caught.value.__cause__) is ValueError


@pytest.mark.parametrize("name", ["ce-", "ce-my-ext", "ce-my_ext", "ce-data", "ce-data_base64", "ce-ü"])
def test_headers_that_name_no_attribute_are_refused(name: str) -> None:
    assert "attribute name" in str(_refusal({**BINARY, name: "x"}))


@pytest.mark.parametrize("name", ["ce-id", "CE-ID", "content-type"])
def test_a_header_given_twice_is_refused(name: str) -> None:
    headers = [(k.encode(), v.encode()) for k, v in {**BINARY, "content-type": "text/plain"}.items()]
    with pytest.raises(InvalidEventError, match=name.lower()):
        read_events([*headers, (name.encode(), b"8")], b"")


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_binary_mode_misses_each_required_attribute_by_name(missing: str) -> None:
    error = _refusal({name: value for name, value in BINARY.items() if name != f"ce-{missing}"})
    assert type(error).__name__ == "MissingRequiredFields"
    assert f"'{missing}'" in str(error)


def test_json_that_is_declared_as_no_event_is_refused_with_a_hint() -> None:
    error = _refusal({"content-type": "application/json"}, COMPLETE)
    assert STRUCTURED in str(error)


@pytest.mark.parametrize("convert", [to_binary_event, to_structured_event], ids=["binary", "structured"])
@pytest.mark.parametrize("data", [{"n": 1}, b"\x00\xff", None], ids=["json", "bytes", "none"])
def test_what_the_library_sends_is_what_arrives(convert: Any, data: Any) -> None:
    content_type = "application/octet-stream" if isinstance(data, bytes) else "application/json"
    attributes = {**COMPLETE, "subject": 'a "b" 100% €', "datacontenttype": content_type}
    sent = convert(CloudEvent(attributes, data))
    (event,) = _read(sent.headers, sent.body)
    assert event == Event.of(CloudEvent(attributes, data))
