"""The Python call stacks of a stopped process, read from its memory alone: nothing is executed in it.

    interpreter = Interpreter.find(memory, modules)
    for thread in interpreter.threads() if interpreter else ():
        for frame in thread.frames:
            print(frame.file, frame.line, frame.function)

CPython 3.8 to 3.14, without free-threaded builds, on x86-64. The idea is py-spy's.
"""

from .frames import PythonFrame
from .image import Module
from .interpreter import Interpreter, PythonThread
from .memory import Memory
from .version import interpreter_version

__all__ = ["Interpreter", "Memory", "Module", "PythonFrame", "PythonThread", "interpreter_version"]
