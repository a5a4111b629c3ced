"""What the modules that a recording imports take from `typing`, without importing it.

`typing` brings `re` along and takes as long to import as Python takes to start; a recording has nothing else of it than
NamedTuple. Type checkers see the real names. docs/performance.md, "Start-up".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
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


__all__ = ["NamedTuple"]
