"""Who may post events and cancel instances, where the app asks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from edda import bearer_token, hmac_signature
from edda.cloudevent import Event
from edda.endpoints import authentication
from edda.endpoints.authentication import Authenticate
from edda.endpoints.routes import Endpoint
from edda.exceptions import ForbiddenError, UnauthorizedError
from edda.types import Scope
from tests.support.asgi import Limits, Response, request

STRUCTURED = "application/cloudevents+json"
EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created"}
BODY = json.dumps(EVENT).encode()
BINARY = {f"ce-{name}": value for name, value in EVENT.items()}

used: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    used.clear()


async def accept(events: Sequence[Event]) -> None:
    used.extend(event["id"] for event in events)


async def cancel(instance_id: str) -> bool:
    used.append(instance_id)
    return True


async def post(
    hook: Authenticate | None, headers: dict[str, str], *, path: str = "/", body: bytes = BODY
) -> Response:
    endpoint = Endpoint(accept, cancel, Limits(authenticate=hook))
    return await request(endpoint, "POST", path, headers={"content-type": STRUCTURED} | headers, body=body)


def signature(secret: str, body: bytes = BODY) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# -- any hook ------------------------------------------------------------------------------


async def test_without_a_hook_everybody_may() -> None:
    assert (await post(None, {})).status == 202
    assert (await post(None, {}, path="/cancel/order-1")).status == 200


async def test_a_hook_gets_the_scope_and_the_body() -> None:
    asked: list[tuple[str, bytes]] = []

    def hook(scope: Scope, body: bytes) -> bool:
        asked.append((scope["path"], body))
        return True

    assert (await post(hook, {}, path="/events")).status == 202
    assert (await post(hook, {}, path="/cancel/order-1", body=b"x")).status == 200
    assert asked == [("/events", BODY), ("/cancel/order-1", b"x")]
    assert used == ["7", "order-1"]


@pytest.mark.parametrize("verdict", [False, None, 0, 1, "yes"])
async def test_only_true_lets_a_request_pass(verdict: Any) -> None:
    async def hook(scope: Scope, body: bytes) -> Any:
        return verdict

    for path in ("/", "/cancel/order-1"):
        response = await post(hook, {}, path=path)
        assert response.status == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json() == {
            "error": "The request is not authenticated",
            "error_type": "Unauthorized",
            "retryable": False,
        }
    assert used == []


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (UnauthorizedError("who are you"), 401, "Unauthorized"),
        (ForbiddenError("not you"), 403, "Forbidden"),
        (KeyError("a defect"), 500, "KeyError"),
    ],
)
async def test_a_hook_refuses_by_raising(error: Exception, status: int, error_type: str) -> None:
    def hook(scope: Scope, body: bytes) -> bool:
        raise error

    response = await post(hook, {})
    assert (response.status, response.json()["error_type"]) == (status, error_type)
    assert response.json()["retryable"] is (status == 500)
    assert used == []


async def test_nothing_of_an_unauthenticated_body_is_looked_at() -> None:
    assert (await post(lambda *_: False, {}, body=b"{")).status == 401


async def test_what_is_no_post_or_too_large_needs_no_hook() -> None:
    def hook(scope: Scope, body: bytes) -> bool:
        raise AssertionError("asked")

    assert (await post(hook, {}, body=b"x" * 1001)).status == 413
    endpoint = Endpoint(accept, cancel, Limits(authenticate=hook))
    assert (await request(endpoint, "GET", "/")).status == 405


# -- bearer tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer  s3cret ", "BEARER s3cret", "Bearer old"])
async def test_a_request_with_one_of_the_tokens_passes(value: str) -> None:
    hook = bearer_token("s3cret", "old")
    assert (await post(hook, {"authorization": value})).status == 202
    assert (await post(hook, {"authorization": value}, path="/cancel/order-1")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic s3cret"},
        {"authorization": "s3cret"},
        {"authorization": "Bearer s3cre"},
        {"authorization": "Bearer s3crett"},
        {"authorization": "Bearer s3cret s3cret"},
        {"authorization": "Bearer \xe9"},
    ],
)
async def test_any_other_header_is_no_token(headers: dict[str, str]) -> None:
    for path in ("/", "/cancel/order-1"):
        response = await post(bearer_token("s3cret"), headers, path=path)
        assert response.status == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert used == []


async def test_two_authorization_headers_are_none() -> None:
    scope: Scope = {"headers": [(b"authorization", b"Bearer s3cret"), (b"Authorization", b"Bearer x")]}
    with pytest.raises(UnauthorizedError):
        bearer_token("s3cret")(scope, b"")


# -- signatures ------------------------------------------------------------------------------


async def test_a_signed_event_passes_under_each_of_the_secrets() -> None:
    hook = hmac_signature("new", "old")
    for secret in ("new", "old"):
        assert (await post(hook, {"x-hub-signature-256": signature(secret)})).status == 202
    batch = b"[" + BODY + b"]"
    headers = {
        "content-type": "application/cloudevents-batch+json; charset=utf-8",
        "x-hub-signature-256": signature("new", batch).upper().replace("SHA256", "sha256"),
    }
    assert (await post(hook, headers, body=batch)).status == 202


async def test_header_and_prefix_can_be_others() -> None:
    hook = hmac_signature("s", header="X-Signature", prefix="")
    assert (await post(hook, {"x-signature": signature("s").removeprefix("sha256=")})).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": signature("other")},
        {"x-hub-signature-256": signature("s", BODY + b" ")},
        {"x-hub-signature-256": signature("s").removeprefix("sha256=")},
        {"x-hub-signature-256": "sha256=\xe9"},
    ],
)
async def test_a_body_without_its_signature_is_refused(headers: dict[str, str]) -> None:
    response = await post(hmac_signature("s"), headers)
    assert (response.status, response.headers["www-authenticate"]) == (401, "Signature")
    assert used == []


async def test_a_signature_vouches_for_nothing_but_the_body() -> None:
    """Else whoever has seen a signed body could cancel with it, or give it other attributes."""
    hook = hmac_signature("s")
    signed = {"x-hub-signature-256": signature("s")}
    refused = [
        await post(hook, signed, path="/cancel/order-1"),
        await post(hook, signed, path="/cancel"),
        await post(hook, {**signed, **BINARY, "content-type": "application/json"}),
        await post(hook, {**signed, **BINARY, "content-type": ""}),
    ]
    assert [response.status for response in refused] == [403] * 4
    assert used == []


# -- both ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [bearer_token, hmac_signature])
@pytest.mark.parametrize("secrets", [(), ("",), ("good", ""), (None,)])
def test_a_missing_secret_is_found_at_the_start(make: Any, secrets: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        make(*secrets)


async def test_every_comparison_takes_as_long_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of one length through the comparison that is made for it, and all of them each time."""
    lengths: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(authentication, "compare_digest", compare)
    hook = bearer_token("short", "a much longer token")
    for token in ("short", "x", "a much longer token"):
        await post(hook, {"authorization": f"Bearer {token}"})
    assert lengths == [(32, 32)] * 6
    lengths.clear()
    await post(hmac_signature("one", "two"), {"x-hub-signature-256": signature("one")})
    assert lengths == [(64, 64)] * 2
