"""Events to a stream of NATS JetStream, instead of an HTTP broker; needs the extra ``nats``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

try:
    import nats
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "edda.outbox.nats needs nats-py, which is not installed: pip install 'edda-durable[nats]'",
        name=error.name,
    ) from error
from nats.aio.client import Client
from nats.errors import BadSubjectError, Error, MaxPayloadError
from nats.js.errors import APIError, NoStreamResponseError

from edda.cloudevent import Event
from edda.outbox.answers import Answer, Postponed, Published, Refused, no_answer
from edda.outbox.publisher import FORMS

# Connecting again is left to the next attempt to publish, which knows that it waits for it.
_ONE_ATTEMPT = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0}
_TRY_AGAIN = frozenset({408, 429})

logger = logging.getLogger(__name__)


class NatsPublisher:
    """Publishes each event to a subject that a stream of JetStream keeps, and waits until it is stored.

    ``subject`` is one for all events, or a function that gives each event its own. Events are
    written as the NATS binding of CloudEvents says: ``mode`` is ``"structured"`` or ``"binary"``.
    ``Nats-Msg-Id`` is the id of the event, so that the stream drops what is sent again within its
    duplicate window (two minutes unless it was made with another). ``seconds`` bounds each attempt.
    ``options`` go to ``nats.connect``:
    ``user``, ``password``, ``token``, ``tls``, ``user_credentials`` and so on.

    ::

        publisher = NatsPublisher("nats://localhost:4222", subject=lambda event: f"shop.{event['type']}")
        app = EddaApp("shop", url, outbox_enabled=True, broker_url="nats://localhost:4222")
        app.outbox_options = {"publisher": publisher}
    """

    def __init__(
        self,
        servers: str | list[str],
        *,
        subject: str | Callable[[Event], str],
        mode: Literal["structured", "binary"] = "structured",
        seconds: float = 10.0,
        **options: Any,
    ) -> None:
        self._servers = servers
        self._subject = subject
        self._form = FORMS[mode]
        self._seconds = seconds
        self._options = options
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def open(self) -> None:
        """Nothing yet: a broker that is away must not keep the app from starting."""

    async def close(self) -> None:
        """Close the connection. Harmless when repeated."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def publish(self, event: Event) -> Answer:
        """One attempt; the connection is made anew if it was lost."""
        subject = self._subject if isinstance(self._subject, str) else self._subject(event)
        request = self._form(event)
        headers = {**request.headers, "Nats-Msg-Id": str(event["id"])}
        try:
            async with asyncio.timeout(self._seconds):
                client = await self._connected()
                await client.jetstream().publish(
                    subject, request.content, timeout=self._seconds, headers=headers
                )
        except APIError as error:
            return _answer_of(error)
        except (BadSubjectError, MaxPayloadError) as error:
            return Refused(f"{type(error).__name__}: {error}")
        except NoStreamResponseError:
            return Postponed(f"No stream has the subject {subject!r}")
        except (Error, OSError) as error:  # a timeout is an OSError as well
            return no_answer(error)
        return Published()

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                await self.close()
                self._client = await nats.connect(
                    self._servers,
                    **{**_ONE_ATTEMPT, "error_cb": _note, **self._options},
                )
            return self._client


async def _note(error: Exception) -> None:
    """What goes wrong is the answer of an attempt already."""
    logger.debug("NATS: %s", error)


def _answer_of(error: APIError) -> Answer:
    code = error.code or 500
    text = f"JetStream {code}: {error.description}"
    if code in range(400, 500) and code not in _TRY_AGAIN:
        return Refused(text)
    return Postponed(text, broker_away=True)
