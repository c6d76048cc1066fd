"""The pages about beginning, deploying and operating: what they tell to do has been done here."""

from __future__ import annotations

import configparser
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from edda import EddaApp, exceptions
from tests.support.curl import send_as_curl_would
from tests.support.documents import blocks
from tests.support.eventually import eventually
from tests.support.rows import storage_of
from tests.support.served import serve
from tests.support.workers import PROJECT, Worker, Workers

QUICKSTART = PROJECT / "docs/quickstart.md"
DEPLOYMENT = PROJECT / "docs/deployment.md"
OPERATIONS = PROJECT / "docs/operations.md"
API = PROJECT / "docs/reference/api.md"
ERRORS = PROJECT / "docs/reference/errors.md"


async def _serve_quickstart(workers: Workers, directory: Path, url: str) -> tuple[Worker, int]:
    env = {"DATABASE_URL": url}
    return await serve(workers, "orders:app", app_dir=directory, cwd=directory, env=env)


async def _reaches(status: str, url: str) -> None:
    """Return once an order has this status: what was before it is recorded by then."""
    async with EddaApp("looking", url) as app:

        async def check() -> None:
            assert (await app.find_instances(status=status))["instances"]

        await eventually(check)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_the_quick_start_goes_as_it_says_and_so_do_two_workers(
    database_url: str, workers: Workers, tmp_path: Path
) -> None:
    program, look, _ = blocks(QUICKSTART, "python")
    start, pay, fail = blocks(QUICKSTART, "sh", "curl ")
    (tmp_path / "orders.py").write_text(program)
    (tmp_path / "look.py").write_text(look)

    first, port = await _serve_quickstart(workers, tmp_path, database_url)
    assert (await send_as_curl_would(start, port)).status == 202
    await _reaches("waiting_for_message", database_url)
    await first.kill()
    assert "reserved A-1" in first.output
    second, port = await _serve_quickstart(workers, tmp_path, database_url)
    assert (await send_as_curl_would(pay, port)).status == 202
    await second.wait_for_line("shipped from shelf-7/A-1")
    assert (await send_as_curl_would(fail, port)).status == 202
    await second.wait_for_line("released A-2")
    await _reaches("completed", database_url)
    await _reaches("failed", database_url)
    assert "reserved A-1" not in second.output
    await second.terminate()

    command = ["env", "-C", str(tmp_path), f"PYTHONPATH={tmp_path}:{PROJECT}", sys.executable, "look.py"]
    looking = await workers.start_command(*command, env={"DATABASE_URL": database_url})
    assert await looking.wait() == 0, looking.output
    [shown] = blocks(QUICKSTART, "text")
    assert looking.output.strip() == shown


async def test_the_test_of_the_quick_start_passes(workers: Workers, tmp_path: Path) -> None:
    program, _, test = blocks(QUICKSTART, "python")
    (tmp_path / "orders.py").write_text(program)
    (tmp_path / "test_orders.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), str(tmp_path)]
    process = await workers.start_command(*command, env={"PYTHONPATH": f"{tmp_path}:{PROJECT}"})
    assert await process.wait() == 0, process.output
    assert "2 passed" in process.output


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_the_program_that_migrates_makes_the_schema(
    database_url: str, workers: Workers, tmp_path: Path
) -> None:
    [program] = blocks(DEPLOYMENT, "python")
    (tmp_path / "migrate.py").write_text(program)
    command = [sys.executable, str(tmp_path / "migrate.py")]
    process = await workers.start_command(*command, env={"DATABASE_URL": database_url})
    assert await process.wait() == 0, process.output
    async with EddaApp("shop", database_url, auto_migrate=False):
        pass


def test_the_kubernetes_manifests_fit_together() -> None:
    [manifests] = blocks(DEPLOYMENT, "yaml")
    by_kind: dict[str, Any] = {each["kind"]: each for each in yaml.safe_load_all(manifests)}
    assert set(by_kind) == {"Secret", "Deployment", "Service", "PodDisruptionBudget"}
    deployment = by_kind["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    [container] = deployment["template"]["spec"]["containers"]
    [variable] = container["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    assert deployment["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert container["readinessProbe"]["tcpSocket"]["port"] == container["ports"][0]["name"]
    assert str(container["ports"][0]["containerPort"]) in container["command"]
    assert reference["name"] == by_kind["Secret"]["metadata"]["name"]
    assert reference["key"] in by_kind["Secret"]["stringData"]
    assert variable["name"] in blocks(QUICKSTART, "python")[0]
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > EddaApp.drain_seconds


def test_the_systemd_unit_can_be_read_and_waits_for_the_drain() -> None:
    [unit] = blocks(DEPLOYMENT, "ini")
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(unit)
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert float(parser["Service"]["TimeoutStopSec"]) > EddaApp.drain_seconds
    assert "orders:app" in parser["Service"]["ExecStart"]


async def test_the_queries_for_monitoring_are_answered(database_url: str) -> None:
    queries = blocks(OPERATIONS, "sql")
    assert len(queries) == 5
    async with EddaApp("shop", database_url) as app:
        transaction = storage_of(app).transaction()
        for query in queries:
            if "interval" not in query or database_url.startswith("postgresql"):
                await transaction.session.execute(text(query.rstrip(";")))
        await transaction.rollback()


def _documented(module: str) -> set[str]:
    [section] = re.findall(
        rf"^## `{re.escape(module)}`$(.*?)(?=^## |\Z)", API.read_text(), re.DOTALL | re.MULTILINE
    )
    return set(re.findall(r"`(\w+)`", section))


MODULES = re.findall(r"^## `(edda[\w.]*)`$", API.read_text(), re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_on_the_api_page(module: str) -> None:
    assert set(importlib.import_module(module).__all__) <= _documented(module)


def test_every_module_with_public_names_is_on_the_api_page() -> None:
    documented = set().union(*(set(importlib.import_module(module).__all__) for module in MODULES))
    for path in sorted((PROJECT / "edda").rglob("*.py")):
        names = re.search(r"^__all__ = \[(.*?)\]", path.read_text(), re.DOTALL | re.MULTILINE)
        assert set(re.findall(r'"(\w+)"', names[1] if names else "")) <= documented, path


def test_each_exception_has_its_cause_and_remedy_and_no_other() -> None:
    classes = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == "edda.exceptions"
    }
    sections: list[str] = re.findall(r"^### `(\w+)`$", ERRORS.read_text(), re.MULTILINE)
    assert len(sections) == len(set(sections))
    assert set(sections) == classes
    assert classes <= _documented("edda.exceptions")


async def test_the_site_is_made_without_a_warning(workers: Workers, tmp_path: Path) -> None:
    [command] = re.findall(
        r"^\t\"\$\(PYTHON\)\" (-m sphinx .*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE
    )
    words = [str(tmp_path) if word == "build/site" else word for word in command.split()]
    process = await workers.start_command(sys.executable, *words, "--doctree-dir", str(tmp_path / "doctrees"))
    assert await process.wait() == 0, process.output
    for page in ("index.html", "docs/index.html", "docs/reference/api.html", "docs/howto/sagas.html"):
        assert (tmp_path / page).is_file()
    api = (tmp_path / "docs/reference/api.html").read_text()
    shown = set(re.findall(r'id="edda\.(?:\w+\.)*(\w+)"', api))
    aliases = {"wait_timer", "wait_until"}
    assert {name for module in MODULES for name in importlib.import_module(module).__all__} - aliases <= shown
