"""Four processes write to a pipe that is full most of the time: who of those that sleep is served first?"""

import os

children = []
for child in range(4):
    pid = os.fork()
    if not pid:
        for line in range(400):
            os.write(1, b"~ %d %d %s\n" % (child, line, b"." * (90 + line % 7)))
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
