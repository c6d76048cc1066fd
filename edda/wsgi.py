"""An app behind a WSGI server: an event loop in a thread of each process, begun by its first request."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

from edda.app import EddaApp

__all__ = ["WSGIApplication", "create_wsgi_app"]

# Beyond the time in which the app drains: how long the end of the process may be held up.
FAREWELL_SECONDS = 5.0

logger = logging.getLogger(__name__)

StartResponse = Callable[..., Any]


class WSGIApplication:
    """A WSGI callable around an app; :meth:`close` ends what its first request has begun.

    No thread and no connection exists before the first request, so that a server may
    load the module and fork afterwards. Each process is then a worker of its own.
    """

    def __init__(self, app: EddaApp) -> None:
        self._app = app
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._host: _Host | None = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request as the app does over ASGI."""
        with self._lock:
            if self._host is None:
                self._host = _Host(self._app)
        return self._host.answer(environ, start_response)

    def close(self) -> None:
        """Shut the app down and end its thread; called at the exit of the interpreter, too."""
        with self._lock:
            host, self._host = self._host, None
        if host is not None:
            host.stop()


class _Host:
    """The thread in which the app lives."""

    def __init__(self, app: EddaApp) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        from a2wsgi import ASGIMiddleware

        self._middleware: Any = ASGIMiddleware(cast("Any", app), loop=self._loop)
        self._thread = threading.Thread(target=self._loop.run_forever, name="edda-wsgi", daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        # Not waited for: the request waits by itself, and is told if the database is away.
        asyncio.run_coroutine_threadsafe(self._initialize(), self._loop)

    async def _initialize(self) -> None:
        try:
            await self._app.initialize()
        except Exception:  # whatever it is, the next event tries again and is answered with it
            logger.exception("The app could not be initialised")

    def answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        answer: Iterable[bytes] = self._middleware(environ, start_response)
        return answer

    def stop(self) -> None:
        atexit.unregister(self.stop)
        stopping = asyncio.run_coroutine_threadsafe(self._app.shutdown(), self._loop)
        try:
            stopping.result(self._app.drain_seconds + FAREWELL_SECONDS)
        except Exception:  # the process ends anyway: leases that were not handed back expire
            logger.warning("The app was not shut down in order", exc_info=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(FAREWELL_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def create_wsgi_app(edda_app: EddaApp) -> WSGIApplication:
    """The app as a WSGI callable, for gunicorn, uWSGI or mod_wsgi; the HTTP behaviour is the same.

    The app need not be initialised: the first request of each process does that, in a
    thread in which its workflows, timers and messages go on from then on. With servers
    that fork, with and without preloading, each process is a worker of its own.

    ::

        app = EddaApp("shop", "postgresql://localhost/shop")
        application = create_wsgi_app(app)  # gunicorn shop:application --workers 4
    """
    return WSGIApplication(edda_app)
