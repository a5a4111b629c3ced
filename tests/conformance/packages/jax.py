"""A function that is compiled while it runs, and a gradient."""

import time

import jax
import jax.numpy as jnp

compiled = jax.jit(lambda x: (x @ x.T).sum())
key = jax.random.PRNGKey(time.time_ns() % 1000)
print("gradient", jax.grad(lambda x: (x**3).sum())(jnp.ones(3)))
print("~", compiled(jax.random.normal(key, (100, 100))))
