"""A directory, a file in it that is mapped, an argument and a variable whose names are bytes that are not UTF-8."""

import mmap
import os
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as root:
    os.chdir(root)
    os.mkdir(b"caf\xe9")
    os.chdir(b"caf\xe9")
    with open(b"\xff\xfe.txt", "wb") as file:
        file.write(b"mapped")
    with open(b"\xff\xfe.txt", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        print(memory[:])
    os.environb[b"VICTIM"] = b"\x80"
    code = "import os, sys; print(ascii(sys.argv[1:]), os.environb[b'VICTIM'], os.listdir(b'.'))"
    print("~", root, flush=True)
    subprocess.run([sys.executable, "-c", code, b"\xe4rger"], check=True)
