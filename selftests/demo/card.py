#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: card.py FILE WIDTH HEIGHT PNG
#	 card.py beside WIDTH HEIGHT PNG FILE...
#
# Converts what was read from a framebuffer (XRGB8888, little endian), or what a VMM
# shows of it (PPM), to PNG and compares it, pixel by pixel, with the test card that is
# described here, by shapes painted one over the other; mem.c computes each pixel by
# itself. "beside" puts several of them into one picture.

import struct
import sys
import zlib


def reference(w, h):
    img = [[(0, 0, 0)] * w for _ in range(h)]

    def box(x0, y0, x1, y1, colour):
        for y in range(y0, y1):
            img[y][x0:x1] = [colour] * (x1 - x0)

    third, ramp = h * 2 // 3, h * 5 // 6
    bars = "fff ff0 0ff 0f0 f0f f00 00f 000".split()
    edges = [-(-i * w // 8) for i in range(9)]
    for i, bar in enumerate(bars):
        box(edges[i], 0, edges[i + 1], third, tuple(int(c * 2, 16) for c in bar))
    for x in range(w):
        box(x, third, x + 1, ramp, (x * 255 // (w - 1),) * 3)
    for y in range(ramp, h):
        for x in range(w):
            even = x % 16 < 8
            if y % 16 >= 8:
                even = not even
            img[y][x] = (0x20,) * 3 if even else (0xC0,) * 3
    r = h * 3 // 8
    for y in range(h):
        for x in range(w):
            if abs((x - w // 2) ** 2 + (y - h // 2) ** 2 - r * r) < 3 * r:
                img[y][x] = (0xFF, 0x80, 0)
    for edge in ((0, 0, w, 2), (0, h - 2, w, h), (0, 0, 2, h), (w - 2, 0, w, h)):
        box(*edge, (0xFF,) * 3)
    return img


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def write_png(name, img):
    h, w = len(img), len(img[0])
    rows = b"".join(b"\0" + b"".join(bytes(p) for p in row) for row in img)
    with open(name, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        f.write(chunk(b"IHDR", struct.pack(">2I5B", w, h, 8, 2, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(rows, 9)))
        f.write(chunk(b"IEND", b""))


def read_pixels(name, w, h):
    with open(name, "rb") as f:
        data = f.read()
    header = b"P6\n%d %d\n255\n" % (w, h)
    if data.startswith(header) and len(data) == len(header) + w * h * 3:
        values = iter(data[len(header):])
        pixels = list(zip(values, values, values))
    elif len(data) == w * h * 4:
        pixels = [(p >> 16 & 255, p >> 8 & 255, p & 255)
                  for p in struct.unpack(f"<{w * h}I", data)]
    else:
        sys.exit(f"{len(data)} bytes, not {w} x {h} pixels")
    return [pixels[y * w:(y + 1) * w] for y in range(h)]


def compare(name, w, h, png):
    w, h = int(w), int(h)
    img = read_pixels(name, w, h)
    write_png(png, img)
    want = reference(w, h)
    bad = [(x, y) for y in range(h) for x in range(w) if img[y][x] != want[y][x]]
    if bad:
        x, y = bad[0]
        print(f"{len(bad)} of {w * h} pixels differ, the first at {x},{y}: "
              f"{img[y][x]}, expected {want[y][x]}")
    return bool(bad)


def beside(w, h, png, *raws):
    images = [read_pixels(raw, int(w), int(h)) for raw in raws]
    write_png(png, [sum(rows, []) for rows in zip(*images)])
    return 0


if sys.argv[1] == "beside":
    sys.exit(beside(*sys.argv[2:]))
sys.exit(compare(*sys.argv[1:]))
