"""The shape of the code: limits and habits that a reviewer should not have to watch."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support import code_shape
from tests.support.code_shape import PROJECT, sources

ALL_CODE = ("edda", "alembic", "tests", "benchmarks", "examples")

# Packages that functions may import: reason.
IMPORTED_LATE = {
    "alembic": "slow to import, and not needed when the schema is current",
    "asyncpg": "an optional driver",
    "aiomysql": "an optional driver",
    "psutil": "an optional extra",
    "httpx2": "slow to import, and only for those who send events",
    "a2wsgi": "only behind a WSGI server",
}

# Modules that others import as a whole from the root: reason.
IMPORTED_FROM_ROOT = {
    "clock": "tests move the time by replacing its functions, which copies of them would not see",
}

# Modules without a test file of their own: reason.
WITHOUT_TESTS = {
    "storage/message_writes.py": "frozen writes without behaviour",
    "storage/models.py": "tables only; tests/migration compares them with what the migrations make",
    "storage/protocol.py": "a Protocol; the type checker compares its implementation with it",
    "storage/records.py": "frozen rows without behaviour",
    "storage/upkeep_writes.py": "frozen writes without behaviour",
    "storage/writes.py": "frozen writes without behaviour",
    "storage/writes_outbox.py": "frozen writes without behaviour",
    "testing/inspecting.py": "what it finds is asserted through tests/testing/test_surroundings.py",
    "testing/mortal_worker.py": "tests/proof and tests/testing/test_crashing.py are about its deaths",
    "testing/stillness.py": "every test in tests/testing/test_surroundings.py rests on it",
}

# Test files that sleep: reason.
SLEEPING = {
    "tests/support/eventually.py": "the place where waiting is implemented",
    "tests/support_tests/worker_programs.py": "a worker that takes its time between the lines it prints",
}


def nothing(findings: Iterable[str]) -> None:
    found = list(findings)
    assert not found, "\n".join(found)


def test_no_file_is_longer_than_400_lines() -> None:
    nothing(finding for source in sources(*ALL_CODE) for finding in code_shape.too_long(source, 400))


def test_no_function_body_is_longer_than_50_lines() -> None:
    nothing(finding for source in sources(*ALL_CODE) for finding in code_shape.long_bodies(source, 50))


def test_the_package_prints_nothing() -> None:
    nothing(finding for source in sources("edda") for finding in code_shape.prints(source))


def test_the_package_imports_at_the_top_of_its_files() -> None:
    nothing(
        finding
        for source in sources("edda")
        for finding in code_shape.imports_in_functions(source, IMPORTED_LATE)
    )


def test_the_package_imports_names_from_their_modules() -> None:
    nothing(
        finding
        for source in sources("edda")
        if source.path != "edda/__init__.py"
        for finding in code_shape.root_imports(source, IMPORTED_FROM_ROOT)
    )


def test_every_file_postpones_its_annotations() -> None:
    nothing(
        finding for source in sources(*ALL_CODE) for finding in code_shape.lacks_future_annotations(source)
    )


def test_tests_wait_for_something_and_not_for_time() -> None:
    nothing(
        finding
        for source in sources("tests")
        if source.path not in SLEEPING
        for finding in code_shape.sleeps(source)
    )


def test_every_module_has_its_test_file() -> None:
    nothing(code_shape.untested_modules(exempt=WITHOUT_TESTS))


def test_the_exemptions_are_still_needed() -> None:
    exempt = [*(f"edda/{module}" for module in WITHOUT_TESTS), *SLEEPING]
    nothing(path for path in exempt if not (PROJECT / path).exists())


def test_the_folder_of_the_migrations_does_not_hide_the_installed_package() -> None:
    nothing(str(path) for path in (PROJECT / "alembic").rglob("__init__.py"))
