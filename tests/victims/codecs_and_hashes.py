"""Encoders, compressors and hashes over random data."""

import base64
import bz2
import hashlib
import json
import lzma
import marshal
import os
import pickle
import random
import zlib

data = {
    "numbers": [random.random() for _ in range(2000)],
    "strings": ["%x" % random.getrandbits(64) for _ in range(2000)],
    "nested": {str(number): {"list": list(range(number))} for number in range(50)},
}
text = json.dumps(data, sort_keys=True)
print(json.loads(text) == data, pickle.loads(pickle.dumps(data)) == data, marshal.loads(marshal.dumps(data)) == data)
payload = text.encode() + os.urandom(50000)
print("~", len(payload), payload[-32:])
for module in (zlib, bz2, lzma):
    packed = module.compress(payload)
    print(module.__name__, module.decompress(packed) == payload, len(packed) < len(payload))
    print("~", len(packed), zlib.crc32(packed), zlib.adler32(packed))
for name in sorted(hashlib.algorithms_guaranteed):
    digest = hashlib.new(name, payload)
    print(name)
    print("~", digest.hexdigest(20) if name.startswith("shake") else digest.hexdigest())
print(hashlib.sha256(b"pyrr").hexdigest())
print("~", hashlib.pbkdf2_hmac("sha256", payload[:8], os.urandom(16), 1000).hex())
for encoder in ("utf-8", "utf-16", "latin-1", "idna", "punycode", "rot13", "cp1252"):
    print(encoder, "Zürich".encode(encoder) if encoder not in ("rot13",) else encoder)
print("~", base64.b85encode(payload[-100:]))
