"""Many files, each mapped while only a few are open."""

import mmap
import os
import sys
import tempfile

count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
maps = []
for number in range(count):
    with tempfile.TemporaryFile() as file:
        file.write(b"%d " % number + os.urandom(5000))
        file.flush()
        maps.append(mmap.mmap(file.fileno(), 5000, mmap.MAP_PRIVATE, mmap.PROT_READ))
print([int(mapped[:9].split()[0]) for mapped in maps])
print("~", [mapped[4990:] for mapped in maps])
