"""What a program inherits: arguments, environment, directory, limits, identity."""

import locale
import os
import platform
import resource
import sys
import tempfile

print(sys.argv[1:], sys.flags, sys.orig_argv[1:] if hasattr(sys, "orig_argv") else None)
print(sys.executable, sys.prefix, sys.version, sys.path)
for name in sorted(os.environ):
    print(name, "=", os.environ[name])
print(os.getcwd(), os.path.abspath("."), os.stat(".").st_mode)
print(os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups(), os.getresuid())
previous = os.umask(0o077)
print(oct(previous), oct(os.umask(previous)))
print("~", os.uname(), platform.platform(), os.sched_getaffinity(0), os.nice(0), os.cpu_count())
print(
    "~",
    [
        resource.getrlimit(number)
        for number in range(resource.RLIM_NLIMITS if hasattr(resource, "RLIM_NLIMITS") else 10)
    ],
)
print(locale.setlocale(locale.LC_ALL, ""), sys.stdout.encoding, sys.getfilesystemencoding())
print("~", sorted(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task"))
with tempfile.TemporaryDirectory(prefix="victim-") as root:
    os.environ["VICTIM"] = root
    os.chdir(root)
    print(os.getcwd() == os.path.realpath(root), os.environ["VICTIM"] == root)
    print("~", os.getcwd())
    os.chdir("..")
    os.chdir("/")
print(os.getcwd())
