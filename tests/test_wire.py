"""The engine writes msgpack as the library does, and a recording's named tuples are as typing's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any
from typing import NamedTuple as Typed

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrr_debugger import _engine
from pyrr_debugger.light import NamedTuple
from pyrr_debugger.wire import unpacked

EDGES = [1 << bits for bits in (5, 7, 8, 15, 16, 31, 32, 63)]
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.sampled_from(
    [*EDGES, *(n - 1 for n in EDGES), *(-n for n in EDGES)]
)
TEXTS = st.text(st.characters()) | st.binary().map(lambda name: name.decode("utf-8", "surrogateescape"))
LONG = st.sampled_from([15, 16, 31, 32, 255, 256, 65535, 65536])
CONTAINERS: list[Callable[[int], Any]] = [bytes, "x".__mul__, [0].__mul__, lambda size: dict.fromkeys(range(size))]
LARGE = st.tuples(st.sampled_from(CONTAINERS), LONG).map(lambda drawn: drawn[0](drawn[1]))
LEAVES = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | TEXTS | st.binary() | LARGE
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS | NUMBERS, inner))


@given(VALUES)
def test_values_are_packed_as_the_library_packs_them(value: Any) -> None:
    try:
        expected = msgpack.packb(value, unicode_errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        with pytest.raises(UnicodeEncodeError):
            _engine.pack(value)
        return
    assert _engine.pack(value) == expected
    assert unpacked(expected) == value


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1])
def test_a_number_of_more_than_64_bits_is_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        _engine.pack([value])


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be part"):
        _engine.pack({"a": [set()]})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        _engine.pack(endless)


class Light(NamedTuple):
    """A doc string."""

    one: int
    two: str
    three: int = 3
    four: int = 4

    @property
    def sum(self) -> int:
        return self.one + self.three


class Full(Typed):
    one: int
    two: str
    three: int = 3
    four: int = 4


NAMES = st.sampled_from(["one", "two", "three", "four", "five"])


@given(st.lists(st.integers(), max_size=6), st.dictionaries(NAMES, st.integers()))
def test_light_named_tuples_are_made_as_those_of_typing(values: list[int], named: dict[str, int]) -> None:
    made: list[Any] = []
    for kind in (Light, Full):
        try:
            made.append(kind(*values, **named))  # type: ignore[arg-type]
        except TypeError:
            made.append(None)
    assert made[0] == made[1]


def test_light_named_tuples_do_what_those_of_typing_do() -> None:
    light, full = Light(1, "2", four=5), Full(1, "2", four=5)
    assert repr(light) == repr(full).replace("Full", "Light")
    assert (light._asdict(), light._fields) == (full._asdict(), full._fields)
    assert light._replace(two="3") == full._replace(two="3") == (1, "3", 3, 5)
    assert (light.two, light.sum) == ("2", 4)
    assert pickle.loads(pickle.dumps(light)) == light
    match light:
        case Light(one, two=two):
            assert (one, two) == (1, "2")
    with pytest.raises(AttributeError):
        light.one = 2  # type: ignore[misc]
    assert not hasattr(light, "__dict__")
