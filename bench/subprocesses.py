"""Many short children, one after the other: python bench/subprocesses.py [COUNT]"""

import subprocess
import sys


def main(count: int) -> None:
    for _ in range(count):
        subprocess.run(["/bin/true"], check=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
