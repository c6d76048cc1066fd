"""Who may send requests: a hook of the user, and two ready-made ones."""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections.abc import Awaitable, Callable
from hmac import compare_digest

from edda.endpoints.asgi import Answer, headers_of, refused, relative_path
from edda.endpoints.cancel import instance_to_cancel
from edda.exceptions import ForbiddenError, UnauthorizedError
from edda.types import Scope

Authenticate = Callable[[Scope, bytes], bool | Awaitable[bool]]
"""Gets the ASGI scope and the whole body, and returns True if the request may pass.

Anything but True is 401. It may raise :class:`~edda.exceptions.UnauthorizedError` (401, with
a text and a challenge) or :class:`~edda.exceptions.ForbiddenError` (403). Any other error is
500, and nothing of the request is used either.
"""

_SIGNED = ("application/cloudevents+json", "application/cloudevents-batch+json")


async def refusal_of(authenticate: Authenticate, scope: Scope, body: bytes) -> Answer | None:
    """The answer to a request that may not pass, else None."""
    try:
        verdict = authenticate(scope, body)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        _require_true(verdict)
    except UnauthorizedError as error:
        return refused(401, "Unauthorized", str(error), (b"www-authenticate", error.challenge.encode()))
    except ForbiddenError as error:
        return refused(403, "Forbidden", str(error))
    return None


def _require_true(verdict: object) -> None:
    if verdict is not True:
        raise UnauthorizedError("The request is not authenticated")


def bearer_token(*tokens: str) -> Authenticate:
    """Lets requests pass that have one of these tokens in ``Authorization: Bearer``.

    Several, so that a token can be replaced without a gap. Raises ``ValueError`` for none and
    for an empty one.

    ::

        app.authenticate = bearer_token(os.environ["EDDA_TOKEN"])
    """
    expected = [_digest(token) for token in _required(tokens, "token")]

    def authenticate(scope: Scope, body: bytes) -> bool:  # noqa: ARG001 - of every hook
        values = headers_of(scope, b"authorization")
        scheme, _, token = (values[0] if len(values) == 1 else b"").strip().partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise UnauthorizedError("A bearer token is required")
        if not _is_any(_hash(token.strip()), expected):
            raise UnauthorizedError("The token is not valid", challenge='Bearer error="invalid_token"')
        return True

    return authenticate


def hmac_signature(
    *secrets: str, header: str = "x-hub-signature-256", prefix: str = "sha256="
) -> Authenticate:
    """Lets requests pass whose body is signed with one of these secrets, as webhooks are.

    The header holds ``prefix`` and the HMAC-SHA256 of the body, in hexadecimal digits. Since
    nothing but the body is signed, only what stands there passes: events in structured mode
    and batches. Events in binary mode and cancellations are 403. Raises ``ValueError`` for no
    secret and for an empty one.

    ::

        app.authenticate = hmac_signature(os.environ["WEBHOOK_SECRET"])
    """
    keys = [secret.encode() for secret in _required(secrets, "secret")]
    name, start = header.lower().encode("latin-1"), prefix.encode("latin-1")

    def authenticate(scope: Scope, body: bytes) -> bool:
        values = headers_of(scope, name)
        if len(values) != 1 or not values[0].startswith(start):
            raise UnauthorizedError(
                f"A signature in the header {header!r} is required", challenge="Signature"
            )
        given = values[0].removeprefix(start).strip().lower()
        signatures = [hmac.new(key, body, hashlib.sha256).hexdigest().encode() for key in keys]
        if not _is_any(given, signatures):
            raise UnauthorizedError("The signature does not fit the body", challenge="Signature")
        _require_signed(scope)
        return True

    return authenticate


def _require_signed(scope: Scope) -> None:
    """Whoever has seen one signed body could otherwise send it with other headers or to another path."""
    if instance_to_cancel(relative_path(scope)) is not None:
        raise ForbiddenError("A signed body cannot cancel: the path is not signed")
    types = headers_of(scope, b"content-type")
    media_type = (types[0] if len(types) == 1 else b"").partition(b";")[0].strip().lower()
    if media_type.decode("latin-1") not in _SIGNED:
        raise ForbiddenError("A signed event must be in structured mode: headers are not signed")


def _required(texts: tuple[str, ...], what: str) -> tuple[str, ...]:
    if not texts or not all(texts):
        raise ValueError(f"at least one {what} is required, and none may be empty")
    return texts


def _digest(text: str) -> bytes:
    return _hash(text.encode())


def _hash(value: bytes) -> bytes:
    # Compared instead of the token itself, whose length the time of a comparison would tell.
    return hashlib.sha256(value).digest()


def _is_any(given: bytes, expected: list[bytes]) -> bool:
    """Compares with all of them, so that the time does not tell which one it was."""
    return sum(compare_digest(given, each) for each in expected) > 0
