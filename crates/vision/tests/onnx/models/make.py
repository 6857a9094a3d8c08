"""Makes the models of the tests in this folder: `pip install onnx numpy && python3 make.py`.

Each is a few kilobytes: most give the same numbers for every picture, in the forms that real models have.
`bright.onnx` looks at its picture: each of 8 × 8 cells is a candidate whose score is the cell's brightness.
"""

import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

HERE = pathlib.Path(__file__).parent
F32, I64, U8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
PLANAR = ("images", F32, [1, 3, 64, 64])


def model(name, nodes, outputs, inputs=(PLANAR,), weights=(), names=None):
    info = [helper.make_tensor_value_info(*value) for value in inputs]
    out = [helper.make_tensor_value_info(*value) for value in outputs]
    tensors = [numpy_helper.from_array(data, key) for key, data in weights]
    graph = helper.make_graph(nodes, name, info, out, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="make.py")
    made.ir_version = 8
    if names:
        helper.set_model_props(made, {"names": names})
    save(made, HERE / f"{name}.onnx")


def constant(name, outputs, **more):
    """Gives the same numbers for every picture."""
    nodes = [helper.make_node("Identity", [f"{key}_fixed"], [key]) for key, _ in outputs]
    kinds = {"float32": F32, "int64": I64}
    values = [(key, kinds[str(data.dtype)], list(data.shape)) for key, data in outputs]
    model(name, nodes, values, weights=[(f"{key}_fixed", data) for key, data in outputs], **more)


def f32(data):
    return np.array(data, np.float32)


# A YOLOv5 with 64 × 64 has 3 × (64 + 16 + 4) candidates. Two overlap in one class, one is in another, one is unsure.
v5 = np.zeros((1, 252, 7), np.float32)
v5[0, 10] = [16, 32, 16, 32, 0.9, 0.8, 0.1]
v5[0, 11] = [17, 32, 16, 32, 0.9, 0.7, 0.1]
v5[0, 12] = [17, 32, 16, 32, 0.9, 0.1, 0.6]
v5[0, 13] = [48, 48, 8, 8, 0.3, 0.6, 0.1]
constant("yolov5", [("output0", v5)], names="{0: 'person', 1: 'car'}")

# The same as YOLOv8 has it, with the numbers of masks behind the classes.
v8 = np.zeros((1, 8, 84), np.float32)
v8[0, :, 10] = [16, 32, 16, 32, 0.72, 0.1, 9, 9]
v8[0, :, 11] = [17, 32, 16, 32, 0.63, 0.1, 9, 9]
v8[0, :, 12] = [17, 32, 16, 32, 0.1, 0.54, 9, 9]
v8[0, :, 13] = [48, 48, 8, 8, 0.18, 0.1, 9, 9]
masks = np.zeros((1, 2, 4, 4), np.float32)
constant("yolov8", [("output0", v8), ("output1", masks)], names="{0: 'person', 1: 'car'}")

listed = [[8, 16, 24, 48, 0.72, 0], [9, 16, 25, 48, 0.54, 1], [0, 0, 0, 0, 0, 0]]
constant("end-to-end", [("output0", f32([listed]))], names="{0: 'person', 1: 'car'}")

# Anchors in parts of the picture; the first class is the background.
boxes = f32([[[0.125, 0.25, 0.375, 0.75], [0.14, 0.25, 0.39, 0.75], [0.5, 0.5, 0.9, 0.9]]])
scores = f32([[[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]]])
constant("ssd", [("scores", scores), ("boxes", boxes)])

# As TensorFlow's models are: rows before columns, bytes in, any size.
constant(
    "tensorflow",
    [
        ("detection_boxes", f32([[[0.25, 0.125, 0.75, 0.375], [0.5, 0.5, 0.9, 0.9], [0, 0, 1, 1]]])),
        ("detection_classes", f32([[1, 2, 1]])),
        ("detection_scores", f32([[0.72, 0.5, 0.9]])),
        ("num_detections", f32([2])),
    ],
    inputs=(("input_tensor", U8, [1, None, None, 3]),),
)

# As torchvision's are: pixels, and whole numbers for classes.
constant(
    "torchvision",
    [
        ("1042", f32([[8, 16, 24, 48], [9, 16, 25, 48]])),
        ("1043", np.array([1, 2], np.int64)),
        ("1044", f32([0.72, 0.54])),
    ],
)

# One candidate for each cell of 8 × 8 pixels, as sure as the cell is bright.
centres = (np.arange(8) * 8 + 4).astype(np.float32)
x, y = np.meshgrid(centres, centres)
cells = np.stack([x.ravel(), y.ravel(), np.full(64, 8), np.full(64, 8)]).astype(np.float32)[None]
model(
    "bright",
    [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMean", ["pooled"], ["gray"], axes=[1], keepdims=1),
        helper.make_node("Reshape", ["gray", "row"], ["score"]),
        helper.make_node("Concat", ["cells", "score"], ["output0"], axis=1),
    ],
    [("output0", F32, [1, 5, 64])],
    weights=[("cells", cells), ("row", np.array([1, 1, 64], np.int64))],
    names="['light']",
)

# What no detector has.
constant("classifier", [("probabilities", f32([[0.5] * 10]))])
constant("two-inputs", [("output0", f32([listed]))], inputs=(PLANAR, ("threshold", F32, [1])))
constant("logits", [("output0", f32([[[8, 16, 24, 48, 5.5, 0]]]))])
model("unknown-operator", [helper.make_node("Mystery", ["images"], ["output0"])], [("output0", F32, [1, 3, 6])])
