"""A table written to a Parquet file and read from it."""

import random
import tempfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

table = pa.table({"value": [random.random() for _ in range(5000)]})
with tempfile.NamedTemporaryFile() as file:
    pq.write_table(table, file.name)
    read = pq.read_table(file.name)
print("equal", read.equals(table))
print("~", pc.sum(read["value"]))
