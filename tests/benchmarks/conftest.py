"""The contenders' scripts find each other in their folder, and so do the tests of their modules."""

from __future__ import annotations

import sys

from benchmarks.measurement import CONTENDERS

sys.path.append(str(CONTENDERS))
