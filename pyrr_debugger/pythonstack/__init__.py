"""The Python call stacks and variables of a stopped process, read from its memory alone: nothing is executed in it.

    interpreter = Interpreter.find(memory, modules)
    for thread in interpreter.threads() if interpreter else ():
        for frame in thread.frames:
            print(frame.file, frame.line, frame.function)

CPython 3.8 to 3.14, without free-threaded builds, on x86-64. The idea is py-spy's.
"""

from .frames import KnownCodes, PythonFrame
from .image import Module, exported
from .interpreter import Interpreter, PythonThread, Traceback
from .memory import Memory
from .variables import Value, Variables
from .version import interpreter_version

__all__ = [
    "Interpreter",
    "KnownCodes",
    "Memory",
    "Module",
    "PythonFrame",
    "PythonThread",
    "Traceback",
    "Value",
    "Variables",
]
__all__ += ["exported", "interpreter_version"]
