"""A small WSGI server side for tests: one request, checked against the rules of WSGI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


@dataclass
class Answer:
    """What the application answered."""

    status: str = ""
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


def request(application: Any, body: bytes = b"", **environ: str) -> Answer:
    """The answer to a request; keywords are keys of the WSGI environment."""
    answer = Answer()
    usual = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": ""}
    whole: dict[str, Any] = {**usual, **environ}
    whole["CONTENT_LENGTH"] = str(len(body))
    whole["wsgi.input"] = BytesIO(body)
    setup_testing_defaults(whole)

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        answer.status = status
        return lambda _: None

    chunks: Any = validator(application)(whole, start_response)
    try:
        answer.body = b"".join(chunks)
    finally:
        chunks.close()
    return answer
