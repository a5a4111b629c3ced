"""Prints as many lines as asked, each written at once, each telling time and chance.

usage: long_output.py [LINES]
"""

import os
import sys
import time

for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 500):
    os.write(1, b"~ %d %d %s\n" % (number, time.time_ns(), os.urandom(16).hex().encode()))
