"""What pydicom and numpy make of frames.

    pictures.py LIST

LIST is JSON: objects of file, frame (from 0), kind and samples (a file of bytes). One object of JSON comes out: how many
frames have the same values, nearly the same (lossy ones, and colours that were converted: at most 3 of 255 apart), which
are wrong, and how many pydicom cannot read.
"""

import collections
import json
import sys
import warnings

import numpy
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array

KINDS = {"u8": "u1", "u16": "<u2", "i16": "<i2", "f32": "<f4", "rgb": "u1"}


def expected(data_set, frame, kind):
    # Colours as red, green and blue.
    array = pixel_array(data_set, raw=False)
    frames = int(data_set.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        array = array[frame]
    photometric = data_set.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, data_set)
        bits = data_set.RedPaletteColorLookupTableDescriptor[2]
        return array >> 8 if bits > 8 and array.max() > 255 else array
    if kind == "rgb" and array.dtype.itemsize > 1:
        array = array >> (data_set.BitsStored - 8)
    return array


def judge(entry):
    data_set = pydicom.dcmread(entry["file"], force=True)
    try:
        wanted = expected(data_set, entry["frame"], entry["kind"]).ravel()
    except Exception as error:
        return "unknown", str(error)
    found = numpy.fromfile(entry["samples"], dtype=KINDS[entry["kind"]])
    if found.size != wanted.size:
        return "wrong", f"{found.size} samples instead of {wanted.size}"
    if entry["kind"] == "f32":
        return ("same" if numpy.array_equal(found, wanted.astype("<f4")) else "wrong"), "floats"
    apart = int(numpy.abs(found.astype("i8") - wanted.astype("i8")).max())
    if apart == 0:
        return "same", ""
    lossy = data_set.file_meta.TransferSyntaxUID.is_compressed or entry["kind"] == "rgb"
    return ("near" if lossy and apart <= 3 else "wrong"), f"{apart} apart"


def main():
    warnings.simplefilter("ignore")
    said = collections.Counter()
    wrong, why = [], []
    for entry in json.load(open(sys.argv[1])):
        verdict, text = judge(entry)
        said[verdict] += 1
        if verdict == "wrong":
            wrong.append([entry["file"], entry["frame"], entry["kind"], text])
        elif verdict != "same":
            why.append([entry["file"].rsplit("/", 1)[-1], verdict, text])
    print(json.dumps({"wrong": wrong, "why": why, **{name: said[name] for name in ("same", "near", "unknown")}}))


if __name__ == "__main__":
    main()
