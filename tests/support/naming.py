"""Names of test cases that are the same in every process, as running them in several asks for."""

from __future__ import annotations

import re


def case_name(value: object) -> str:
    """The ``repr`` of a parameter, without addresses and with sets in order."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
