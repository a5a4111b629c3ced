"""What the modules that a recording imports take from `typing`, `contextlib` and `signal`, without importing these.

`typing` brings `re` along and takes as long to import as Python takes to start, the others with `enum` and `functools`
a third of that; a recording has little of them. Type checkers see the real names. docs/performance.md, "Start-up".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from contextlib import suppress
    from typing import NamedTuple
else:
    import _signal as signal  # its functions and numbers, without the enumerations around them
    from collections import namedtuple

    class _Fields(type):
        def __new__(meta, name, bases, namespace):
            if not bases:
                return super().__new__(meta, name, bases, namespace)
            fields = list(namespace.pop("__annotations__"))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            base = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            return type(name, (base,), {**namespace, "__slots__": ()})

    class NamedTuple(metaclass=_Fields):
        """As typing.NamedTuple, in modules with postponed annotations."""

    class suppress:
        """As contextlib.suppress."""

        def __init__(self, *exceptions):
            self._exceptions = exceptions

        def __enter__(self):
            pass

        def __exit__(self, kind, *_):
            return kind is not None and issubclass(kind, self._exceptions)


__all__ = ["NamedTuple", "signal", "suppress"]
