"""Examples that tell in their docstring what to type and what will be seen: played as they are told."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.curl import Answer, send_as_curl_would
from tests.support.eventually import eventually
from tests.support.workers import PROJECT, Worker, Workers

EXAMPLES = PROJECT / "examples"
TOLD = (
    "approval",
    "chat_room",
    "counter",
    "hooks_to_logs",
    "job_queue",
    "onboarding",
    "quickstart",
    "request_response",
    "user_tables",
)
"""Examples whose requests are all accepted."""
STORIES = (*TOLD, "fastapi_mount", "flask_wsgi", "models_everywhere")
READY = r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)"


@dataclass
class Story:
    """The indented blocks of a docstring, one after the other."""

    example: str
    workers: Workers
    directory: Path
    answers: list[Answer] = field(default_factory=list)

    async def play(self) -> Worker:
        """Type every command and wait for every line; returns the server, which still runs."""
        first, *blocks = blocks_of(EXAMPLES / f"{self.example}.py")
        server = await self._serve(shlex.split(first))
        port = int((await server.wait_for_line(READY))[1])
        for block in blocks:
            if block.startswith("curl "):
                self.answers.append(await send_as_curl_would(block, port))
            else:
                await lines_appear(server, block)
        return server

    async def _serve(self, command: list[str]) -> Worker:
        """The command as it stands, apart from the port and the working directory."""
        program, *arguments = [word.replace("localhost:8000", "127.0.0.1:0") for word in command]
        arguments = [str(EXAMPLES) if word == "examples" else word for word in arguments]
        if program == "uvicorn":
            arguments += ["--port", "0"]
        return await self.workers.start_command(
            *("env", "-C", str(self.directory), sys.executable, "-m", program, *arguments)
        )


async def lines_appear(server: Worker, block: str) -> None:
    """Wait until the server has printed these lines, in whatever order.

    ``...`` stands for any text, and a process may have any number. The order within a block is
    that of one run, and workflows side by side have none.
    """
    patterns = [
        re.sub(r"process\\ \d+", r"process \\d+", re.escape(line)).replace(r"\.\.\.", ".*")
        for line in block.splitlines()
    ]

    def check() -> None:
        for pattern in patterns:
            assert [line for line in server.lines if re.fullmatch(pattern, line)], (pattern, server.output)

    await eventually(check)


def blocks_of(path: Path) -> list[str]:
    """The indented blocks of the docstring of an example: commands, and what is printed."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    indented = re.findall(r"(?:^    .*\n)+", docstring + "\n", re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in indented]
