"""Standard output and error opened a second time by their names in /dev."""

import os

with open("/dev/stdout", "w") as out, open("/dev/stderr", "w") as err:
    print("~", out.fileno(), err.fileno(), os.urandom(8).hex(), file=out, flush=True)
    print("through /dev/stdout", file=out, flush=True)
    print("through /dev/stderr", file=err, flush=True)
print("end")
