"""The shared part of the outside suites: runs one item bare, recorded, replayed and verified, keeps what came of it
as JSON, and renders docs/conformance.md from that.

A suite is a program that yields items and says how the verdicts of a run are read (cpython.py). Each item is scored
twice: its verdicts under the recorder are the bare ones; its replay is the recording, byte for byte and in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import harness  # noqa: E402
from harness import Command, Result, Surroundings  # noqa: E402
from known import CAUSES  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
SHORTEST, FACTOR = 120.0, 10.0
"""The time-out of a recorded run: at least SHORTEST seconds, else FACTOR times what the bare run took."""

Verdicts = dict[str, str]
"""By test: how it ended. A program that is one test has one entry."""


@dataclass(frozen=True)
class Item:
    """One command of a suite. `row` and `column` are its place in the table; `name` is unique in its column.

    `{scratch}` in a word of the command stands for the run's own scratch directory, which is also its $TMPDIR and
    working directory.
    """

    suite: str
    column: str
    row: str
    name: str
    command: Command
    stdin: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    """For the bare run."""
    launcher: Command = ()
    """Words before the command, bare and recorded: what runs it, and acts on it from outside."""
    terminal: bool = False
    """The launcher gives a terminal, so that a replay is run by it too."""
    parts: int = 0
    """How many items there are in its place of the table; 0 where nobody has counted."""


@dataclass
class Outcome:
    """What came of an item. A stage that was not reached is empty; `same`, "equal" and "clean" are as it should be."""

    suite: str
    column: str
    row: str
    name: str
    bare: str = ""
    record: str = ""
    """Verdicts, counted: "passed 31, skipped 2"; or how the run as a whole ended."""
    tests: int = 0
    differing: list[str] = field(default_factory=list)
    """Tests whose verdict is another under the recorder: "test: bare, recorded"."""
    replay: str = ""
    verify: str = ""
    left: list[str] = field(default_factory=list)
    """Processes, files and descriptors that stayed behind, by stage; not what a bare run leaves too."""
    events: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    cause: str = ""
    """Of the first failure, as the output tells it."""
    parts: int = 0
    """As in Item."""

    @property
    def good(self) -> bool:
        return not self.differing and not self.left and (self.replay, self.verify) == ("equal", "clean")

    @property
    def is_applicable(self) -> bool:
        """False where the bare run tells nothing: it timed out, or has no test."""
        return self.tests > 0


ReadVerdicts = Callable[[Result, Path], Verdicts]
"""Reads the verdicts of a run from its output or from its scratch directory."""


def read_whole(result: Result, scratch: Path) -> Verdicts:
    """Of a program that is one test: its status, and its lines that are the same in every run."""
    return {f"status {result.status}": "seen", b"\n".join(result.certain).decode(): "seen"}


def exit_status(result: Result, scratch: Path) -> Verdicts:
    """The verdict of a program that is one test."""
    return {"status": str(result.status)}


# ---- running ----


class _Stage:
    """Runs commands of one item in fresh scratch directories, and watches what stays behind."""

    def __init__(self, item: Item, outcome: Outcome, home: Path, place: Path) -> None:
        self.item, self.outcome, self.home, self.place = item, outcome, home, place

    def run(self, name: str, words: Command, timeout: float, launch: bool = False) -> tuple[Result | None, Path]:
        """None when it timed out. The scratch directory is what the command made of it."""
        scratch = self.place / name
        scratch.mkdir()
        environment = harness.victim_environment(scratch, self.home) | dict(self.item.env)
        around = Surroundings(env=environment, cwd=scratch, stdin=self.item.stdin, timeout=timeout)
        descriptors = len(os.listdir("/proc/self/fd"))
        start = os.times().elapsed
        words = [*self.item.launcher, *words] if launch else words
        words = [os.fspath(word).replace("{scratch}", str(scratch)) for word in words]
        try:
            result = harness.run(words, around)
        except subprocess.TimeoutExpired:
            result = None
        except harness.LeftBehindError as error:
            result = error.result
            self._left(name, str(error).rpartition(" left ")[2])
        self.outcome.seconds[name] = round(os.times().elapsed - start, 2)
        if len(os.listdir("/proc/self/fd")) != descriptors:
            self._left(name, "descriptors")
        return result, scratch

    def _left(self, stage: str, what: str) -> None:
        # A program that leaves processes behind without us may do so under the recorder.
        if stage == "bare":
            self.bare_leaves = True
        elif stage != "record" or not self.bare_leaves:
            self.outcome.left.append(f"{stage}: {what}")

    bare_leaves = False


def _count(verdicts: Verdicts) -> str:
    counted = Counter(verdicts.values())
    return ", ".join(f"{verdict} {number}" for verdict, number in sorted(counted.items()))


def _files(scratch: Path) -> set[str]:
    """Names below a scratch directory, with digits and random parts levelled."""
    return {re.sub(r"(?<=tmp).{8}|(?<=temp).{6}|\d+", "*", name) for name in os.listdir(scratch)}


def run_item(item: Item, read: ReadVerdicts, home: Path, keep: Path | None = None) -> Outcome:
    """Scores one item. The trace of a failing one is left in `keep`, if given."""
    harness.adopt_orphans()
    outcome = Outcome(item.suite, item.column, item.row, item.name, parts=item.parts)
    place = Path(tempfile.mkdtemp(prefix="pyrr-conformance-"))
    try:
        _score(item, read, outcome, _Stage(item, outcome, home, place))
        if keep and outcome.is_applicable and not outcome.good and (place / "trace").exists():
            shutil.rmtree(keep, ignore_errors=True)
            keep.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(place / "trace", keep)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return outcome


def _score(item: Item, read: ReadVerdicts, outcome: Outcome, stage: _Stage) -> None:
    bare, scratch = stage.run("bare", item.command, item.timeout, launch=True)
    if bare is None:
        outcome.bare = "timed out"
        return
    expected = read(bare, scratch)
    files = _files(scratch)
    outcome.bare, outcome.tests = _count(expected), len(expected)
    if not expected:
        outcome.bare = f"no test, status {bare.status}"
        return
    timeout = max(SHORTEST, FACTOR * outcome.seconds["bare"])
    trace = stage.place / "trace"
    recorded, scratch = stage.run("record", harness.record_words(trace, *item.command), timeout, launch=True)
    if recorded is None:
        outcome.record = outcome.cause = "timed out"
        outcome.differing = [f"{test}: {verdict}, timed out" for test, verdict in expected.items()]
        return
    found = read(recorded, scratch)
    outcome.record = _count(found)
    outcome.differing = [
        f"{test}: {expected.get(test, 'missing')}, {found.get(test, 'missing')}"
        for test in sorted({*expected, *found})
        if expected.get(test) != found.get(test)
    ]
    outcome.left += [f"record: {name}" for name in sorted(_files(scratch) - files)]
    if stopped := re.search(rb"^pyrr: (recording stopped: .*)$", recorded.stderr, re.MULTILINE):
        outcome.cause = stopped[1].decode(errors="replace")
    _score_replay(outcome, stage, trace, recorded, timeout)


def _score_replay(outcome: Outcome, stage: _Stage, trace: Path, recorded: Result, timeout: float) -> None:
    replayed, scratch = stage.run("replay", [harness.PYRR, "replay", trace], timeout, launch=stage.item.terminal)
    outcome.left += [f"replay: {name}" for name in os.listdir(scratch)]
    if replayed is None:
        outcome.replay = "timed out"
    elif (replayed.stdout, replayed.stderr, replayed.status) == (recorded.stdout, recorded.stderr, 0):
        outcome.replay = "equal"
    elif replayed.status:
        outcome.replay = {2: "refused", 3: "diverges"}.get(replayed.status, f"status {replayed.status}")
        outcome.cause = outcome.cause or replayed.stderr[-2000:].decode(errors="replace")
    else:
        outcome.replay = "differs"
        outcome.cause = outcome.cause or (
            harness.difference(recorded.stdout, replayed.stdout) or harness.difference(recorded.stderr, replayed.stderr)
        )
    # It sums the memory of each process at its end, of which there may be a thousand.
    timeout = max(timeout, FACTOR * outcome.seconds["replay"])
    verified, _ = stage.run("verify", [harness.PYRR, "verify", trace], timeout)
    if verified is None:
        outcome.verify = "timed out"
    else:
        text = (verified.stdout + verified.stderr)[-2000:].decode(errors="replace")
        outcome.verify = "clean" if verified.status == 0 and "0 differing bytes" in text else "differs"
        if count := re.match(r"(\d+) events", text):
            outcome.events = int(count[1])
        if outcome.verify != "clean":
            outcome.cause = outcome.cause or text


# ---- a suite's run ----


def arguments(description: str, suite: str) -> argparse.ArgumentParser:
    """The options that all suites have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir(), "pyrr-conformance"),
                        help="directory of one JSON file per item (default: %(default)s)")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="items at a time")
    parser.add_argument("--again", action="store_true", help="run items anew that have a result")
    parser.add_argument("--failed", action="store_true", help="run items anew that have failed")
    parser.add_argument("--keep", action="store_true", help="keep the traces of items that fail, beside their results")
    parser.add_argument("--render", action="store_true", help=f"only write the {suite} part of docs/conformance.md")
    return parser


def _path(results: Path, item: Item) -> Path:
    return results / item.suite / item.column / f"{item.name.replace('/', '_')}.json"


def load(results: Path, suite: str) -> list[Outcome]:
    """The results of a suite so far."""
    return [Outcome(**json.loads(path.read_text())) for path in sorted((results / suite).rglob("*.json"))]


def _wanted(path: Path, options: argparse.Namespace) -> bool:
    if options.again or not path.exists():
        return True
    outcome = Outcome(**json.loads(path.read_text()))
    return bool(options.failed and outcome.is_applicable and not outcome.good)


def _run_and_save(item: Item, read: ReadVerdicts, path: Path, home: Path, keep: bool) -> Outcome:
    path.parent.mkdir(parents=True, exist_ok=True)
    trace = path.with_suffix(".trace")
    shutil.rmtree(trace, ignore_errors=True)
    outcome = run_item(item, read, home, trace if keep else None)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(outcome), indent=1))
    part.replace(path)
    return outcome


def run_suite(items: Iterable[Item], read: ReadVerdicts, options: argparse.Namespace) -> int:
    """Runs what has no result yet, saves each result at once, and says how it went. The number of failures."""
    home = options.results / "home"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PYRR_TEST_HOME"] = str(home)
    # Ignored in the background jobs of a script, which the tests would inherit: CPython's test_signal then fails bare.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    failures = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        wanted = [(item, _path(options.results, item)) for item in items]
        futures = [
            pool.submit(_run_and_save, item, read, path, home, options.keep)
            for item, path in wanted
            if _wanted(path, options)
        ]
        for future in futures:
            outcome = future.result()
            failures += outcome.is_applicable and not outcome.good
            print(line(outcome), flush=True)
    return failures


def line(outcome: Outcome) -> str:
    """One outcome, for a person who watches."""
    mark = "ok  " if outcome.good else "FAIL" if outcome.is_applicable else "n/a "
    seconds = "/".join(f"{value:.1f}" for value in outcome.seconds.values())
    parts = [f"{mark} {outcome.column} {outcome.name}: {outcome.bare}", f"{outcome.events} events", f"{seconds} s"]
    if not outcome.good and outcome.is_applicable:
        parts += [f"replay {outcome.replay}", f"verify {outcome.verify}", *outcome.differing[:3], *outcome.left]
        parts += [outcome.cause.strip().split("\n")[0][:160]]
    return "; ".join(parts)


# ---- rendering ----


def known_cause(outcome: Outcome, test: str = "") -> str | None:
    """The named cause of a failure, if there is one in known.py."""
    for suite, column, name, cause in CAUSES:
        full = f"{outcome.name} {test}".strip()
        if suite == outcome.suite and fnmatchcase(outcome.column, column) and fnmatchcase(full, name):
            return cause
    return None


@dataclass
class Rendered:
    """What stands in the document: cells by row and column, and by cause the items ("column name") of it."""

    cells: dict[tuple[str, str], str] = field(default_factory=dict)
    causes: dict[str, list[str]] = field(default_factory=dict)


def read_rendered(body: str) -> Rendered:
    """Reads what `render` has written. The row of totals is left out, which is made anew."""
    rendered, columns = Rendered(), list[str]()
    for line in body.split("\n"):
        if not line.startswith("| "):
            continue
        first, *rest = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not first:
            columns = rest
        elif first == "cause":
            columns = []
        elif columns and not first.startswith("**"):
            rendered.cells |= {(first, column): cell for column, cell in zip(columns, rest, strict=True) if cell}
        elif not columns:
            rendered.causes[first] = re.split(r", (?=\S+ )", rest[0])
    return rendered


def render(results: Path, suite: str) -> None:
    """Writes the part of docs/conformance.md between the markers of a suite. What has no result keeps what stood there
    before, in italics."""
    outcomes = load(results, suite)
    begin, end = f"<!-- begin {suite} -->", f"<!-- end {suite} -->"
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(begin)
    present, _, after = rest.partition(end)
    if not rest or end not in rest:
        raise SystemExit(f"{DOCUMENT} has no markers for {suite}")
    old = read_rendered(present)
    body = "\n".join([*_table(outcomes, old), "", *_failures(outcomes, old)])
    DOCUMENT.write_text(f"{before}{begin}\n\n{body}\n{end}{after}")


def _table(outcomes: list[Outcome], old: Rendered) -> list[str]:
    columns = {o.column for o in outcomes} | {column for _, column in old.cells}
    names = sorted(columns, key=lambda text: (*map(int, re.findall(r"\d+", text)), text))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    kept = 0
    for row in sorted({o.row for o in outcomes if o.is_applicable} | {row for row, _ in old.cells}):
        cells = []
        for column in names:
            fresh = [o for o in outcomes if (o.row, o.column) == (row, column)]
            cell, earlier = _cell(fresh), _italic(old.cells.get((row, column), ""))
            # A few parts of what was run before say less than it did.
            if earlier and (not cell or _share(earlier) > _share(cell)):
                cell = f"{cell}; {earlier}" if cell else earlier
                kept += 1
            cells.append(cell)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    totals = [_cell([replace(o, parts=0) for o in outcomes if o.column == column]) for column in names]
    return [*lines, f"| **{'this run' if kept else 'all'}** | " + " | ".join(totals) + " |"]


def _share(cell: str) -> float:
    """How much of its place in the table a cell tells of."""
    found = re.search(r"\((\d+) of (\d+) parts\)", cell)
    return int(found[1]) / int(found[2]) if found else 1.0


def _italic(cell: str) -> str:
    """What stood in a cell before: of two, the earlier one, which was whole."""
    cell = cell.rpartition("; ")[2].strip("*")
    return f"*{cell}*" if cell else ""


def _cell(outcomes: list[Outcome]) -> str:
    """The number of tests; where not all is well: how many have the bare verdict, and are replayed."""
    run, parts = len(outcomes), max((o.parts for o in outcomes), default=0)
    outcomes = [o for o in outcomes if o.is_applicable]
    if not outcomes:
        return ""
    note = f" ({run} of {parts} parts)" if run < parts else ""
    tests = sum(o.tests for o in outcomes)
    if all(o.good for o in outcomes):
        return f"{tests}{note}"
    same = sum(max(0, o.tests - len(o.differing)) for o in outcomes)
    replayed = sum(o.tests for o in outcomes if (o.replay, o.verify) == ("equal", "clean"))
    return f"{tests}: {same} same, {replayed} replayed{note}"


def _failures(outcomes: list[Outcome], old: Rendered) -> list[str]:
    again = {f"{o.column} {o.name}" for o in outcomes}
    causes = {cause: [item for item in items if item not in again] for cause, items in old.causes.items()}
    for outcome in outcomes:
        if outcome.good or not outcome.is_applicable:
            continue
        names = [known_cause(outcome, text.split(":")[0]) for text in outcome.differing]
        if outcome.left or (outcome.replay, outcome.verify) != ("equal", "clean"):
            names.append(known_cause(outcome))
        for name in dict.fromkeys(names):
            causes.setdefault(name or "**not known**", []).append(f"{outcome.column} {outcome.name}")
    causes = {cause: items for cause, items in causes.items() if items}
    if not causes:
        return ["No failures."]
    lines = ["| cause | items |", "|---|---|"]
    return [*lines, *(f"| {cause} | {', '.join(dict.fromkeys(items))} |" for cause, items in sorted(causes.items()))]
