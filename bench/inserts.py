"""Inserts into a database of sqlite in /dev/shm, with a commit every 100: python bench/inserts.py [COUNT]

In memory, so that the disk is not what is measured; with a file, a journal and all their system calls all the same.
"""

import os
import sqlite3
import sys
import tempfile


def main(count: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        database = sqlite3.connect(os.path.join(directory, "database"))
        database.execute("create table entries (number integer primary key, text text)")
        for number in range(count):
            database.execute("insert into entries values (?, ?)", (number, f"entry {number}"))
            if number % 100 == 99:
                database.commit()
        database.commit()
        assert database.execute("select count(*) from entries").fetchone() == (count,)
        database.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
