"""A directory of 2,000 entries: read whole, in parts, by scandir with stat, from the middle, while it changes."""

import os
import tempfile

COUNT = 2000

with tempfile.TemporaryDirectory() as directory:
    for number in range(COUNT):
        with open(os.path.join(directory, "entry %d%s" % (number, "x" * (number % 100))), "w") as file:
            file.write("y" * (number % 50))
    names = os.listdir(directory)
    print(len(names), sum(map(len, names)))
    print("~", names[:5], hash(tuple(names)))
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.stat().st_size, entry.is_dir(), entry.inode()) for entry in entries]
    print(len(found), sum(size for _, size, _, _ in found), any(is_dir for _, _, is_dir, _ in found))
    print("~", [inode for *_, inode in found][:10])
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if number % 2:
                os.unlink(entry.path)
    left = os.listdir(directory)
    print("left some", 0 < len(left) < COUNT)
    descriptor = os.open(directory, os.O_RDONLY)
    print(sorted(os.listdir(descriptor)) == sorted(left))
    os.close(descriptor)
    print(sum(os.path.exists(os.path.join(directory, name)) for name in names) == len(left))
