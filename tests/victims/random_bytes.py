"""Reads as many megabytes of random bytes as asked, and prints a checksum after each.

usage: random_bytes.py [MEGABYTES]
"""

import hashlib
import os
import sys

digest = hashlib.sha256()
for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
    digest.update(os.urandom(2**20))
    os.write(1, b"~ %d %s\n" % (number, digest.hexdigest().encode()))
print("end")
