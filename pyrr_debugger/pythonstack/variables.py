"""The variables of Python frames, and what they hold, read from memory: nothing is executed, no `__repr__` is called.

What is of a built-in type is shown as Python shows it; of any other object its type and its attributes are shown.
Nothing that is read is trusted: a Reader's budget bounds the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .layouts import Layout
from .memory import Reader, UnreadableError

_POINTER = 8
_TYPE, _SIZE = 8, 16  # ob_type, ob_size

# PyTypeObject, the same from 3.8 to 3.14
_TP_NAME, _TP_BASICSIZE, _TP_ITEMSIZE, _TP_FLAGS, _TP_DICT, _TP_DICTOFFSET, _TP_MRO = 24, 32, 40, 168, 264, 288, 344
_INLINE_VALUES, _MANAGED_DICT, _HEAP_TYPE = 1 << 2, 1 << 4, 1 << 9
_LONG, _LIST, _TUPLE, _BYTES, _UNICODE, _DICT, _EXCEPTION, _CLASS = (1 << bit for bit in range(24, 32))

# Other objects, the same from 3.8 to 3.14
_FLOAT, _CELL, _MODULE_DICT, _MEMBER_DEF, _EXCEPTION_ARGS = 16, 16, 16, 40, 24
_LIST_ITEMS, _DIGITS = 24, 24
_DICT_KEYS, _DICT_VALUES = 32, 40
_SET_MASK, _SET_TABLE = 32, 40
_TB_NEXT, _TB_FRAME, _TB_LASTI = 16, 24, 32
_FRAME_OF_OBJECT = 24
_CODE_VARNAMES, _CODE_FREEVARS, _CODE_CELLVARS = 72, 80, 88
_FUNCTION_CODE, _METHOD_FUNCTION = (16, 48), 16
_OF_SLOTS = 16  # T_OBJECT_EX, Include/structmember.h
_OPTIMIZED, _VARARGS, _VARKEYWORDS = 1, 4, 8  # code flags
_CELL_OR_FREE = 0xC0
_HIDDEN = 0x10
# Low bits of a _PyStackRef (Include/internal/pycore_stackref.h, 3.14): the first alone, a reference that is not
# counted; both, no pointer. Objects are aligned, so that up to 3.13 none is set.
_UNCOUNTED, _NO_POINTER = 1, 3

_LONGEST_NAME = 1 << 10
_MOST_ITEMS = 1 << 20
_LARGEST_INTEGER_DIGITS = 500  # of 30 bits
_DEPTH, _SHOWN_ITEMS, _SHOWN_CHARACTERS = 4, 50, 2000
_ENCODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


@dataclass(frozen=True)
class ObjectLayout:
    """Where one minor version keeps what variables are read from; offsets in bytes."""

    interpreter_sysdict: int
    thread_exc_info: int
    exc_value: int
    """In _PyErr_StackItem; up to 3.10 the traceback follows it, from 3.11 on the exception has it."""
    frame_variables: int
    """localsplus"""
    frame_locals: int
    frame_globals: int
    frame_builtins: int
    code_flags: int
    code_argcount: int
    code_kwonlyargcount: int
    code_names: int | None
    """co_localsplusnames from 3.11 on, with co_localspluskinds behind it"""
    exception_traceback: int
    cached_keys: int
    """ht_cached_keys"""
    function_name: int
    values_start: int
    """Of PyDictValues: before 3.13 it is an array without a head."""
    tuple_items: int
    compact_keys: bool
    """3.11 and later: PyDictKeysObject with logarithms of its sizes."""
    tagged_long: bool
    """3.12 and later: the sign is in lv_tag."""


_OLD = ObjectLayout(
    interpreter_sysdict=872,
    thread_exc_info=144,
    exc_value=8,
    frame_variables=360,
    frame_locals=56,
    frame_globals=48,
    frame_builtins=40,
    code_flags=36,
    code_argcount=16,
    code_kwonlyargcount=24,
    code_names=None,
    exception_traceback=32,
    cached_keys=872,
    function_name=64,
    values_start=0,
    tuple_items=24,
    compact_keys=False,
    tagged_long=False,
)
_NEW = ObjectLayout(
    interpreter_sysdict=352,
    thread_exc_info=104,
    exc_value=0,
    frame_variables=72,
    frame_locals=40,
    frame_globals=24,
    frame_builtins=32,
    code_flags=48,
    code_argcount=52,
    code_kwonlyargcount=60,
    code_names=96,
    exception_traceback=40,
    cached_keys=880,
    function_name=32,
    values_start=0,
    tuple_items=24,
    compact_keys=True,
    tagged_long=True,
)


OBJECT_LAYOUTS: dict[tuple[int, int], ObjectLayout] = {
    (3, 8): replace(_OLD, interpreter_sysdict=72),
    (3, 9): replace(_OLD, cached_keys=864),
    (3, 10): replace(_OLD, frame_variables=352, function_name=32),
    (3, 11): replace(
        _NEW,
        interpreter_sysdict=904,
        thread_exc_info=120,
        frame_locals=24,
        frame_globals=8,
        frame_builtins=16,
        code_argcount=56,
        code_kwonlyargcount=64,
        cached_keys=872,
        tagged_long=False,
    ),
    (3, 12): _NEW,
    (3, 13): replace(_NEW, interpreter_sysdict=7640, thread_exc_info=120, values_start=8),
    (3, 14): replace(
        _NEW, interpreter_sysdict=7672, thread_exc_info=120, frame_variables=80, values_start=8, tuple_items=32
    ),
}
"""By (major, minor)."""


class Shown:
    """What stands for an object that Python cannot show here: it prints as a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


@dataclass(frozen=True)
class Value:
    """An object, and who reads it."""

    address: int
    variables: Variables

    def decoded(self, depth: int = _DEPTH) -> Any:
        """A Python object that prints as this one does: itself, if it is of built-in types, else a Shown."""
        return self.variables.decoded(self.address, depth)

    def __str__(self) -> str:
        try:
            return repr(self.decoded())
        except (UnreadableError, RecursionError) as error:
            return f"<unreadable: {error}>"

    @property
    def type_name(self) -> str:
        """The name of its class."""
        return self.variables.type_of(self.address).name

    def attribute(self, name: str) -> Value | None:
        """An attribute that the object itself has: in its `__dict__` or a slot; of a module, a name; of a class,
        what it or a base defines."""
        return self.variables.attributes(self.address).get(name)

    def item(self, key: Any) -> Value | None:
        """An item of a dict, list or tuple."""
        return self.variables.item(self.address, key)


@dataclass(frozen=True)
class _Type:
    address: int
    name: str
    flags: int
    basic_size: int
    item_size: int
    dict_offset: int


class Variables:
    """Reads variables and objects; remembers types, so it is good for one stop of the process only."""

    def __init__(self, reader: Reader, layout: Layout, objects: ObjectLayout) -> None:
        self.layout = objects
        self._reader = reader
        self._stack = layout
        self._types: dict[int, _Type] = {}

    # Frames

    def local_variables(self, frame: int, code: int) -> dict[str, Value]:
        """The local variables of a frame that have a value, arguments first; of a module, its globals."""
        flags = self._reader.unsigned(code + self.layout.code_flags, 4)
        if not flags & _OPTIMIZED:
            mapping = self._pointer(frame + self.layout.frame_locals)
            return self.dictionary(mapping) if mapping else {}
        return dict(self._fast_variables(frame, code))

    def arguments(self, frame: int, code: int) -> dict[str, Value]:
        """Those of the local variables that are arguments."""
        flags = self._reader.unsigned(code + self.layout.code_flags, 4)
        count = self._reader.signed(code + self.layout.code_argcount)
        count += self._reader.signed(code + self.layout.code_kwonlyargcount)
        count += bool(flags & _VARARGS) + bool(flags & _VARKEYWORDS)
        names = [name for name, _ in self._names(code)[:count]]
        present = self.local_variables(frame, code)
        return {name: present[name] for name in names if name in present}

    def global_variables(self, frame: int) -> dict[str, Value]:
        """The global names of a frame's module."""
        return self.dictionary(self._pointer(frame + self.layout.frame_globals))

    def builtins(self, frame: int) -> dict[str, Value]:
        """The built-in names of a frame."""
        return self.dictionary(self._pointer(frame + self.layout.frame_builtins))

    def _fast_variables(self, frame: int, code: int) -> Iterator[tuple[str, Value]]:
        for index, (name, kind) in enumerate(self._names(code)):
            address = self._held(frame + self.layout.frame_variables + _POINTER * index)
            if address and kind & _CELL_OR_FREE and self.type_of(address).name == "cell":
                address = self._pointer(address + _CELL)
            if address and not kind & _HIDDEN:
                yield name, Value(address, self)

    def _held(self, place: int) -> int:
        """The object that a place in a frame refers to; 0 if none."""
        word = self._pointer(place)
        return 0 if word & _NO_POINTER == _NO_POINTER else word & ~_UNCOUNTED

    def _names(self, code: int) -> list[tuple[str, int]]:
        """The names of a code object's variables, each with its kind, in the order of their places in a frame."""
        if self.layout.code_names is not None:
            names = self._names_in(code + self.layout.code_names)
            kinds = self._pointer(code + self.layout.code_names + _POINTER)
            size = self._reader.unsigned(kinds + self._stack.bytes_size)
            found = self._reader.read(kinds + self._stack.bytes_data, min(size, len(names)))
            return list(zip(names, found, strict=False))
        plain = [(name, 0) for name in self._names_in(code + _CODE_VARNAMES)]
        cells = self._names_in(code + _CODE_CELLVARS) + self._names_in(code + _CODE_FREEVARS)
        return plain + [(name, _CELL_OR_FREE) for name in cells]

    def _names_in(self, pointer: int) -> list[str]:
        return [self._string(address) for address in self._tuple(self._pointer(pointer))]

    # Where a name's pointer lies

    def place_of_name(self, frame: int, code: int, name: str) -> int:
        """The address of the pointer that a name in a frame stands for: a local variable's, else a global's; 0 if there
        is none."""
        if self._reader.unsigned(code + self.layout.code_flags, 4) & _OPTIMIZED:
            for index, (one, kind) in enumerate(self._names(code)):
                if one == name and not kind & _HIDDEN:
                    place = frame + self.layout.frame_variables + _POINTER * index
                    held = self._held(place)
                    if held and kind & _CELL_OR_FREE and self.type_of(held).name == "cell":
                        return held + _CELL
                    return place
        return self._place_in_dictionary(self._pointer(frame + self.layout.frame_globals), name)

    def place_of_attribute(self, address: int, name: str) -> int:
        """The address of the pointer to an attribute that an object itself has in its dict; 0 if there is none."""
        kind = self.type_of(address)
        if kind.name == "module":
            return self._place_in_dictionary(self._pointer(address + _MODULE_DICT), name)
        if kind.flags & _MANAGED_DICT:
            dictionary, values = self._managed(address, kind)
            if dictionary or not values:
                return self._place_in_dictionary(dictionary, name) if dictionary else 0
            for index, (key, _) in enumerate(self._entries(self._pointer(kind.address + self.layout.cached_keys))):
                if key and self._string(key) == name:
                    return values + self.layout.values_start + _POINTER * index
            return 0
        offset = kind.dict_offset
        dictionary = self._pointer(address + offset) if offset > 0 else 0
        return self._place_in_dictionary(dictionary, name) if dictionary else 0

    def place_of_item(self, address: int, key: Any) -> int:
        """The address of the pointer to an item of a list or dict; 0 if there is none."""
        flags = self.type_of(address).flags
        if flags & _DICT:
            return self._place_in_dictionary(address, key)
        if flags & _LIST and isinstance(key, int):
            count = len(self._list(address))
            return self._pointer(address + _LIST_ITEMS) + _POINTER * (key % count) if -count <= key < count else 0
        return 0

    def _place_in_dictionary(self, address: int, wanted: Any) -> int:
        keys, values = self._pointer(address + _DICT_KEYS), self._pointer(address + _DICT_VALUES)
        places = self._entry_places(keys)
        for index, (key, _) in enumerate(self._entries(keys)):
            decoded = self.decoded(key, 2) if key else None
            if key and type(decoded) is type(wanted) and decoded == wanted:
                return values + self.layout.values_start + _POINTER * index if values else places[index]
        return 0

    def _entry_places(self, keys: int) -> range:
        """The addresses of the pointers to values in a PyDictKeysObject."""
        if self.layout.compact_keys:
            _, index_bytes, kind = self._reader.read(keys + 8, 3)
            count, start = self._reader.unsigned(keys + 24), keys + 32 + (1 << min(index_bytes, 48))
            size = 24 if kind == 0 else 16
        else:
            slots = self._reader.unsigned(keys + 8)
            width = next(width for width in (1, 2, 4, 8) if width == 8 or slots < 1 << 8 * width)
            count, start, size = self._reader.unsigned(keys + 32), keys + 40 + slots * width, 24
        return range(start + size - _POINTER, start + size * (count + 1) - _POINTER, size)

    # Exceptions

    def handled(self, thread: int) -> tuple[Value | None, int]:
        """The exception that a PyThreadState is handling, and the address of its traceback; None and 0 if none."""
        item = self._pointer(thread + self.layout.thread_exc_info)
        value = self._pointer(item + self.layout.exc_value)
        if not value or self.type_of(value).name == "NoneType":
            return None, 0
        if self.layout.code_names is None:
            return Value(value, self), self._pointer(item + self.layout.exc_value + _POINTER)
        return Value(value, self), self._pointer(value + self.layout.exception_traceback)

    def is_fresh(self, thread: int) -> bool:
        """Whether the exception that is being raised in a PyThreadState has no traceback yet."""
        item = thread + self.layout.thread_exc_info  # behind the exception that is raised
        if self.layout.code_names is None:  # up to 3.10 type, value, traceback and the first item of the stack
            return not self._pointer(item - 5 * _POINTER)
        if not self.layout.tagged_long:  # 3.11: type, value, traceback
            return not self._pointer(item - _POINTER)
        value = self._pointer(item - _POINTER)
        return bool(value) and not self._pointer(value + self.layout.exception_traceback)

    def traceback(self, address: int) -> Iterator[tuple[int, int]]:
        """The frames of a traceback, outermost first, each with the byte offset of the instruction that it was at."""
        for traceback in self._reader.chain(address, _TB_NEXT):
            if self.type_of(traceback).name != "traceback":
                return
            frame = self._pointer(traceback + _TB_FRAME)
            if self.layout.code_names is not None:
                frame = self._pointer(frame + _FRAME_OF_OBJECT)
            yield frame, self._reader.signed(traceback + _TB_LASTI)

    # Objects

    def code_of(self, address: int) -> int:
        """The code object of a function or method, of what a decorator wraps, or of a class's __init__; 0 if none."""
        for _ in range(_DEPTH):
            name = self.type_of(address).name
            if name == "function":
                # func_code: the first member up to 3.9; in 3.10 and later behind four others
                first = self._pointer(address + _FUNCTION_CODE[0])
                code = first if self.type_of(first).name == "code" else self._pointer(address + _FUNCTION_CODE[1])
                wrapped = self.attributes(address).get("__wrapped__")
                if not wrapped:
                    return code if self.type_of(code).name == "code" else 0
                address = wrapped.address
            elif name == "method":
                address = self._pointer(address + _METHOD_FUNCTION)
            else:
                found = self.attributes(address)
                inner = found.get("__func__") or found.get("__init__") or found.get("__wrapped__")
                if inner is None:
                    return 0
                address = inner.address
        return 0

    def type_of(self, address: int) -> _Type:
        """The type of an object."""
        return self._type(self._pointer(address + _TYPE))

    def _type(self, address: int) -> _Type:
        found = self._types.get(address)
        if found is None:
            found = self._types[address] = _Type(
                address,
                self._characters(self._pointer(address + _TP_NAME)).rpartition(".")[2],
                self._reader.unsigned(address + _TP_FLAGS),
                self._reader.unsigned(address + _TP_BASICSIZE),
                self._reader.unsigned(address + _TP_ITEMSIZE),
                self._reader.signed(address + _TP_DICTOFFSET, 8),
            )
        return found

    def _is_kind(self, address: int, name: str) -> bool:
        """Whether a type is this built-in one, or is derived from it."""
        return any(self._type(base).name == name for base in self._tuple(self._pointer(address + _TP_MRO)))

    def decoded(self, address: int, depth: int, inside: tuple[int, ...] = ()) -> Any:
        kind = self.type_of(address)
        if address in inside:
            return Shown("...")
        if depth < 0:
            return Shown(f"<{kind.name}>")
        content = self._content(address, kind, depth, (*inside, address))
        exact = type(content).__name__ == kind.name or isinstance(content, Shown)
        return content if exact else Shown(f"{kind.name}({content!r})")

    def _content(self, address: int, kind: _Type, depth: int, inside: tuple[int, ...]) -> Any:
        def items(addresses: list[int]) -> list[Any]:
            shown = [self.decoded(item, depth - 1, inside) for item in addresses[:_SHOWN_ITEMS]]
            left = len(addresses) - len(shown)
            return [*shown, Shown(f"... {left} more")] if left else shown

        if kind.flags & _LONG:
            number = self._integer(address)
            return bool(number) if kind.name == "bool" else number
        if kind.flags & _UNICODE:
            return self._string(address, _SHOWN_CHARACTERS)
        if kind.flags & _BYTES:
            return self._bytes(address)
        if kind.flags & _LIST:
            return items(self._list(address))
        if kind.flags & _TUPLE:
            return tuple(items(self._tuple(address)))
        if kind.flags & _DICT:
            pairs = list(self._pairs(address))
            found = {
                self.decoded(key, depth - 1, inside): self.decoded(value, depth - 1, inside)
                for key, value in pairs[:_SHOWN_ITEMS]
            }
            return (
                {**found, Shown("..."): Shown(f"{len(pairs) - len(found)} more")} if len(pairs) > len(found) else found
            )
        if kind.flags & _CLASS:
            return Shown(f"<class '{self._type(address).name}'>")
        if kind.flags & _EXCEPTION:
            arguments = items(self._tuple(self._pointer(address + _EXCEPTION_ARGS)))
            return Shown(f"{kind.name}({', '.join(map(repr, arguments))})")
        return self._other_content(address, kind, depth, inside, items)

    def _other_content(self, address: int, kind: _Type, depth: int, inside: tuple[int, ...], items: Any) -> Any:
        if kind.name in ("NoneType", "ellipsis", "NotImplementedType"):
            return {"NoneType": None, "ellipsis": ..., "NotImplementedType": NotImplemented}[kind.name]
        if kind.name == "module":
            name = self.dictionary(self._pointer(address + _MODULE_DICT)).get("__name__")
            return Shown(f"<module {name}>")
        if kind.name == "function":
            return Shown(f"<function {self._string(self._pointer(address + self.layout.function_name))}>")
        if self._is_kind(kind.address, "float"):
            return struct.unpack("<d", self._reader.read(address + _FLOAT, 8))[0]
        if self._is_kind(kind.address, "set") or self._is_kind(kind.address, "frozenset"):
            content = set(items(self._set(address)))
            return frozenset(content) if self._is_kind(kind.address, "frozenset") else content
        if depth < 1:
            return Shown(f"<{kind.name}>")
        attributes = {
            name: self.decoded(value.address, depth - 2, inside)
            for name, value in list(self.attributes(address).items())[:_SHOWN_ITEMS]
        }
        return Shown(" ".join([f"<{kind.name}", *(f"{name}={value!r}" for name, value in attributes.items())]) + ">")

    def item(self, address: int, key: Any) -> Value | None:
        """An item by its key or index."""
        flags = self.type_of(address).flags
        if flags & _DICT:
            for one, value in self._pairs(address):
                decoded = self.decoded(one, 2)
                if type(decoded) is type(key) and decoded == key:
                    return Value(value, self)
        elif flags & (_LIST | _TUPLE) and isinstance(key, int):
            items = self._list(address) if flags & _LIST else self._tuple(address)
            if -len(items) <= key < len(items):
                return Value(items[key], self)
        return None

    def children(self, address: int) -> list[tuple[str, Value]]:
        """What an object is made of: items by index or key, in brackets, then attributes by name."""
        kind = self.type_of(address)
        found: list[tuple[str, Value]] = []
        if kind.flags & (_LIST | _TUPLE):
            items = self._list(address) if kind.flags & _LIST else self._tuple(address)
            found = [(f"[{index}]", Value(item, self)) for index, item in enumerate(items)]
        elif kind.flags & _DICT:
            found = [(f"[{Value(key, self)}]", Value(item, self)) for key, item in self._pairs(address)]
        elif kind.name in ("set", "frozenset"):
            found = [(f"[{index}]", Value(item, self)) for index, item in enumerate(self._set(address))]
        return found + list(self.attributes(address).items())

    def child_counts(self, address: int) -> tuple[int, int]:
        """How many children there are: those in brackets, and attributes. Of what prints in full there are none."""
        kind = self.type_of(address)
        if kind.flags & (_LONG | _UNICODE | _BYTES) or kind.name in ("float", "NoneType", "function", "cell"):
            return 0, 0
        indexed = 0
        if kind.flags & (_LIST | _TUPLE):
            indexed = min(self._reader.unsigned(address + _SIZE), _MOST_ITEMS)
        elif kind.flags & _DICT:
            indexed = sum(1 for _ in self._pairs(address))
        elif kind.name in ("set", "frozenset"):
            indexed = len(self._set(address))
        return indexed, len(self.attributes(address))

    def raised(self, thread: int) -> tuple[str, str] | None:
        """The exception that is being raised in a PyThreadState: the name of its class, and it as text."""
        item = thread + self.layout.thread_exc_info
        # Up to 3.11 type, value and traceback; up to 3.10 with the first item of the stack behind them. The value is
        # often what the exception will be made of.
        back = 6 if self.layout.code_names is None else 2 if not self.layout.tagged_long else 1
        value = self._pointer(item - back * _POINTER)
        if value and self.type_of(value).flags & _EXCEPTION:
            return self.type_of(value).name, str(Value(value, self))
        kind = self._pointer(item - (back + 1) * _POINTER) if back > 1 else 0
        if not kind:
            return None
        name = self._type(kind).name
        return name, f"{name}({Value(value, self) if value else ''})"

    def dictionary(self, address: int) -> dict[str, Value]:
        """The items of a dict whose keys are str."""
        found = {}
        for key, value in self._pairs(address):
            if self.type_of(key).flags & _UNICODE:
                found[self._string(key)] = Value(value, self)
        return found

    def attributes(self, address: int) -> dict[str, Value]:
        """What an object itself has: its slots and its `__dict__`."""
        kind = self.type_of(address)
        found: dict[str, Value] = {}
        if kind.name == "module":
            return self.dictionary(self._pointer(address + _MODULE_DICT))
        if kind.flags & _CLASS:
            for base in reversed(self._tuple(self._pointer(address + _TP_MRO))):
                if self._type(base).flags & _HEAP_TYPE:
                    found.update(self.dictionary(self._pointer(base + _TP_DICT)))
            return found
        for base in reversed(self._tuple(self._pointer(kind.address + _TP_MRO))):
            if self._type(base).flags & _HEAP_TYPE:
                found.update(self._slots(base, address))
        found.update(self._instance_dictionary(address, kind))
        return found

    def _slots(self, type_: int, address: int) -> Iterator[tuple[str, Value]]:
        for name, value in self.dictionary(self._pointer(type_ + _TP_DICT)).items():
            if value.type_name == "member_descriptor":
                member = self._pointer(value.address + _MEMBER_DEF)
                offset = self._reader.signed(member + 16, 8)
                if self._reader.unsigned(member + 8, 4) == _OF_SLOTS and (held := self._pointer(address + offset)):
                    yield name, Value(held, self)

    def _instance_dictionary(self, address: int, kind: _Type) -> dict[str, Value]:
        if kind.flags & _MANAGED_DICT:
            dictionary, values = self._managed(address, kind)
            if dictionary:
                return self.dictionary(dictionary)
            return dict(self._split(kind, values)) if values else {}
        offset = kind.dict_offset
        if offset < 0:
            size = kind.basic_size + abs(self._reader.signed(address + _SIZE, 8)) * kind.item_size
            offset += -(-size // _POINTER) * _POINTER
        if offset <= 0:
            return {}
        dictionary = self._pointer(address + offset)
        return self.dictionary(dictionary) if dictionary else {}

    def _managed(self, address: int, kind: _Type) -> tuple[int, int]:
        """The addresses of an instance's dict and of its values without a dict, from 3.11 on; 0 where there is none."""
        word = self._pointer(address - 3 * _POINTER)
        if not self.layout.tagged_long:  # 3.11
            return word, self._pointer(address - 4 * _POINTER)
        if not self.layout.values_start:  # 3.12
            return (0, word + 1) if word & 1 else (word, 0)
        values = address + kind.basic_size
        has_values = kind.flags & _INLINE_VALUES and self._reader.unsigned(values + 3, 1)
        return word, values if has_values else 0

    def _split(self, kind: _Type, values: int) -> Iterator[tuple[str, Value]]:
        keys = self._pointer(kind.address + self.layout.cached_keys)
        for index, (key, _) in enumerate(self._entries(keys)):
            value = self._pointer(values + self.layout.values_start + _POINTER * index)
            if key and value:
                yield self._string(key), Value(value, self)

    # The contents of built-in types

    def _pairs(self, address: int) -> Iterator[tuple[int, int]]:
        """The keys and values of a dict."""
        keys = self._pointer(address + _DICT_KEYS)
        values = self._pointer(address + _DICT_VALUES)
        for index, (key, value) in enumerate(self._entries(keys)):
            if values:
                value = self._pointer(values + self.layout.values_start + _POINTER * index)
            if key and value:
                yield key, value

    def _entries(self, keys: int) -> list[tuple[int, int]]:
        """The used entries of a PyDictKeysObject: key and value, 0 where there is none."""
        if self.layout.compact_keys:
            _, index_bytes, kind = self._reader.read(keys + 8, 3)
            count, start = self._reader.unsigned(keys + 24), keys + 32 + (1 << min(index_bytes, 48))
            form = struct.Struct("<8xQQ" if kind == 0 else "<QQ")
        else:
            size = self._reader.unsigned(keys + 8)
            width = next(width for width in (1, 2, 4, 8) if width == 8 or size < 1 << 8 * width)
            count, start = self._reader.unsigned(keys + 32), keys + 40 + size * width
            form = struct.Struct("<8xQQ")
        if count > _MOST_ITEMS:
            raise UnreadableError(f"no dict: {keys:#x}")
        return list(form.iter_unpack(self._reader.read(start, count * form.size))) if count else []

    def _set(self, address: int) -> list[int]:
        count = self._reader.unsigned(address + _SET_MASK) + 1
        if count > _MOST_ITEMS:
            raise UnreadableError(f"no set: {address:#x}")
        table = self._reader.read(self._pointer(address + _SET_TABLE), 16 * count)
        return [key for key, hash_ in struct.iter_unpack("<Qq", table) if key and hash_ != -1]

    def _list(self, address: int) -> list[int]:
        return self._addresses(self._pointer(address + _LIST_ITEMS), self._reader.unsigned(address + _SIZE))

    def _tuple(self, address: int) -> list[int]:
        return self._addresses(address + self.layout.tuple_items, self._reader.unsigned(address + _SIZE))

    def _addresses(self, start: int, count: int) -> list[int]:
        if count > _MOST_ITEMS:
            raise UnreadableError(f"no sequence: {start:#x}")
        return list(struct.unpack(f"<{count}Q", self._reader.read(start, _POINTER * count))) if count else []

    def _integer(self, address: int) -> Any:
        if self.layout.tagged_long:
            tag = self._reader.unsigned(address + _SIZE)
            count, sign = tag >> 3, 1 - (tag & 3)
        else:
            size = self._reader.signed(address + _SIZE, 8)
            count, sign = abs(size), (size > 0) - (size < 0)
        if count > _LARGEST_INTEGER_DIGITS:
            return Shown(f"<int of {30 * count} bits>")
        digits = struct.unpack(f"<{count}I", self._reader.read(address + _DIGITS, 4 * count)) if count else ()
        return sign * sum(digit << 30 * place for place, digit in enumerate(digits))

    def _bytes(self, address: int) -> bytes:
        size = self._reader.unsigned(address + self._stack.bytes_size)
        return self._reader.read(address + self._stack.bytes_data, min(size, _SHOWN_CHARACTERS))

    def _string(self, address: int, longest: int = _LONGEST_NAME) -> str:
        state = self._reader.unsigned(address + self._stack.string_state, 4)
        kind, compact, is_ascii = state >> 2 & 7, state & 1 << 5, state & 1 << 6
        if kind not in _ENCODINGS:
            raise UnreadableError(f"no string: {address:#x}")
        length = self._reader.unsigned(address + self._stack.string_length)
        start = address + (self._stack.string_ascii if is_ascii else self._stack.string_compact)
        if not compact:  # of a class derived from str
            start = self._pointer(address + self._stack.string_compact)
        data = self._reader.read(start, min(length, longest) * kind) if length else b""
        try:
            text = data.decode(_ENCODINGS[kind], "surrogatepass")
        except UnicodeError as error:
            raise UnreadableError(f"no string: {address:#x}") from error
        return text if length <= longest else text + "..."

    def _characters(self, address: int) -> str:
        data = b""
        while b"\0" not in data and len(data) < _LONGEST_NAME:
            data += self._reader.read(address + len(data), 16)
        return data.partition(b"\0")[0].decode(errors="replace")

    def _pointer(self, address: int) -> int:
        return self._reader.unsigned(address)
