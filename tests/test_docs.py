"""What the documentation says works: its code, its commands, its links, its docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.curl import ADDRESS, send_as_curl_would
from tests.support.documents import DOCUMENTS, blocks, headings, local_links
from tests.support.eventually import eventually
from tests.support.served import completed, serve
from tests.support.workers import PROJECT, Workers

README = PROJECT / "README.md"
EXAMPLE = PROJECT / "examples" / "order_saga.py"


def _readme_block(language: str, beginning: str = "") -> str:
    [block] = blocks(README, language, beginning)
    return block


def _curls_of_example() -> list[str]:
    docstring = ast.get_docstring(ast.parse(EXAMPLE.read_text())) or ""
    commands: list[str] = re.findall(r"^    (curl .*?)\n\n", docstring, re.DOTALL | re.MULTILINE)
    return commands


async def _run_curl(workers: Workers, command: str, port: int) -> int:
    """The command exactly as it stands, apart from where its connection leads."""
    redirected = command.replace("curl ", f"curl --silent --connect-to {ADDRESS}:127.0.0.1:{port} ", 1)
    curl = await workers.start_command("sh", "-c", redirected)
    assert await curl.wait() == 0, curl.output
    status = re.match(r"HTTP/1\.1 (\d+)", curl.output)
    assert status is not None, curl.output
    return int(status[1])


async def _send_without_curl(workers: Workers, command: str, port: int) -> int:
    return (await send_as_curl_would(command, port)).status


SENDERS = [
    pytest.param(
        _run_curl,
        id="curl",
        marks=pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed"),
    ),
    pytest.param(_send_without_curl, id="without curl"),
]


async def _serve_example(workers: Workers, directory: Path) -> int:
    env = {"EDDA_STEP_SECONDS": "0"}
    _, port = await serve(workers, "order_saga:app", app_dir=EXAMPLE.parent, cwd=directory, env=env)
    return port


async def _results(database: Path, count: int) -> list[Any]:
    def check() -> list[Any]:
        results = list(completed(database, "order_saga").values())
        assert len(results) == count
        return results

    return await eventually(check)


@pytest.mark.parametrize("send", SENDERS)
async def test_the_request_of_the_readme_starts_a_workflow_of_the_example(
    workers: Workers, tmp_path: Path, send: Callable[..., Any]
) -> None:
    port = await _serve_example(workers, tmp_path)
    assert await send(workers, _readme_block("sh", "curl "), port) == 202
    [result] = await _results(tmp_path / "order_saga.db", 1)
    assert result["order_id"] == "o-1001"


async def test_the_requests_in_the_example_start_a_workflow_each(workers: Workers, tmp_path: Path) -> None:
    port = await _serve_example(workers, tmp_path)
    commands = _curls_of_example()
    for command in commands:
        assert await _send_without_curl(workers, command, port) == 202
    results = await _results(tmp_path / "order_saga.db", 3)
    assert sorted(result["order_id"] for result in results) == ["o-1001", "o-1002", "o-1003"]


async def test_the_code_of_the_readme_is_an_app_that_completes_its_workflow(
    workers: Workers, tmp_path: Path
) -> None:
    (tmp_path / "orders.py").write_text(_readme_block("python"))
    _, port = await serve(workers, "orders:app", app_dir=tmp_path, cwd=tmp_path)
    assert await _send_without_curl(workers, _readme_block("sh", "curl "), port) == 202
    [result] = await _results(tmp_path / "orders.db", 1)
    assert result == {"reservation": "reservation-o-1001", "payment": "payment-o-1001"}


def test_the_commands_of_the_documents_are_in_the_makefile() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    broken = []
    for link in local_links(document):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (heading and heading not in headings(target)):
            broken.append(link)
    assert broken == []


def _modules_with_examples() -> list[str]:
    paths = sorted((PROJECT / "edda").rglob("*.py"))
    return [
        path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in paths
        if ">>> " in path.read_text()
    ]


@pytest.mark.parametrize("name", _modules_with_examples())
def test_the_examples_in_docstrings_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("edda.workflow"), "_registry", {})
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize("guide", sorted(PROJECT.glob("docs/howto/*.md")), ids=lambda path: path.stem)
async def test_the_program_of_a_guide_prints_what_the_guide_says(
    guide: Path, tmp_path: Path, workers: Workers
) -> None:
    parts: list[tuple[str, str]] = re.findall(
        r"^```(python|text)\n(.*?)^```$", guide.read_text(), re.DOTALL | re.MULTILINE
    )
    program = tmp_path / "guide.py"
    program.write_text("\n".join(text for language, text in parts if language == "python"))
    process = await workers.start_command(sys.executable, str(program))

    assert await process.wait() == 0, process.output
    for language, text in parts:
        assert language == "python" or text.strip() in process.output
