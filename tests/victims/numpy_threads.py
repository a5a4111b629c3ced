"""OpenBLAS's threads share a product; the one that is ready first waits for the others by looking at memory, without a call."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "2"

import numpy

left = numpy.random.default_rng(1).random((400, 400))
for _ in range(3):
    product = left @ left
print(product.shape, round(float(product[0, 0]), 6))
print("~", numpy.random.random(3))
