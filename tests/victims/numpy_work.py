"""numpy in one thread: random numbers, linear algebra, saving, loading and mapping."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import tempfile

import numpy

generator = numpy.random.default_rng()
left, right = generator.random((200, 300)), generator.normal(size=(300, 200))
product = left @ right
print(product.shape, product.dtype)
print("~", product.sum(), product[:2, :2].tolist(), numpy.linalg.norm(product), product.__array_interface__)
square = generator.random((60, 60)) + 60 * numpy.eye(60)
print(numpy.allclose(numpy.linalg.inv(square) @ square, numpy.eye(60)))
print("~", numpy.linalg.eigvals(square)[:3].tolist(), numpy.fft.fft(left[0])[:3].tolist())
numpy.random.seed(1)
print(numpy.random.randint(0, 1000, 10).tolist())
with tempfile.TemporaryDirectory(prefix="victim-") as root:
    path = os.path.join(root, "array.npy")
    numpy.save(path, product)
    print(numpy.array_equal(numpy.load(path), product))
    mapped = numpy.load(path, mmap_mode="r+")
    mapped[0, 0] = 42
    mapped.flush()
    print(numpy.load(path)[0, 0])
    numpy.savez_compressed(os.path.join(root, "several.npz"), left=left, right=right)
    with numpy.load(os.path.join(root, "several.npz")) as several:
        print(sorted(several), numpy.array_equal(several["left"], left))
    del mapped
print("~", numpy.sort(generator.integers(0, 2**60, 1000))[:5].tolist())
