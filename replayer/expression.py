"""Paths into the variables of a frame, `order.lines[0].price`, followed by reading memory: nothing is executed."""

from __future__ import annotations

import ast

from ..errors import PyrrError
from ..pythonstack import Value
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
