"""Recursion to the limit, in Python and through C, and a main stack that has to grow."""

import sys


def descend(depth):
    global reached
    reached = depth
    descend(depth + 1)


def through_c(depth):
    global reached
    reached = depth
    return max([depth + 1], key=through_c)


class Nested:
    def __repr__(self):
        return repr([self])


reached = 0
for limit in (100, 1000, 3000):
    sys.setrecursionlimit(limit)
    for function in (descend, through_c):
        try:
            function(0)
        except RecursionError as error:
            print(limit, function.__name__, type(error).__name__)
            print("~", reached, error)
sys.setrecursionlimit(1000)
try:
    repr(Nested())
except RecursionError:
    print("repr")
nest = []
for _ in range(100000):
    nest = [nest]
try:
    repr(nest)
except RecursionError:
    print("list")
del nest
print("~", id(descend))
