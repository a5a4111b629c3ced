"""Linear algebra in OpenBLAS's threads, a minimum."""

import numpy as np
from scipy import linalg, optimize

matrix = np.random.rand(200, 200)
print("inverse", bool(np.allclose(linalg.inv(matrix) @ matrix, np.eye(200))))
print("minimum", round(float(optimize.minimize(lambda x: (x[0] - 1) ** 2, [0]).x[0]), 3))
print("~", matrix.sum())
