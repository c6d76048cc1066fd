"""Stack traces for people: the frames of their code, in a text of bounded length."""

from __future__ import annotations

import os
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_MAX_FRAMES = 200
_MAX_LENGTH = 16 * 1024
# The beginning says how it was called, the end what went wrong; the end matters more.
_HEAD = 2 * 1024


def message_of(error: BaseException) -> str:
    """The message of an exception, also of one whose ``__str__`` fails.

    >>> message_of(ValueError("no"))
    'no'
    """
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken error class must not hide that there was an error
        return f"<{type(error).__qualname__} without a message: its __str__ failed>"


def format_error(error: BaseException) -> str:
    """The traceback as Python shows it, without the library's own frames, cut in the middle when long."""
    summary = TracebackException.from_exception(error, limit=-_MAX_FRAMES, compact=True)
    _drop_own_frames(summary)
    text = "".join(summary.format())
    if len(text) <= _MAX_LENGTH:
        return text
    tail = _MAX_LENGTH - _HEAD
    left_out = len(text) - _MAX_LENGTH
    return f"{text[:_HEAD]}\n... [{left_out} characters left out] ...\n{text[-tail:]}"


def _drop_own_frames(summary: TracebackException) -> None:
    related = (summary.__cause__, summary.__context__, *(summary.exceptions or ()))
    for each in related:
        if each is not None:
            _drop_own_frames(each)
    summary.stack = StackSummary.from_list([frame for frame in summary.stack if not _is_own(frame)])


def _is_own(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_PACKAGE)
