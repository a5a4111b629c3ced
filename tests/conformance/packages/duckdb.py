"""Queries over random rows."""

import duckdb

database = duckdb.connect()
database.execute("create table rows as select range as number, random() as value from range(100000)")
means = database.execute("select number % 5, avg(value) from rows group by 1 order by 1").fetchall()
print("groups", [kind for kind, _ in means])
print("~", means)
