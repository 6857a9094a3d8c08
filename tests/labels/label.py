#!/usr/bin/env python3
"""Looks at and checks labels of footage; see README.md beside it.

  label.py show CLIP LABELS.json OUT [SEQ …]    pictures with grid and boxes, one a labelled frame
  label.py sheet CLIP OUT.png SEQ …             small pictures of these frames beside each other
  label.py apply LABELS.json EDITS.txt          puts the boxes of the edits in place of those of their frames
  label.py check LABELS.json [CLIP]             says what is wrong with the labels; with the clip, its size and hash
  label.py hog CLIP LABELS.json                 precision and recall of OpenCV's people detector (HOG)

A line of EDITS.txt is `SEQ: X0 Y0 X1 Y1 [s|i]; …` in pixels of the shown picture, which is 1.6 times the frame.
`s`: stands still, `i`: to be ignored.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np

SCALE = 1.6
GRID = 50
COLOURS = {"person": (0, 0, 255), "still": (255, 160, 0), "ignore": (160, 160, 160)}


def frames(clip, wanted):
    """The frames with these numbers, counted from 0, as OpenCV pictures."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "json", clip],
        check=True, capture_output=True)
    size = json.loads(probe.stdout)["streams"][0]
    select = "+".join(f"eq(n\\,{seq})" for seq in sorted(set(wanted)))
    decoder = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-i", clip, "-vf", f"select={select}", "-fps_mode", "passthrough",
         "-f", "rawvideo", "-pix_fmt", "bgr24", "-"], stdout=subprocess.PIPE)
    length = size["width"] * size["height"] * 3
    for seq in sorted(set(wanted)):
        pixels = decoder.stdout.read(length)
        if len(pixels) != length:
            sys.exit(f"{clip} has no frame {seq}")
        yield seq, np.frombuffer(pixels, np.uint8).reshape(size["height"], size["width"], 3).copy()
    if decoder.wait() != 0:
        sys.exit(f"ffmpeg could not read {clip}")


def grid(picture):
    """The picture enlarged, with a line every GRID pixels of the frame and their numbers."""
    picture = cv2.resize(picture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    height, width = picture.shape[:2]
    lines = picture.copy()
    for at in range(0, int(width / SCALE), GRID):
        cv2.line(lines, (int(at * SCALE), 0), (int(at * SCALE), height), (255, 255, 255), 1)
    for at in range(0, int(height / SCALE), GRID):
        cv2.line(lines, (0, int(at * SCALE)), (width, int(at * SCALE)), (255, 255, 255), 1)
    picture = cv2.addWeighted(picture, 0.75, lines, 0.25, 0)
    for at in range(0, int(width / SCALE), GRID):
        cv2.putText(picture, str(at), (int(at * SCALE) + 2, 10), 0, 0.38, (0, 255, 255), 1)
    for at in range(0, int(height / SCALE), GRID):
        cv2.putText(picture, str(at), (2, int(at * SCALE) + 10), 0, 0.38, (0, 255, 255), 1)
    return picture


def kind(box):
    return "ignore" if box.get("ignore") else "still" if box.get("still") else "person"


def show(arguments):
    labels = json.loads(arguments.labels.read_text())
    boxes = {frame["seq"]: frame["boxes"] for frame in labels["frames"]}
    wanted = arguments.seq or sorted(boxes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seq, picture in frames(arguments.clip, wanted):
        picture = grid(picture)
        for number, box in enumerate(boxes.get(seq, [])):
            corner = int(box["x"] * SCALE), int(box["y"] * SCALE)
            other = int((box["x"] + box["width"]) * SCALE), int((box["y"] + box["height"]) * SCALE)
            cv2.rectangle(picture, corner, other, COLOURS[kind(box)], 1)
            cv2.putText(picture, str(number), (corner[0], corner[1] - 3), 0, 0.45, COLOURS[kind(box)], 1)
        cv2.putText(picture, f"seq {seq}", (10, picture.shape[0] - 10), 0, 0.8, (0, 255, 255), 2)
        cv2.imwrite(str(arguments.out / f"{seq:05}.png"), picture)


def sheet(arguments):
    tiles = []
    for seq, picture in frames(arguments.clip, arguments.seq):
        tile = cv2.resize(picture, (240, 240 * picture.shape[0] // picture.shape[1]), interpolation=cv2.INTER_AREA)
        cv2.putText(tile, str(seq), (4, 14), 0, 0.5, (0, 255, 255), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
    cv2.imwrite(str(arguments.out), np.vstack([np.hstack(tiles[at:at + 6]) for at in range(0, len(tiles), 6)]))


def edited(text, width, height):
    """A box of an edit in pixels of the frame, clipped to it."""
    words = text.split()
    left, top, right, bottom = (round(float(word) / SCALE) for word in words[:4])
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top, "class": "person"}
    flags = {"s": "still", "i": "ignore"}
    return box | {flags[word]: True for word in words[4:]}


def apply(arguments):
    labels = json.loads(arguments.labels.read_text())
    found = {frame["seq"]: frame["boxes"] for frame in labels["frames"]}
    for line in arguments.edits.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            seq, _, boxes = line.partition(":")
            found[int(seq)] = [edited(box, labels["width"], labels["height"]) for box in boxes.split(";") if box.strip()]
    labels["frames"] = [{"seq": seq, "boxes": found[seq]} for seq in sorted(found)]
    arguments.labels.write_text(written(labels))


def written(labels):
    """JSON with a line for each box, so that a correction is a change of one line."""
    head = {key: value for key, value in labels.items() if key not in ("frames", "presence")}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key in ("frames", "presence"):
        items = []
        for item in labels.get(key, []):
            if key == "presence":
                items.append("    " + json.dumps(item))
            else:
                boxes = ",\n".join("      " + json.dumps(box) for box in item["boxes"])
                items.append(f'    {{"seq": {item["seq"]}, "boxes": [\n{boxes}\n    ]}}')
        body = ",\n".join(items)
        lines.append(f'  "{key}": [\n{body}\n  ]' if items else f'  "{key}": []')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def check(arguments):
    labels = json.loads(arguments.labels.read_text())
    wrong = []
    seqs = [frame["seq"] for frame in labels["frames"]]
    if seqs != sorted(set(seqs)):
        wrong.append("frames are not in order, or one is there twice")
    for frame in labels["frames"]:
        for box in frame["boxes"]:
            inside = 0 <= box["x"] and box["x"] + box["width"] <= labels["width"]
            inside &= 0 <= box["y"] and box["y"] + box["height"] <= labels["height"]
            if not inside or box["width"] < 3 or box["height"] < 3:
                wrong.append(f"frame {frame['seq']}: {box} is outside of the picture or empty")
    ends = [end for interval in labels["presence"] for end in (interval["begin"], interval["end"])]
    if ends != sorted(set(ends)):
        wrong.append("presence intervals overlap or are not in order")
    if arguments.clip:
        digest = hashlib.sha256(pathlib.Path(arguments.clip).read_bytes()).hexdigest()
        if digest != labels["sha256"]:
            wrong.append(f"{arguments.clip} is another clip: its SHA-256 is {digest}, not {labels['sha256']}")
    boxes = [kind(box) for frame in labels["frames"] for box in frame["boxes"]]
    print(f"{len(seqs)} frames, {', '.join(f'{boxes.count(name)} {name}' for name in COLOURS)},",
          f"{len(labels['presence'])} intervals")
    if wrong:
        sys.exit("\n".join(wrong))


def overlap(one, other):
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(high, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both), both / (one[2] * one[3])


def matched(found, truth):
    """How many of the found match a truth, each truth once, the best overlap first."""
    pairs = sorted(((overlap(one, other)[0], i, j) for i, one in enumerate(found) for j, other in enumerate(truth)),
                   reverse=True)
    ours, theirs = set(), set()
    for value, i, j in pairs:
        if value >= 0.3 and i not in ours and j not in theirs:
            ours.add(i)
            theirs.add(j)
    return ours


def hog(arguments):
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    labels = json.loads(arguments.labels.read_text())
    boxes = {frame["seq"]: frame["boxes"] for frame in labels["frames"]}
    right = wrong = people = 0
    for seq, picture in frames(arguments.clip, boxes):
        # The detector's window is 64 x 128 pixels, with a person of about 96 pixels in it.
        picture = cv2.resize(picture, None, fx=SCALE, fy=SCALE)
        found, _ = detector.detectMultiScale(picture, winStride=(8, 8), padding=(16, 16), scale=1.05)
        found = [tuple(side / SCALE for side in (x + 0.2 * w, y + 0.1 * h, 0.6 * w, 0.8 * h)) for x, y, w, h in found]
        as_tuple = lambda box: (box["x"], box["y"], box["width"], box["height"])
        truth = [as_tuple(box) for box in boxes[seq] if not box.get("ignore")]
        ignored = [as_tuple(box) for box in boxes[seq] if box.get("ignore")]
        ours = matched(found, truth)
        right += len(ours)
        people += len(truth)
        wrong += sum(1 for i, one in enumerate(found)
                     if i not in ours and all(overlap(one, other)[1] < 0.5 for other in ignored))
    print(f"HOG at IoU 0.3: precision {right / max(right + wrong, 1):.3f}, recall {right / max(people, 1):.3f},",
          f"{people} people, {right + wrong} found")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    path = pathlib.Path
    for name, run, parts in (
            ("show", show, [("clip", str, None), ("labels", path, None), ("out", path, None), ("seq", int, "*")]),
            ("sheet", sheet, [("clip", str, None), ("out", path, None), ("seq", int, "+")]),
            ("apply", apply, [("labels", path, None), ("edits", path, None)]),
            ("check", check, [("labels", path, None), ("clip", str, "?")]),
            ("hog", hog, [("clip", str, None), ("labels", path, None)])):
        command = commands.add_parser(name)
        for part, kind_of, count in parts:
            command.add_argument(part, type=kind_of, nargs=count) if count else command.add_argument(part, type=kind_of)
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
