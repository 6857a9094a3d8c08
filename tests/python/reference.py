"""Hashes of the pictures in a folder of picture files or in a video file, a line each, in order.

    reference.py PATH
"""

import hashlib
import os
import sys

import av
import cv2


def pictures(path):
    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            yield cv2.imread(os.path.join(path, name), cv2.IMREAD_COLOR)
        return
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


for picture in pictures(sys.argv[1]):
    print(hashlib.sha256(picture.tobytes()).hexdigest())
