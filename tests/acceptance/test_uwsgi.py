"""The app behind uWSGI, where that is installed; building it takes longer than all these tests."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.curl import send_as_curl_would
from tests.support.stories import EXAMPLES, blocks_of, lines_appear
from tests.support.workers import Workers

UWSGI = shutil.which("uwsgi") or ""


@pytest.mark.skipif(not UWSGI, reason="uwsgi is not installed")
async def test_the_example_for_wsgi_servers_goes_as_told_under_uwsgi(
    workers: Workers, tmp_path: Path
) -> None:
    server = await workers.start_command(
        *("env", "-C", str(tmp_path), UWSGI, "--http-socket", "127.0.0.1:0", "--master", "--processes", "2"),
        *("--enable-threads", "--die-on-term", "--virtualenv", sys.prefix, "--pythonpath", str(EXAMPLES)),
        *("--module", "flask_wsgi:application"),
    )
    port = int((await server.wait_for_line(r"bound to TCP address 127\.0\.0\.1:(\d+)"))[1])
    _, event, printed, question = blocks_of(EXAMPLES / "flask_wsgi.py")
    assert (await send_as_curl_would(event, port)).status == 202
    await lines_appear(server, printed)
    assert json.loads((await send_as_curl_would(question, port)).body) == ["Ada"]
