"""What the distributions hold, and what works where only the wheel and what it requires is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.workers import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
WHEEL = f"edda_durable-{PYPROJECT['version']}-py3-none-any.whl"
REVISIONS = sorted(path.name for path in (PROJECT / "alembic/versions").glob("*.py"))
OPTIONAL = ("asyncpg", "aiomysql", "uvicorn", "nats", "psutil", "pytest")

A_WORKFLOW = """
import asyncio
from edda import EddaApp, WorkflowContext, activity, workflow

@activity
async def greet(ctx: WorkflowContext, name: str) -> str:
    return "hello " + name

@workflow
async def greeting(ctx: WorkflowContext, name: str) -> str:
    return await greet(ctx, name)

async def main() -> None:
    async with EddaApp("packaged", "sqlite:///packaged.db") as app:
        instance_id = await greeting.start(name="Ada")
        print((await app.storage.get_instance(instance_id))["output_data"])

asyncio.run(main())
"""

MISSING_DRIVERS = """
import asyncio
from edda import EddaApp

async def main() -> None:
    for url in ("postgresql://localhost/x", "mysql://localhost/x"):
        try:
            await EddaApp("packaged", url).initialize()
        except Exception as error:
            print(error)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source distribution of this checkout."""
    directory = tmp_path_factory.mktemp("dist")
    _build(PROJECT, directory)
    return directory


def _build(source: Path, directory: Path, *options: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory), *options]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what its metadata require, and nothing else."""
    directory = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    [packages] = directory.glob("lib/python*/site-packages")
    with zipfile.ZipFile(built / WHEEL) as wheel:
        wheel.extractall(packages)  # noqa: S202 - just built
    for requirement in PYPROJECT["dependencies"]:
        _link_with_dependencies(Requirement(requirement), packages, set())
    return directory / "bin/python"


def _link_with_dependencies(requirement: Requirement, packages: Path, done: set[tuple[str, ...]]) -> None:
    """Make an installed distribution, and what it requires, visible in another environment."""
    key = (requirement.name, *sorted(requirement.extras))
    if key in done:
        return
    done.add(key)
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return  # left out on this platform by the requirement of somebody in between
    _link(found, packages)
    for text in found.requires or ():
        needed = Requirement(text)
        extras = requirement.extras or {""}
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
            _link_with_dependencies(needed, packages, done)


def _link(found: Distribution, packages: Path) -> None:
    for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
        link = packages / top
        if not link.exists():
            link.symlink_to(Path(str(found.locate_file(top))))


def _run(python: Path, code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-I", "-c", code], cwd=directory, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_the_package_its_migrations_and_nothing_else(built: Path) -> None:
    names = zipfile.ZipFile(built / WHEEL).namelist()
    assert (
        sorted(Path(name).name for name in names if name.startswith("edda/_alembic/versions/")) == REVISIONS
    )
    assert {"edda/py.typed", "edda/_alembic/env.py", "edda/_alembic/script.py.mako"} <= set(names)
    assert {name.split("/")[0] for name in names} == {
        "edda",
        WHEEL.removesuffix("-py3-none-any.whl") + ".dist-info",
    }
    assert not any("__pycache__" in name for name in names)


def test_the_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    for name in (
        "tests/test_packaging.py",
        "docs/index.md",
        "examples/demo.py",
        "CHANGELOG.md",
        "SECURITY.md",
    ):
        assert (unpacked / name).is_file()
    _build(unpacked, tmp_path / "again", "--target", "wheel")
    again = zipfile.ZipFile(tmp_path / "again" / WHEEL)
    assert again.namelist() == zipfile.ZipFile(built / WHEEL).namelist()


def test_it_imports_without_any_extra_and_knows_its_version(python: Path, tmp_path: Path) -> None:
    found = f"[name for name in {OPTIONAL} if importlib.util.find_spec(name)]"
    process = _run(python, f"import importlib.util, edda; print(edda.__version__, {found})", tmp_path)
    assert process.stdout.strip() == f"{PYPROJECT['version']} []", process.stderr


def test_a_workflow_runs_on_sqlite_with_the_migrations_of_the_wheel(python: Path, tmp_path: Path) -> None:
    process = _run(python, A_WORKFLOW, tmp_path)
    assert process.stdout.strip() == "{'result': 'hello Ada'}", process.stderr


def test_the_extra_that_a_url_needs_is_named(python: Path, tmp_path: Path) -> None:
    process = _run(python, MISSING_DRIVERS, tmp_path)
    assert process.stdout.splitlines() == [
        "The driver asyncpg for postgresql+asyncpg is not installed: pip install 'edda-durable[postgresql]'",
        "The driver aiomysql for mysql+aiomysql is not installed: pip install 'edda-durable[mysql]'",
    ], process.stderr
    process = _run(python, "import edda.outbox.nats", tmp_path)
    assert process.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: edda.outbox.nats needs nats-py, which is not installed: "
        "pip install 'edda-durable[nats]'"
    )


def test_the_changelog_keeps_its_form() -> None:
    headings = re.findall(r"^(##+) (.*)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    releases = [title for level, title in headings if level == "##"]
    kinds = {title for level, title in headings if level == "###"}
    assert releases[0] == "Unreleased"
    assert all(re.fullmatch(r"\[?\d+\.\d+\.\d+\]? - \d{4}-\d\d-\d\d", title) for title in releases[1:])
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
