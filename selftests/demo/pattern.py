#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: pattern.py make SEED SIZE >FILE
#	 pattern.py check FILE OFFSET SIZE SEED
#
# The pattern of mem.c, for the disk that the rig's machine has.

import struct
import sys

MASK = (1 << 64) - 1


def pattern(seed, size):
    words = []
    for i in range(size // 8):
        z = ((seed << 32) + (i + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(z ^ (z >> 31))
    return struct.pack("<%dQ" % len(words), *words)


def main(argv):
    if argv[0] == "make":
        sys.stdout.buffer.write(pattern(int(argv[1], 0), int(argv[2], 0)))
        return 0
    name, offset, size, seed = argv[1], *(int(a, 0) for a in argv[2:5])
    with open(name, "rb") as f:
        f.seek(offset)
        return f.read(size) != pattern(seed, size)


sys.exit(main(sys.argv[1:]))
