"""A database in a file, with a rollback journal and with a write-ahead log (which is shared memory)."""

import os
import random
import sqlite3
import tempfile

print(len(sqlite3.sqlite_version.split(".")))
with tempfile.TemporaryDirectory(prefix="victim-") as root:
    for mode in ("delete", "wal"):
        path = os.path.join(root, mode + ".db")
        connection = sqlite3.connect(path)
        print(connection.execute("pragma journal_mode=" + mode).fetchone())
        connection.execute("create table word (id integer primary key, text text unique, weight real, data blob)")
        for number in range(2000):
            row = (number, "w%d-%d" % (number, random.getrandbits(60)), random.random(), os.urandom(50))
            connection.execute("insert into word values (?, ?, ?, ?)", row)
            if number % 500 == 0:
                connection.commit()
        connection.commit()
        reader = sqlite3.connect(path)
        print(reader.execute("select count(*), max(id) from word").fetchone())
        print("~", reader.execute("select sum(weight), min(text) from word").fetchone())
        connection.execute("update word set weight = -weight where id % 3 = 0")
        connection.commit()
        print("~", reader.execute("select sum(weight), max(text), random() from word").fetchone())
        print(sorted(name.split(".")[1] for name in os.listdir(root) if name.startswith(mode)))
        connection.execute("delete from word where id > 100")
        connection.commit()
        connection.execute("vacuum")
        print(
            reader.execute("select count(*) from word").fetchone(), reader.execute("pragma integrity_check").fetchone()
        )
        reader.close()
        connection.close()
