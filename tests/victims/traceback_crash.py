"""An exception that nobody catches, raised in another's handler deep in a stack."""

import os


def descend(depth):
    if depth == 0:
        print("~", os.urandom(8).hex(), flush=True)
        try:
            {}["missing"]
        except KeyError:
            return 1 // depth
    return descend(depth - 1)


print("before")
descend(40)
print("never printed")
