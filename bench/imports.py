"""Imports 30 modules of the standard library: python bench/imports.py"""

import importlib

MODULES = """
argparse ast asyncio base64 calendar concurrent.futures configparser csv ctypes dataclasses decimal
difflib email.message fractions hashlib http.client inspect json logging multiprocessing pickle
random sqlite3 ssl statistics subprocess tarfile unittest urllib.request xml.etree.ElementTree
"""

if __name__ == "__main__":
    for name in MODULES.split():
        importlib.import_module(name)
    assert len(MODULES.split()) == 30
