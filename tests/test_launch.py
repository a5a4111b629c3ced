"""The short way into a recording understands a command line as click does, or leaves it to click."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrr_debugger.commands import record
from pyrr_debugger.recorder.launch import Request, plain_request


def by_click(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> Request | None:
    seen: list[Request] = []
    monkeypatch.setattr(record, "record", seen.append)
    try:
        record.command.main(words, standalone_mode=False)
    except click.ClickException:
        return None
    return seen[0] if seen else None


OPTIONS = ["-q", "--quiet", "-o", "--output", "--output=x", "-qo", "-ox", "--", "-", "--help", "--quie"]
WORDS = st.sampled_from([*OPTIONS, "python", "-c", "pass", ""])


@given(words=st.lists(WORDS, max_size=6))
def test_what_is_understood_without_click_is_what_click_understands(words: list[str]) -> None:
    understood = plain_request(["record", *words])
    if understood is not None:
        with pytest.MonkeyPatch.context() as patch:
            assert by_click(patch, words) == understood


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["python", "-c", "pass"], Request(("python", "-c", "pass"))),
        (["-q", "-o", "t", "--", "ls", "-q"], Request(("ls", "-q"), "t", True)),
        (["--output", "t", "ls", "--", "x"], Request(("ls", "--", "x"), "t")),
    ],
)
def test_common_command_lines_go_the_short_way(words: list[str], request_: Request) -> None:
    assert plain_request(["record", *words]) == request_


@pytest.mark.parametrize("line", ["", "record", "replay x", "record --help", "record -o", "record --"])
def test_other_command_lines_are_left_to_click(line: str) -> None:
    assert plain_request(line.split()) is None
