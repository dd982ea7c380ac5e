"""The same fine-tuning in PyTorch: python tests/bench/training.py MODEL.onnx TASK X.npy Y.npy VAL_X.npy VAL_Y.npy [options]

MODEL is what razorc starts from (`razorc export MODEL.trainer -o MODEL.onnx` of a trainer that has not been trained gives
it, fresh classifier and all). PyTorch runs it node by node in f64, on a GPU if there is one, and trains everything with
Adam and a learning rate that falls to zero, batch normalization frozen, as `razorc train` does by default; the order of
the rows is another one.
Prints one line of JSON. Arrays are those that razorc takes; a language model needs no Y (`-`). Needs torch, onnx and numpy.
"""
import argparse, json
import numpy as np, torch
import torch.nn.functional as F
from gradients import OPS, Network

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def pad(it, attrs):
    mode = attrs.get("mode", b"constant").decode()
    pads = attrs["pads"] if "pads" in attrs else it[1].tolist()
    rank = it[0].dim()
    pairs = [side for axis in reversed(range(rank)) for side in (pads[axis], pads[axis + rank])]
    return F.pad(it[0], pairs, mode, it[2].item() if 2 < len(it) and it[2] is not None else 0.0)


def average_pool(it, attrs):
    assert not any(attrs.get("pads", [])) and not attrs.get("ceil_mode", 0)
    return F.avg_pool2d(it[0], attrs["kernel_shape"], attrs.get("strides", [1, 1]))


def resize(it, attrs):
    assert (attrs["mode"], attrs["coordinate_transformation_mode"]) == (b"linear", b"half_pixel")
    return F.interpolate(it[0], scale_factor=it[2].tolist()[2:], mode="bilinear", align_corners=False)


def batch_norm(it, attrs):
    x, scale, bias, mean, variance = it
    return F.batch_norm(x, mean, variance, scale, bias, False, eps=attrs.get("epsilon", 1e-5))


OPS |= {
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Clip": lambda it, _: it[0].clamp(it[1].item(), it[2].item()),
    "GlobalAveragePool": lambda it, _: it[0].mean((2, 3), keepdim=True),
    "Flatten": lambda it, attrs: it[0].flatten(attrs.get("axis", 1)),
    "Pad": pad,
    "Resize": resize,
}


def overlaps(scores, targets):
    """Intersections and unions of each class, to be added up."""
    guess, classes = scores.argmax(1), scores.shape[1]
    pairs = [((guess == it) & (targets == it), (guess == it) | (targets == it)) for it in range(classes)]
    return np.array([[float(both.sum()), float(either.sum())] for both, either in pairs])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task", choices=["classification", "segmentation", "causal-lm"])
    parser.add_argument("arrays", nargs=4, metavar="ARRAY")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mean", default="0.485,0.456,0.406")
    parser.add_argument("--std", default="0.229,0.224,0.225")
    it = parser.parse_args()
    torch.manual_seed(it.seed)
    text = it.task == "causal-lm"
    x, y, val_x, val_y = (None if path == "-" else np.load(path) for path in it.arrays)
    if it.rows:
        x, y = x[: it.rows], y[: it.rows]
    if text:
        # The last token of a row is a target alone.
        y, val_y = x, val_x
        x, val_x = x[:, :-1], val_x[:, :-1]
    mean, std = (torch.tensor([float(part) for part in text.split(",")], dtype=torch.float64)[:, None, None] for text in (it.mean, it.std))

    def rows(array):
        found = torch.from_numpy(array.astype(np.int64 if text else np.float64))
        return (found if text else (found.permute(0, 3, 1, 2) / 255 - mean) / std).to(DEVICE)

    def loss(scores, targets):
        return F.cross_entropy(scores.flatten(0, 1), targets[:, 1:].flatten()) if text else F.cross_entropy(scores, targets)

    network = Network(it.model)
    norms = {name for node in network.nodes if node.op_type == "BatchNormalization" for name in node.input[1:]}
    leaves = network.start(norms, DEVICE)
    optimizer = torch.optim.Adam([leaf for leaf in leaves.values() if leaf.requires_grad], lr=it.lr)
    steps = it.steps or it.epochs * (len(x) // it.batch)
    targets = lambda array: torch.from_numpy(array.astype(np.int64)).to(DEVICE)
    order = []
    for step in range(steps):
        if len(order) < it.batch:
            order = np.random.default_rng((it.seed, step)).permutation(len(x))
        batch, order = order[: it.batch], order[it.batch :]
        optimizer.param_groups[0]["lr"] = it.lr * (1 - step / steps)
        optimizer.zero_grad()
        loss(network.scores(leaves, rows(x[batch])), targets(y[batch])).backward()
        optimizer.step()

    lost = right = pixels = 0
    with torch.no_grad():
        for at in range(0, len(val_x), it.batch):
            scores, wanted = network.scores(leaves, rows(val_x[at : at + it.batch])), targets(val_y[at : at + it.batch])
            share = len(wanted) / len(val_x)
            lost += loss(scores, wanted).item() * share
            if not text:
                right += (scores.argmax(1) == wanted).double().mean().item() * share
            if it.task == "segmentation":
                pixels = pixels + overlaps(scores, wanted)
    found = {"steps": steps, "val_loss": lost}
    if not text:
        found["val_accuracy"] = right
    if it.task == "segmentation":
        found["val_miou"] = float((pixels[:, 0] / pixels[:, 1]).mean())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
