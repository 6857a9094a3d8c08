"""Runs an example exactly as it stands and tells which pictures it saw.

An example prints once a picture. Whenever it does, its variable `picture` is looked at, and one line of JSON goes to
standard output: what was printed, the counter burnt into a test picture (or null), and a hash of the pixels.

    observe.py EXAMPLE.py PICTURES [BROKERS]

ends after PICTURES pictures. BROKERS takes the place of 127.0.0.1:9092 in the example, where the test's broker is
elsewhere.
"""

import hashlib
import json
import sys

import cv2
import numpy as np

COLUMNS, ROWS, SYNC, THRESHOLD = 32, 4, 0xB5C3, 126
ADDRESS = "127.0.0.1:9092"


def checksum(data):
    """CRC-16/CCITT-FALSE."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def read_marker(picture):
    """The counter in a picture of `test:`, as crates/source/src/pattern/marker.rs draws it; None without one."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    height, width = luma.shape
    cell = min(width // COLUMNS, height // (3 * ROWS), 32) & ~1
    if cell < 4:
        return None
    top = height - ROWS * cell & ~7
    inset = cell // 4
    bits = 0
    for index in range(COLUMNS * ROWS):
        x, y = index % COLUMNS * cell + inset, top + index // COLUMNS * cell + inset
        side = cell - 2 * inset
        bits = bits << 1 | int(np.mean(luma[y : y + side, x : x + side]) > THRESHOLD)
    data = bits.to_bytes(16, "big")
    if int.from_bytes(data[:2], "big") != SYNC or int.from_bytes(data[14:], "big") != checksum(data[:14]):
        return None
    return int.from_bytes(data[2:6], "big")


def main(example, pictures, brokers=ADDRESS):
    with open(example, encoding="utf-8") as file:
        code = file.read()
    if brokers != ADDRESS:
        assert code.count(ADDRESS) == 1, f"{example} names {ADDRESS} once"
        code = code.replace(ADDRESS, brokers)
    seen = 0
    names = {"__name__": "__main__", "__file__": example}

    def told(*words, **_):
        nonlocal seen
        picture = names["picture"]
        line = {
            "said": " ".join(map(str, words)),
            "marker": read_marker(picture),
            "sha256": hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest(),
        }
        print(json.dumps(line), flush=True)
        seen += 1
        if seen >= int(pictures):
            sys.exit(0)

    names["print"] = told
    exec(compile(code, example, "exec"), names)


if __name__ == "__main__":
    main(*sys.argv[1:])
