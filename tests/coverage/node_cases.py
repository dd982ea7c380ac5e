"""Writes the node cases of the ONNX backend tests as folders, for `cargo test -p razorc-tests --test node_cases`.

    python node_cases.py FOLDER

FOLDER gets cases.json and a folder for each case: model.onnx, input_K.pb and output_K.pb (TensorProto). The same version
of the package `onnx` writes the same bytes. Needs `pip install onnx`.
"""
import json
import os
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_node_model_tests


def operator(model):
    """The operator that a case is about: its first node's, constants apart."""
    operators = [node.op_type for node in model.graph.node]
    return next((it for it in operators if it != "Constant"), operators[0])


def tensors(values):
    """Each value as a tensor; none for sequences and optional values."""
    if all(isinstance(it, (np.ndarray, np.generic, onnx.TensorProto)) for it in values):
        as_proto = lambda it: it if isinstance(it, onnx.TensorProto) else numpy_helper.from_array(np.asarray(it))
        return [as_proto(it) for it in values]
    return None


def main(folder):
    os.makedirs(folder, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = sorted(load_node_model_tests(), key=lambda it: it.name)
    operators = {it.name: operator(it.model) for it in cases}
    rows = []
    for case in cases:
        base, _, rest = case.name.partition("_expanded")
        row = {"name": case.name, "operator": operators.get(base, operators[case.name]), "expanded": bool(rest) or base != case.name}
        row |= {"rtol": case.rtol, "atol": case.atol}
        inputs, outputs = case.data_sets[0]
        inputs, outputs = tensors(inputs), tensors(outputs)
        row["tensors"] = inputs is not None and outputs is not None
        rows.append(row)
        place = os.path.join(folder, case.name)
        os.makedirs(place, exist_ok=True)
        files = {"model.onnx": case.model}
        if row["tensors"]:
            files |= {f"input_{at}.pb": it for at, it in enumerate(inputs)}
            files |= {f"output_{at}.pb": it for at, it in enumerate(outputs)}
        for name, message in files.items():
            with open(os.path.join(place, name), "wb") as file:
                file.write(message.SerializeToString(deterministic=True))
    with open(os.path.join(folder, "cases.json"), "w") as file:
        json.dump({"onnx": onnx.__version__, "cases": rows}, file, indent=0)
    print(f"{len(rows)} cases of onnx {onnx.__version__} in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
