"""Imports half of the standard library: hundreds of stats, opens, reads and file mappings."""

import importlib
import sys

NAMES = """
abc argparse array ast asyncio base64 bdb binascii bisect bz2 calendar cmath cmd code codecs codeop collections
colorsys compileall concurrent.futures configparser contextlib contextvars copy copyreg csv ctypes curses
dataclasses datetime dbm decimal difflib dis doctest email email.mime.text encodings.idna enum errno faulthandler
fcntl filecmp fileinput fnmatch fractions ftplib functools gc getopt getpass gettext glob graphlib grp gzip hashlib
heapq hmac html html.parser http.client http.cookies http.server imaplib importlib.metadata inspect io ipaddress
itertools json keyword linecache locale logging logging.handlers lzma mailbox marshal math mimetypes mmap
modulefinder multiprocessing netrc numbers operator optparse os pdb pickle pickletools pkgutil platform plistlib
poplib posix pprint profile pstats pty pwd py_compile pyclbr pydoc queue quopri random re readline reprlib resource
rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtplib socket socketserver
sqlite3 ssl stat statistics string stringprep struct subprocess symtable sysconfig tabnanny tarfile tempfile termios
textwrap threading time timeit token tokenize trace traceback tracemalloc tty types typing unicodedata unittest
unittest.mock urllib.parse urllib.request uuid venv warnings wave weakref webbrowser wsgiref.simple_server
xml.dom.minidom xml.etree.ElementTree xml.sax xmlrpc.client zipapp zipfile zipimport zlib zoneinfo
""".split()

for name in NAMES:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print("missing", name, type(error).__name__)
    else:
        print("~", name, id(module), hash(name), sorted(vars(module), key=hash)[:3])
print(len(sys.modules), "modules")
