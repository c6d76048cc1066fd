"""The requests of the documents, sent without curl and to where the server really is."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection

ADDRESS = "localhost:8000"
"""Where the documents expect the server."""


@dataclass(frozen=True)
class Answer:
    """What the server says to a request."""

    status: int
    body: str


async def send_as_curl_would(command: str, port: int) -> Answer:
    """Send the request that ``curl -i URL [-H HEADER]... [-d BODY]`` describes."""
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:2] == ["curl", "-i"]
    url, body, headers = "", None, {}
    options = iter(words[2:])
    for word in options:
        if word == "-H":
            name, _, value = next(options).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(options)
        else:
            url = word
    scheme_and_address = f"http://{ADDRESS}"
    assert url.startswith(f"{scheme_and_address}/"), url
    path = url.removeprefix(scheme_and_address)
    return await asyncio.to_thread(_request, port, path, body, headers)


def _request(port: int, path: str, body: str | None, headers: dict[str, str]) -> Answer:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
