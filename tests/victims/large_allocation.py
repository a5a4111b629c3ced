"""200 MB, every page touched with random bytes, and their checksum."""

import os
import zlib

SIZE = 200 * 2**20
block = bytearray(SIZE)
seed = os.urandom(4096)
for offset in range(0, SIZE, 4096):
    block[offset : offset + 8] = (offset ^ int.from_bytes(seed[:7], "little")).to_bytes(8, "little")
block[SIZE // 2 : SIZE // 2 + 4096] = seed
print(len(block))
print("~", zlib.crc32(block), id(block), seed[:16].hex())
del block
again = [bytearray(2**20) for _ in range(50)]
print(sum(map(len, again)))
print("~", [id(one) for one in again])
