"""The start of edda, and of edda-framework, which has the same names; each brings its own ``edda``."""

# mypy: disable-error-code="import-not-found"
# (starting is found beside the script.)

from __future__ import annotations

from starting import measure

IMPORT = """
import time
began = time.perf_counter()
import edda
print(time.perf_counter() - began)
"""
INITIALIZE = """
import asyncio, logging, sys, time
from edda import EddaApp

async def main():
    app = EddaApp(service_name="bench", db_url=sys.argv[1])
    began = time.perf_counter()
    await app.initialize()
    print(time.perf_counter() - began)
    await app.shutdown()

logging.disable(logging.WARNING)
asyncio.run(main())
"""

measure({"import": IMPORT, "initialize": INITIALIZE})
