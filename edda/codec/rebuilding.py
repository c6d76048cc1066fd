"""Exceptions taken apart and put together again, past their own constructors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

_HEAP_TYPE = 1 << 9
# Attributes that built-in exceptions keep outside of args and __dict__.
_HIDDEN_ATTRIBUTES: dict[type[BaseException], tuple[str, ...]] = {
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}


def complete_args(error: BaseException) -> tuple[Any, ...]:
    """The arguments from which :func:`new_error` makes the exception again.

    >>> complete_args(FileNotFoundError(2, "No such file", "a.txt"))
    (2, 'No such file', 'a.txt')
    """
    if isinstance(error, ValidationError):
        return error.title, [_line(details) for details in error.errors(include_url=False)]
    if isinstance(error, BaseExceptionGroup):
        return (error.message,)
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == _ERRNO_AND_TEXT:
        second = () if error.filename2 is None else (None, error.filename2)
        return (*error.args, error.filename, *second)
    return error.args


_ERRNO_AND_TEXT = 2


def attributes_of(error: BaseException) -> dict[str, Any]:
    """What the exception holds besides its arguments, by name."""
    names = [*vars(error), *_slots(type(error))]
    for base, hidden in _HIDDEN_ATTRIBUTES.items():
        if isinstance(error, base):
            names += [name for name in hidden if getattr(error, name) is not None]
    return {name: getattr(error, name) for name in names if _is_plain_name(name) and hasattr(error, name)}


def _slots(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _is_plain_name(name: str) -> bool:
    return "/" not in name and "~" not in name and not (name.startswith("__") and name.endswith("__"))


def set_attribute(error: BaseException, name: str, value: Any) -> None:
    """Give the exception an attribute; one that its class no longer allows is left out."""
    if _is_plain_name(name):
        # Not through the class's own __setattr__, which is code of the user.
        with contextlib.suppress(AttributeError, TypeError):
            object.__setattr__(error, name, value)


def new_error(cls: type[BaseException], args: Sequence[Any]) -> BaseException:
    """An exception of the class with these arguments; only code of built-in classes runs.

    >>> class Declined(Exception):
    ...     def __init__(self, code, text): super().__init__(f"{code}: {text}")
    >>> new_error(Declined, ("51: no money",))
    Declined('51: no money')
    """
    if cls is ValidationError:
        return _new_validation_error(*args)
    error: BaseException = _built_in(cls, "__new__")(cls, *args)
    _built_in(cls, "__init__")(error, *args)
    return error


def _built_in(cls: type, name: str) -> Callable[..., Any]:
    owner = next(base for base in cls.__mro__ if name in vars(base) and not base.__flags__ & _HEAP_TYPE)
    method: Callable[..., Any] = getattr(owner, name)
    return method


# pydantic's error keeps its lines in native code. The exception that a validator of the user
# raised is in the context of its line; its text is kept, not its class.

_RAISED_BY_VALIDATORS = {"value_error": ValueError, "assertion_error": AssertionError}


def _line(details: Any) -> dict[str, Any]:
    line = {key: details[key] for key in ("type", "loc", "msg", "input")}
    if "ctx" in details:
        line["ctx"] = {
            name: str(item) if isinstance(item, Exception) else item for name, item in details["ctx"].items()
        }
    return line


def _new_validation_error(title: str, lines: list[dict[str, Any]]) -> ValidationError:
    return ValidationError.from_exception_data(title, [_init_details(line) for line in lines])


def _init_details(line: dict[str, Any]) -> InitErrorDetails:
    kind = line["type"]
    details = InitErrorDetails(type=kind, loc=tuple(line["loc"]), input=line["input"])
    if "ctx" in line:
        raised = _RAISED_BY_VALIDATORS.get(kind)
        details["ctx"] = line["ctx"] if raised is None else {"error": raised(line["ctx"]["error"])}
    try:
        (checked,) = ValidationError.from_exception_data("", [details]).errors(include_url=False)
        if checked["msg"] == line["msg"]:
            return details
    except (KeyError, TypeError, ValueError):  # a kind of the user's own
        pass
    details["type"] = PydanticCustomError(kind, line["msg"])
    details.pop("ctx", None)
    return details
