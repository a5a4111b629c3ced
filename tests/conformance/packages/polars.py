"""Groups in Rust's thread pool."""

import random

import polars as pl

table = pl.DataFrame({"value": [random.random() for _ in range(10_000)], "kind": [i % 7 for i in range(10_000)]})
means = table.group_by("kind").agg(pl.col("value").mean()).sort("kind")
print("kinds", means["kind"].to_list())
print("~", means["value"].to_list())
