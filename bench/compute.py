"""Pure computation, no system calls to speak of: python bench/compute.py [ROUNDS]

Prints the seconds that it took, without the start of the interpreter.
"""

import json
import sys
import time


def main(rounds: int) -> None:
    table = {f"key {i}": {"number": i, "list": list(range(i % 20)), "text": "x" * (i % 50)} for i in range(500)}
    for _ in range(rounds):
        table = json.loads(json.dumps(table))
        words = " ".join(sorted(table, key=lambda key: key[::-1])).upper().split()
        counts: dict[str, int] = {}
        for word in words:
            counts[word] = counts.get(word, 0) + len(word)
        assert sum(counts.values())


if __name__ == "__main__":
    start = time.perf_counter()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1200)
    print(time.perf_counter() - start)
