"""How many due instances one cycle takes at most: a number, what is ready, or by the load of the machine."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edda.clock import monotonic

logger = logging.getLogger(__name__)

MOST = 100
FEWEST = 10
# Below so many percent of the processors in use, so many instances.
_BY_LOAD = ((30.0, MOST), (50.0, 50), (70.0, 20))
# Over a shorter time the load of the processors says little.
_MEASURED_FOR_SECONDS = 1.0

BatchSize = Callable[[], int]


def batch_size(setting: int | str) -> BatchSize:
    """What ``max_workflows_per_batch`` means: asked anew before each cycle."""
    if isinstance(setting, int):
        return lambda: setting
    # A claim counts by itself: it takes those that are ready, however many there are up to this.
    return BatchByLoad() if setting == "auto:cpu" else lambda: MOST


class BatchByLoad:
    """The busier the processors of the machine, the smaller the batch; needs psutil."""

    def __init__(self) -> None:
        self._percent = _load_meter()
        self._measured_at = monotonic()
        self._size = FEWEST

    def __call__(self) -> int:
        """The size by the load since it was measured last."""
        if self._percent is not None and monotonic() - self._measured_at >= _MEASURED_FOR_SECONDS:
            self._measured_at = monotonic()
            percent = self._percent()
            self._size = next((size for below, size in _BY_LOAD if percent < below), FEWEST)
        return self._size


def _load_meter() -> Callable[[], float] | None:
    """What tells the load in percent since it was called last; None without psutil."""
    try:
        import psutil  # noqa: PLC0415 - an optional extra
    except ImportError:
        logger.warning(
            "max_workflows_per_batch='auto:cpu' needs psutil, which is not installed (the extra 'cpu'); "
            "at most %d instances are picked up at once",
            FEWEST,
        )
        return None
    psutil.cpu_percent(None)  # the first answer means nothing
    percent: Callable[[], float] = psutil.cpu_percent
    return percent
