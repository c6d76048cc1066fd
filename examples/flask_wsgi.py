r"""Workflows beside a Flask application, under a WSGI server with several processes.

Install Flask and gunicorn, and run it from the top of the repository::

    gunicorn --pythonpath examples --workers 2 --bind localhost:8000 flask_wsgi:application

The first event that a process gets starts the worker in it::

    curl -i http://localhost:8000/workflows/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "sign_up",
             "data": {"name": "Ada"}}'

The server prints::

    Ada has signed up

Flask shows what the workflow has stored in a table of the application::

    curl -i http://localhost:8000/members

answers ``["Ada"]``. Activities without ``async`` run in threads, and ``ctx.sync_session`` is theirs.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask, jsonify
from flask.wrappers import Response
from sqlalchemy import text
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from edda import EddaApp, WorkflowContext, activity, create_wsgi_app, workflow

DB_FILE = Path(os.environ.get("EDDA_DB_FILE", "flask_wsgi.db")).resolve()

with closing(sqlite3.connect(DB_FILE)) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY)")


@activity
def store(ctx: WorkflowContext, name: str) -> None:
    """The row of the application and the record of the step commit together."""
    ctx.sync_session.execute(text("INSERT OR IGNORE INTO members VALUES (:name)"), {"name": name})


@activity
def welcome(ctx: WorkflowContext, name: str) -> None:
    print(f"{name} has signed up", flush=True)


@workflow(event_handler=True)
async def sign_up(ctx: WorkflowContext, name: str) -> None:
    await store(ctx, name)
    await welcome(ctx, name)


flask = Flask(__name__)


@flask.get("/members")
def members() -> Response:
    with closing(sqlite3.connect(DB_FILE)) as connection:
        return jsonify([name for (name,) in connection.execute("SELECT name FROM members ORDER BY name")])


workflows = create_wsgi_app(EddaApp("club", f"sqlite:///{DB_FILE}"))
application = DispatcherMiddleware(flask.wsgi_app, {"/workflows": workflows})
