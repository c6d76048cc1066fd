"""Two servers of the example on one PostgreSQL: the second goes on where the first was killed."""

from __future__ import annotations

import re
import sys

import pytest

from tests.support.curl import send_as_curl_would
from tests.support.stories import EXAMPLES, READY, blocks_of, lines_appear
from tests.support.workers import Worker, Workers


async def _serve(workers: Workers, database_url: str) -> tuple[Worker, int]:
    command = (sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "two_workers:app")
    environment = {"EDDA_DB_URL": database_url, "EDDA_STREET_SECONDS": "0.2"}
    server = await workers.start_command(*command, env=environment)
    return server, int((await server.wait_for_line(READY))[1])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_one_takes_over_when_the_other_is_killed(database_url: str, workers: Workers) -> None:
    blocks = blocks_of(EXAMPLES / "two_workers.py")
    [event] = [block for block in blocks if block.startswith("curl ")]
    first_lines, _, last_line = [block for block in blocks if block.startswith("[process ")]
    first, port = await _serve(workers, database_url)
    second, _ = await _serve(workers, database_url)
    assert (await send_as_curl_would(event, port)).status == 202
    await lines_appear(first, first_lines)
    await first.kill()
    await lines_appear(second, last_line)
    done = [int(number) for number in re.findall(r"p-1: (\d+) of 20 streets", second.output)]
    assert done[0] >= 2  # the second street may have been printed and not yet recorded
    assert done == list(range(done[0], 21))
    await workers.close()
