"""Importable exceptions of many makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


class Declined(Exception):
    """Its constructor takes other arguments than it passes on."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"declined: {reason}")
        self.code = code
        self.reason = reason


class DeclinedByBank(Declined, LookupError):
    def __str__(self) -> str:
        return f"bank says {self.code}"


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Unreachable(ConnectionError):
    """An OSError with a constructor of its own."""

    def __init__(self, host: str) -> None:
        super().__init__(111, f"cannot reach {host}")
        self.host = host


@dataclass
class Described(Exception):
    code: int
    text: str = "x"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Closed(Exception):
    """Neither its constructor nor its attributes take anything from outside."""

    def __new__(cls, *args: Any) -> Self:
        if args != ("secret",):
            raise TypeError("closed")
        return super().__new__(cls, *args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("closed")


class Group(ExceptionGroup[Exception]):
    def derive(self, excs: Any) -> Any:
        return Group(self.message, excs)
