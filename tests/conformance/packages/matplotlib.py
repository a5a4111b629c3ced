"""A picture of a curve."""

import hashlib
import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

plt.plot(np.random.rand(50))
picture = io.BytesIO()
plt.savefig(picture)
print(picture.getvalue()[:8])
print("~", hashlib.sha256(picture.getvalue()).hexdigest())
