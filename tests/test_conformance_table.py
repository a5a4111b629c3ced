"""docs/conformance.md is written from the results of a run; what was not run keeps what stood there."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "conformance"))

import runner
from runner import Outcome

DOCUMENT = """before
<!-- begin suite -->

| | 3.8 | 3.11 |
|---|---|---|
| test_a | *5* | 6: 5 same, 6 replayed |
| test_b |  | 7 |
| test_c | *8* |  |
| test_d |  | 9 (2 of 3 parts) |
| **all** | 13 | 13 |

| cause | items |
|---|---|
| **not known** | 3.11 test_a.One and 2, 3.11 test_a.Two |
| a storm | 3.11 test_c |
<!-- end suite -->
after
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = tmp_path / "conformance.md"
    document.write_text(DOCUMENT)
    monkeypatch.setattr(runner, "DOCUMENT", document)
    return tmp_path


def save(
    results: Path, column: str, row: str, name: str, verify: str = "clean", parts: int = 1, tests: int = 3
) -> None:
    outcome = Outcome("suite", column, row, name, tests=tests, replay="equal", verify=verify, parts=parts)
    path = results / "suite" / column / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(outcome)))


def rendered(results: Path) -> list[str]:
    runner.render(results, "suite")
    text = runner.DOCUMENT.read_text()
    assert text.startswith("before\n<!-- begin suite -->\n")
    assert text.endswith("\n<!-- end suite -->\nafter\n")
    return [line for line in text.split("\n") if line.startswith("| ") and not line.startswith("| |")]


def test_what_was_not_run_stays_in_italics(results: Path) -> None:
    save(results, "3.11", "test_a", "test_a.One and 2", parts=2)
    save(results, "3.11", "test_a", "test_a.Two", "differs", parts=2)
    save(results, "3.11", "test_c", "test_c")
    save(results, "3.13", "test_b", "test_b")
    expected = [
        "| test_a | *5* | 6: 6 same, 3 replayed |  |",
        "| test_b |  | *7* | 3 |",
        "| test_c | *8* | 3 |  |",
        "| test_d |  | *9 (2 of 3 parts)* |  |",
        "| **this run** |  | 9: 9 same, 6 replayed | 3 |",
        "| cause | items |",
        "| **not known** | 3.11 test_a.Two |",
    ]
    assert rendered(results) == expected
    assert rendered(results) == expected


def test_parts_do_not_hide_what_was_run_whole(results: Path) -> None:
    save(results, "3.8", "test_a", "test_a.One", parts=3)
    save(results, "3.8", "test_b", "test_b.One", parts=2)
    save(results, "3.8", "test_b", "test_b.Two", parts=2, tests=0)
    save(results, "3.11", "test_d", "test_d.One", parts=3)
    for _ in range(2):
        assert rendered(results)[:4] == [
            "| test_a | 3 (1 of 3 parts); *5* | *6: 5 same, 6 replayed* |",
            "| test_b | 3 | *7* |",
            "| test_c | *8* |  |",
            "| test_d |  | 3 (1 of 3 parts); *9 (2 of 3 parts)* |",
        ]
    save(results, "3.11", "test_d", "test_d.Two", parts=3)
    assert rendered(results)[3] == "| test_d |  | 6 (2 of 3 parts) |"
