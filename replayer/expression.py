"""Paths into the variables of a frame, `order.lines[0].price`, followed by reading memory: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ..errors import PyrrError
from ..pythonstack import Value, Variables
from ..pythonstack.memory import UnreadableError
from .stack import PythonStack


def evaluate(stack: PythonStack, index: int, text: str) -> Value:
    """What a path means in frame `index`. Raises PyrrError, with what is wrong, when it means nothing."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise PyrrError(f"{text!r} is no expression: {error}") from None
    if not stack.frames:
        raise PyrrError("no Python runs here")
    try:
        return _follow(stack, index, tree)
    except (UnreadableError, RecursionError) as error:
        raise PyrrError(f"{text}: its memory cannot be read ({error})") from None


Again = Callable[[Variables], int]
"""Looks for the pointer once more, in another state of the memory."""


def place(stack: PythonStack, index: int, text: str) -> tuple[int, Again]:
    """The address of the pointer that a path of names, attributes and items ends in, and how to look for it again where
    the frame, or the object that has it, is still there. Raises PyrrError."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise PyrrError(f"{text!r} is no expression: {error}") from None
    if stack.frames and stack.variables is not None:
        try:
            again = _place(stack, index, tree)
            found = again(stack.variables) if again else 0
        except (UnreadableError, RecursionError) as error:
            raise PyrrError(f"{text}: its memory cannot be read ({error})") from None
        if again and found:
            return found, again
    raise PyrrError(f"{text} cannot be watched: only variables, attributes in a __dict__, items of lists and dicts")


def _place(stack: PythonStack, index: int, tree: ast.expr) -> Again | None:
    frame = stack.frames[index]
    if isinstance(tree, ast.Name):
        return lambda variables: variables.place_of_name(frame.address, frame.code, tree.id)
    if isinstance(tree, ast.Attribute):
        address = _follow(stack, index, tree.value).address
        return lambda variables: variables.place_of_attribute(address, tree.attr)
    if isinstance(tree, ast.Subscript):
        try:
            key = ast.literal_eval(tree.slice)
        except ValueError:
            key = _follow(stack, index, tree.slice).decoded()
        address = _follow(stack, index, tree.value).address
        return lambda variables: variables.place_of_item(address, key)
    return None


def _follow(stack: PythonStack, index: int, tree: ast.expr) -> Value:
    if isinstance(tree, ast.Name):
        found = stack.lookup(index, tree.id)
        if found is None:
            raise PyrrError(f"name {tree.id!r} is not defined in {stack.frames[index].function}")
        return found
    if isinstance(tree, ast.Attribute):
        base = _follow(stack, index, tree.value)
        found = base.attribute(tree.attr)
        if found is None:
            raise PyrrError(f"{ast.unparse(tree.value)}, a {base.type_name}, has no attribute {tree.attr!r} of its own")
        return found
    if isinstance(tree, ast.Subscript):
        base = _follow(stack, index, tree.value)
        try:
            key = ast.literal_eval(tree.slice)
        except ValueError:
            variable = _follow(stack, index, tree.slice)
            key = variable.decoded()
        found = base.item(key)
        if found is None:
            raise PyrrError(f"{ast.unparse(tree.value)}, a {base.type_name}, has no item {key!r}")
        return found
    raise PyrrError(f"{ast.unparse(tree)}: only names, attributes and items can be looked up: a.b[0]['key']")
