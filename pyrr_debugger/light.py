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
    from _collections import _tuplegetter

    class _Fields(type):
        def __new__(meta, name, bases, namespace):
            if isinstance(bases[0], meta):
                fields = tuple(namespace.pop("__annotations__"))
                defaults = {field: namespace.pop(field) for field in fields if field in namespace}
                getters = {field: _tuplegetter(at, None) for at, field in enumerate(fields)}
                about = {"__slots__": (), "_fields": fields, "__match_args__": fields, "_field_defaults": defaults}
                namespace = {**namespace, **getters, **about}
            return super().__new__(meta, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Fields):
        """As typing.NamedTuple, in modules with postponed annotations. What that writes as code for each class and
        compiles, which takes longer than to import most modules, these methods do for all."""

        __slots__ = ()

        def __new__(cls, *values, **named):
            lacking = len(cls._fields) - len(values)
            if named or not 0 <= lacking <= len(cls._field_defaults):
                values = cls._complete(values, named)
            elif lacking:
                values += tuple(cls._field_defaults.values())[-lacking:]
            return tuple.__new__(cls, values)

        @classmethod
        def _complete(cls, values, named):
            given = {**cls._field_defaults, **dict(zip(cls._fields, values, strict=False)), **named}
            if len(values) > len(cls._fields) or given.keys() != set(cls._fields):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
            if not named.keys().isdisjoint(cls._fields[: len(values)]):
                raise TypeError(f"{cls.__name__} got a field twice")
            return [given[field] for field in cls._fields]

        def _replace(self, /, **named):
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"

    class suppress:
        """As contextlib.suppress."""

        def __init__(self, *exceptions):
            self._exceptions = exceptions

        def __enter__(self):
            pass

        def __exit__(self, kind, *_):
            return kind is not None and issubclass(kind, self._exceptions)


__all__ = ["NamedTuple", "signal", "suppress"]
