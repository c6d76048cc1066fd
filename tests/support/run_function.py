"""Runs one function of a module with texts as arguments: the main program of workers."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys


def main(target: str, *arguments: str) -> None:
    """Call ``module:function`` and, if it is a coroutine function, run it to its end."""
    module_name, _, function_name = target.partition(":")
    function = getattr(importlib.import_module(module_name), function_name)
    if inspect.iscoroutinefunction(function):
        asyncio.run(function(*arguments))
    else:
        function(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
