"""The start of DBOS Transact; runs in an environment of its own."""

# mypy: disable-error-code="import-not-found"
# (starting is found beside the script.)

from __future__ import annotations

from starting import measure

IMPORT = """
import time
began = time.perf_counter()
import dbos
print(time.perf_counter() - began)
"""
INITIALIZE = """
import sys, time
from dbos import DBOS

DBOS(config={
    "name": "bench", "system_database_url": sys.argv[1], "log_level": "ERROR", "run_admin_server": False
})
began = time.perf_counter()
DBOS.launch()
print(time.perf_counter() - began)
DBOS.destroy()
"""

measure({"import": IMPORT, "initialize": INITIALIZE})
