"""A network learns to outline shapes: python tests/bench/segmentation.py RAZORC RESNET20.onnx

Images are made by rule: on a slanted, noisy ground lie up to four discs, squares and triangles of any color, size and
turn, one over the other; the mask says which shape a pixel shows. The network is the pretrained classifier up to its last
feature maps of each size, and a fresh score for each, enlarged and added, as in a fully convolutional network. It is
trained for the same number of steps with everything saved, with 90 % pruned, and with the scores alone trained. Adam,
learning rate falling to zero, SEEDS. Needs numpy and onnx.
"""
import argparse, json, os, statistics, subprocess, tempfile
import numpy as np, onnx
from onnx import helper, numpy_helper

SEEDS = (0, 1, 2)
CLASSES, SIZE, LEARN, SCORE, BATCH = 4, 64, 600, 200, 16


def shape(rng, kind, rows, columns):
    """Where one of the shapes is."""
    center = rng.uniform(0.15, 0.85, 2) * SIZE
    radius = rng.uniform(0.12, 0.28) * SIZE
    turn = rng.uniform(0, 2 * np.pi)
    y, x = rows - center[0], columns - center[1]
    if kind == 1:
        return np.hypot(y, x) < radius
    corners = 4 if kind == 2 else 3
    sides = [turn + 2 * np.pi * it / corners for it in range(corners)]
    inner = radius * (0.9 if corners == 4 else 0.65)
    return np.all([x * np.cos(it) + y * np.sin(it) < inner for it in sides], axis=0)


def picture(rng):
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    slope = rng.uniform(-0.6, 0.6, (2, 3))
    image = rng.uniform(40, 215, 3) + rows[..., None] * slope[0] + columns[..., None] * slope[1]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(rng.integers(1, 5)):
        kind = rng.integers(1, CLASSES)
        inside = shape(rng, kind, rows, columns)
        image[inside] = rng.uniform(0, 255, 3) + rng.uniform(-0.8, 0.8, 3) * columns[inside][:, None]
        mask[inside] = kind
    image += rng.normal(0, 18, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask


def pictures(seed, count):
    rng = np.random.default_rng(seed)
    found = [picture(rng) for _ in range(count)]
    return np.stack([it[0] for it in found]), np.stack([it[1] for it in found])


def network(path, seed):
    """The classifier's features with a score for each pixel on top."""
    model = onnx.load(path)
    graph = onnx.shape_inference.infer_shapes(model).graph
    dims = {it.name: [axis.dim_value for axis in it.type.tensor_type.shape.dim] for it in graph.value_info}
    # The last activation of each size.
    features = list({tuple(dims[name][1:]): name for node in graph.node if node.op_type == "Relu" for name in node.output}.items())
    rng = np.random.default_rng(seed)
    nodes, weights, sums = [], [], []
    for at, ((channels, height, _), name) in enumerate(features):
        bound = 1 / np.sqrt(channels)
        weights.append(numpy_helper.from_array(rng.uniform(-bound, bound, (CLASSES, channels, 1, 1)).astype(np.float32), f"score.{at}.weight"))
        weights.append(numpy_helper.from_array(np.zeros(CLASSES, np.float32), f"score.{at}.bias"))
        nodes.append(helper.make_node("Conv", [name, f"score.{at}.weight", f"score.{at}.bias"], [f"score.{at}"], kernel_shape=[1, 1]))
        scale = features[0][0][1] // height
        if 1 < scale:
            weights.append(numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), f"score.{at}.scale"))
            nodes.append(helper.make_node("Resize", [f"score.{at}", "", f"score.{at}.scale"], [f"score.{at}.large"],
                                          mode="linear", coordinate_transformation_mode="half_pixel"))
        sums.append(f"score.{at}" if scale == 1 else f"score.{at}.large")
    for at, name in enumerate(sums[1:]):
        out = "scores" if at + 2 == len(sums) else f"sum.{at}"
        nodes.append(helper.make_node("Add", [sums[0] if at == 0 else f"sum.{at - 1}", name], [out]))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    del model.graph.output[:]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param or 1
    model.graph.output.append(helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [batch, CLASSES, None, None]))
    wanted, kept = {"scores"}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    for at in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[at].name not in wanted:
            del model.graph.initializer[at]
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("razorc")
    parser.add_argument("model")
    parser.add_argument("--epochs", default="4")
    parser.add_argument("--lr", default="1e-3")
    parser.add_argument("--head-lr", default="1e-2")
    parser.add_argument("--threads", default="2")
    it = parser.parse_args()
    print(f"{LEARN} images of {SIZE} px to learn from, {SCORE} to score, {it.epochs} epochs of {LEARN // BATCH} steps\n")
    print("| saved | trained | mIoU (each seed) | minus dense | pixels right | validation loss | saved MiB | planned MiB |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, seed, count in (("train", 1, LEARN), ("val", 2, SCORE)):
            images, masks = pictures(seed, count)
            np.save(f"{folder}/{name}.npy", images)
            np.save(f"{folder}/{name}-masks.npy", masks)

        def run(*arguments):
            return subprocess.run([it.razorc, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

        def learn(options, lr, seed):
            onnx.save(network(it.model, seed), f"{folder}/a.onnx")
            name = onnx.load(f"{folder}/a.onnx").graph.input[0].name
            run("compile", f"{folder}/a.onnx", "--task", "segmentation", "--batch", str(BATCH), *options,
                "--input-shape", f"{name}={BATCH},3,{SIZE},{SIZE}", "-o", f"{folder}/a.trainer")
            files = ["--data", f"{folder}/train.npy", "--targets", f"{folder}/train-masks.npy", "--val", f"{folder}/val.npy", "--val-targets", f"{folder}/val-masks.npy"]
            lines = run("train", f"{folder}/a.trainer", *files, "--preset", "imagenet", "--epochs", it.epochs, "--lr", lr,
                        "--schedule", "linear", "--seed", str(seed), "--threads", it.threads, "--json")
            return json.loads(lines.strip().splitlines()[-1])

        dense = None
        policies = {"everything": ["--sparsity", "0"], "90 % pruned": ["--sparsity", "0.9"], "nothing": ["--sparsity", "0", "--train", "score.*"]}
        for name, options in policies.items():
            alone = name == "nothing"
            ends = [learn(options, it.head_lr if alone else it.lr, seed) for seed in SEEDS]
            plan = json.loads(run("inspect", f"{folder}/a.trainer", "--memory", "--json"))
            mean = lambda key: statistics.mean(end[key] for end in ends)
            miou = 100 * mean("val_miou")
            dense = dense or miou
            each = ", ".join(f"{100 * end['val_miou']:.1f}" for end in ends)
            print(f"| {name} | {'the scores' if alone else 'all'} | {miou:.1f} ({each}) | {miou - dense:+.1f} | {100 * mean('val_accuracy'):.1f} % | {mean('val_loss'):.3f} "
                  f"| {plan['saved_packed'] / 2**20:.1f} | {plan['planned_peak'] / 2**20:.1f} |", flush=True)


if __name__ == "__main__":
    main()
