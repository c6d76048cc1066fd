"""A function that compensates: the name it is stored by, and the arguments it is going to get."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import Parameter
from typing import Any

from pydantic import BaseModel

from edda.codec.binding import FunctionCodec
from edda.codec.signatures import signature_of
from edda.codec.values import Encoded
from edda.references import reference_of
from edda.registrations import Registered

logger = logging.getLogger(__name__)

ATTRIBUTE = "_edda_on_failure"
"""Where ``@on_failure`` below ``@activity`` leaves what the activity is to register."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Compensator:
    """A function, or the activity made of it, that can be registered as a compensation.

    Raises ``TypeError`` for what could never be called as one.
    """

    def __init__(self, target: Callable[..., Any], *, func: Callable[..., Any]) -> None:
        if isinstance(func, functools.partial) or not inspect.isroutine(func):
            raise TypeError(f"a compensation is a function or an activity, not {target!r}")
        self.target = target
        self.name: str = func.__name__
        self.reference = reference_of(func)
        self.codec = FunctionCodec(func)
        parameters = list(signature_of(func).parameters.values())
        if not parameters or parameters[0].kind not in (*_POSITIONAL, Parameter.VAR_POSITIONAL):
            raise TypeError(f"compensation {self.name}() has no parameter for the context")

    def check_takes_names(self) -> None:
        """Raise ``TypeError`` if a required parameter cannot be given by its name."""
        for parameter in list(signature_of(self._func).parameters.values())[1:]:
            if parameter.kind is Parameter.POSITIONAL_ONLY and parameter.default is Parameter.empty:
                raise TypeError(
                    f"compensation {self.name}() takes {parameter.name!r} by position only, "
                    "and arguments of an activity have names"
                )

    @property
    def _func(self) -> Callable[..., Any]:
        func: Callable[..., Any] = getattr(self.target, "func", self.target)
        return func

    def registered(self, compensation_id: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Registered:
        """A registered call; raises ``TypeError`` for arguments that do not fit, or cannot be stored."""
        self.codec.check_call(args, kwargs)
        return self._registered(compensation_id, args, kwargs)

    def _registered(self, compensation_id: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Registered:
        call = self.codec.dump_call(args, kwargs)
        return Registered(compensation_id, self.reference, self.name, call, self.target)

    def registered_after(
        self, compensation_id: int, activity: FunctionCodec, stored_input: Encoded, result: Any
    ) -> Registered:
        """The registration that follows from an activity: its arguments, and over them its result.

        What the function takes by name is passed. Should a required parameter have no
        value, that fails the compensation, not the activity, whose effect has happened.
        """
        args, kwargs = activity.load_call(stored_input)
        known = {**activity.bound(args, kwargs), **_named_parts(result)}
        chosen = self.codec.select(known)
        if not self.codec.accepts((), chosen):
            logger.warning(
                "Compensation %s() cannot be called with what its activity provides (%s), and will fail",
                self.name,
                ", ".join(sorted(known)) or "nothing",
            )
        return self._registered(compensation_id, (), chosen)


def _named_parts(result: Any) -> dict[str, Any]:
    """The keys of a dict, the fields of a model or a dataclass; any other value has none."""
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if isinstance(key, str)}
    if isinstance(result, BaseModel):
        return dict(result)
    if is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in fields(result)}
    return {}
