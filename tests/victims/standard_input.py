"""Reads a line with input() and the rest from sys.stdin, and says what kind of thing that is."""

import os
import sys
import termios

for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.name, stream.isatty())
    print("~", os.fstat(stream.fileno()))
try:
    print(os.get_terminal_size(0))
    print("~", os.ttyname(0), termios.tcgetattr(0), os.tcgetpgrp(0), os.ctermid())
except OSError as error:
    print("no terminal", error.errno)
    print("~", error)
print("hello", input("name? "))
for number, line in enumerate(sys.stdin):
    print(number, repr(line))
    print("~", id(line))
print("end", repr(sys.stdin.read()))
