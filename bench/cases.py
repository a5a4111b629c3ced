"""A long run of small tests, each with files, JSON, exceptions and a line of output: python bench/cases.py [CASES]

1,000 cases make about 28,000 events."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

KEPT = 20_000


class Case:
    """One test: writes a document, reads it again, and compares; every seventh one fails."""

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"case-{number % 50}.json"
        self.number = number

    def document(self) -> dict[str, object]:
        rows = [{"id": row, "name": f"row {row}", "value": row * self.number % 97} for row in range(5)]
        return {"number": self.number, "rows": rows, "made": time.time()}

    def run(self) -> None:
        written = self.document()
        self.path.write_text(json.dumps(written))
        read = json.loads(self.path.read_text())
        total = sum(row["value"] for row in read["rows"])
        assert read == written
        assert self.number % 7, f"case {self.number}: the total is {total}"


def run(case: Case) -> dict[str, object]:
    began = time.perf_counter()
    try:
        case.run()
        outcome = "passed"
    except AssertionError:
        outcome = traceback.format_exc().splitlines()[-1]
    return {"case": case.number, "outcome": outcome, "took": time.perf_counter() - began}


def main(cases: int) -> None:
    results: dict[int, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cases):
            result = run(Case(Path(folder), number))
            results[number % KEPT] = result
            if number % 100 == 0:
                os.write(1, f"{number}: {result['outcome']}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 185_000)
