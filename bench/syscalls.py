"""Many cheap system calls from Python, four kinds in turn: python bench/syscalls.py [COUNT]"""

import os
import sys
import tempfile


def main(count: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(16384))
        file.flush()
        fd = file.fileno()
        for _ in range(count // 4):
            os.stat("/")
            os.getppid()
            os.pread(fd, 64, 0)
            os.pread(fd, 16384, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
