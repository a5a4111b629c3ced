"""A loop that is compiled and run by several threads."""

import numba
import numpy as np


@numba.njit(parallel=True)
def squares(values):
    total = 0.0
    for i in numba.prange(len(values)):
        total += values[i] ** 2
    return total


values = np.random.rand(100_000)
print("right", bool(np.isclose(squares(values), (values**2).sum())))
print("~", squares(values))
