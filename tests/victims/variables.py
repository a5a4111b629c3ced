"""Local variables of every kind; says what they are, then waits for a line."""

import collections
import json
import sys


class Plain:
    def __init__(self):
        self.one, self.two = 1, "two"


class Slotted:
    __slots__ = ("left", "right", "unset")

    def __init__(self):
        self.left, self.right = (1,), {"a": []}


class Both(Slotted):
    def __init__(self):
        super().__init__()
        self.more = 3


class Crowded:
    """With more attributes than instances share keys for, and one taken away."""

    def __init__(self):
        for number in range(50):
            setattr(self, f"name{number}", number)
        del self.name7


class Text(str):
    pass


class Items(list):
    pass


class Failure(ValueError):
    pass


Point = collections.namedtuple("Point", "x y")


def show(frame):
    builtin = {name: repr(value) for name, value in frame.f_locals.items() if name.startswith("as_")}
    print(json.dumps(builtin), flush=True)
    sys.stdin.readline()


def values(argument, /, positional=2, *rest, keyword, **others):
    as_integers = [0, 1, -1, 255, -256, 2**30, -(2**30), 2**31 - 1, 2**60, -(2**64), 10**40, -(10**40) + 1]
    as_bools = (True, False, None, ..., NotImplemented)
    as_floats = [0.0, -0.5, 1e300, float("inf"), 0.1]
    as_strings = ["", "a", "ascii \n\t'", "latin é", "wide \u4e2d", "astral \U0001f600", "\udc80 surrogate"]
    as_bytes = [b"", b"\0\xff", b"text"]
    as_tuple = ((), (1,), ((), ()))
    as_lists = [[], [1, [2, [3]]]]
    as_dict = {"a": 1, 2: "b", (3, 4): None, 1.5: {}, b"k": {"x": {"y": 0}}}
    as_deleted = {"kept": 1, "gone": 2, "also kept": 3}
    del as_deleted["gone"]
    as_large = {number: str(number) for number in range(40)}
    as_sets = [set(), {1}, frozenset({"one"})]
    as_negative = -5
    cycle = [1]
    cycle.append(cycle)
    plain, slotted, both, crowded = Plain(), Slotted(), Both(), Crowded()
    text, items, point = Text("of a class"), Items([1, 2]), Point(3, 4)
    failure = Failure("message", 7)
    captured = {"in": "a cell"}
    unassigned = 1
    del unassigned

    def inner():
        free = len(captured)
        return sum(one for one in generate(free))

    def generate(start):
        state = [start]
        yield 1
        show(caller)

    caller = sys._getframe()
    inner()


class Body:
    in_class = "class body"
    values("given", 1, 2, 3, keyword="key", extra="more")
