"""Loss and all gradients beside PyTorch's: python tests/bench/gradients.py RAZORC MODEL.onnx...

razorc is a black box here: a model is compiled for plain SGD, takes one step at a learning rate so large that nothing of
the old weights is left in the new ones but rounding, and is exported; the difference of the weights is the gradient.
PyTorch runs the ONNX file node by node in f64, and its autograd does the rest. Both are compared dense and by the rule of
the published code at 90 %, for each optimizer setting that takes another way through razorc.

By that rule the copies that layers, products of activations, softmax and normalization save are pruned where no less than
the n * 0.9 smallest magnitudes of a sample lie below, ties kept; GELU's input is saved in 16 bits; the first and the last
layer read exact tensors. Rows are chosen so that no magnitude lies so near to its threshold that f32 could not tell.
A model whose input is whole numbers is a language model. Needs torch, onnx and numpy.
"""
import argparse, json, math, os, subprocess, sys, tempfile
import numpy as np, onnx, torch
import torch.nn.functional as F
from onnx import numpy_helper

# A gradient may be off by TOLERANCE of its norm, and by FLOOR of that of the norm of all of them together.
TOLERANCE, FLOOR = 1e-4, 1e-3
SPARSITY, LEARNING_RATE, CANDIDATES = 0.9, 2.0**20, 64
# Tables of rotary positions are constants, though an ONNX file does not say so; razorc knows them.
CONSTANTS = ("attention.cos", "attention.sin")


class Published:
    """The published mask, and how near any magnitude of each sample came to its threshold."""

    def __init__(self, rows):
        self.margin = torch.full((rows,), math.inf, dtype=torch.float64)

    def hat(self, x):
        flat = x.detach().abs().reshape(len(self.margin), -1)
        smallest = int(np.clip(flat.shape[1] * SPARSITY, 1, flat.shape[1]))
        threshold = flat.kthvalue(smallest, dim=1, keepdim=True).values
        below = torch.where(flat < threshold, flat, torch.zeros_like(flat)).amax(1)
        gap = (threshold[:, 0] - below) / threshold[:, 0].clamp_min(1e-300)
        self.margin = torch.minimum(self.margin, torch.where(threshold[:, 0] == 0, math.inf, gap))
        return x.detach() * (flat >= threshold).reshape(x.shape)


def pruned(forward, backward):
    """A function of tensors, and its gradients from the cotangent and what `forward` saved besides its result."""

    class Op(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *operands):
            result, ctx.kept = forward(*operands)
            return result

        @staticmethod
        def backward(ctx, dy):
            return backward(dy, *ctx.kept)

    return Op.apply


def to(gradient, like):
    return gradient.sum_to_size(like.shape)


def linear(x, w, hat):
    def back(dy):
        return dy @ w.transpose(-2, -1), to(hat.reshape(-1, hat.shape[-1]).T @ dy.reshape(-1, dy.shape[-1]), w)

    return pruned(lambda x, w: (x @ w, ()), back)(x, w)


def product(a, b, a_hat, b_hat):
    def back(dy):
        return to(dy @ b_hat.transpose(-2, -1), a), to(a_hat.transpose(-2, -1) @ dy, b)

    return pruned(lambda a, b: (a @ b, ()), back)(a, b)


def softmax(x, axis, hat):
    def forward(x):
        y = F.softmax(x, axis)
        return y, (hat(y),)

    return pruned(forward, lambda dy, y: y * (dy - (dy * y).sum(axis, keepdim=True)))(x)


def norm(x, scale, bias, epsilon, centred, hat):
    """Layer normalization, or by the root mean square, of the last axis, from exact statistics and a pruned input."""

    def forward(x, scale, bias):
        mean = x.mean(-1, keepdim=True) if centred else torch.zeros_like(x[..., :1])
        rstd = ((x - mean).square().mean(-1, keepdim=True) + epsilon).rsqrt()
        return (x - mean) * rstd * scale + bias, ((hat - mean) * rstd, rstd)

    def back(dy, unit, rstd):
        g = dy * scale
        inner = g - unit * (g * unit).mean(-1, keepdim=True) - (g.mean(-1, keepdim=True) if centred else 0)
        return rstd * inner, to(dy * unit, scale), to(dy, bias)

    return pruned(forward, back)(x, scale, bias)


def gelu(x):
    rounded = x.detach().to(torch.float16).double()

    def back(dy):
        density = torch.exp(-rounded.square() / 2) / math.sqrt(2 * math.pi)
        return dy * (0.5 * (1 + torch.erf(rounded / math.sqrt(2))) + rounded * density)

    return pruned(lambda x: (F.gelu(x), ()), back)(x)


class Network:
    """An ONNX graph that PyTorch runs node by node."""

    def __init__(self, path):
        self.graph = onnx.load(path).graph
        self.weights = {it.name: numpy_helper.to_array(it) for it in self.graph.initializer}
        # Exporters merge equal weights; razorc trains each reader's own.
        self.nodes = []
        for node in self.graph.node:
            if node.op_type == "Identity" and node.input[0] in self.weights:
                self.weights[node.output[0]] = self.weights[node.input[0]]
            else:
                self.nodes.append(node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.input = next(it for it in self.graph.input if it.name not in self.weights)
        self.fixed = set(self.weights)
        for node in self.nodes:
            if all(it in self.fixed for it in node.input if it) or node.op_type == "Shape":
                self.fixed.update(node.output)
        self.ends = self.first() | self.last()

    def is_layer(self, node):
        return node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in self.fixed

    def first(self):
        """Values that no layer lies before."""
        found = {self.input.name} | self.fixed
        for node in self.nodes:
            if not self.is_layer(node) and all(it in found for it in node.input if it):
                found.update(node.output)
        return found

    def last(self):
        """Values that lead to nothing but the last layer."""
        readers = {}
        for node in self.nodes:
            for name in node.input if node.op_type != "Shape" else []:
                readers.setdefault(name, []).append(node)
        behind, into = set(), set()
        for node in reversed(self.nodes):
            for name in node.output:
                reading = readers.get(name, [])
                ends = lambda it: all(out in behind for out in it.output)
                if all(not self.is_layer(it) and ends(it) for it in reading):
                    behind.add(name)
                elif all(ends(it) if self.is_layer(it) else all(out in into for out in it.output) for it in reading):
                    into.add(name)
        return into

    def factors(self, name):
        node = self.maker.get(name)
        if node is None or node.op_type != "Mul":
            return [name]
        return [factor for it in node.input for factor in self.factors(it)]

    def chain(self, name, *ops):
        """The first operand of the last of `ops`, if the value was made by them, the last one first."""
        for op in ops:
            node = self.maker.get(name)
            if node is None or node.op_type != op:
                return None
            name = next(it for it in node.input if it not in self.fixed)
        return name

    def gelu_of(self, name):
        factors = self.factors(name)
        x = next((x for it in factors if (x := self.chain(it, "Add", "Erf", "Div"))), None)
        return x if len(factors) == 3 and x in factors else None

    def rms_of(self, name):
        """What is normalized, its scale and epsilon."""
        factors = self.factors(name)
        for it in factors:
            for inverse in ("Div", "Reciprocal"):
                x = self.chain(it, inverse, "Sqrt", "Add", "ReduceMean", "Pow")
                scale = next((it for it in factors if it in self.fixed), None)
                if x in factors and scale and len(factors) == 3:
                    add = self.maker[self.maker[self.maker[it].input[-1]].input[0]]
                    return x, scale, next(it for it in add.input if it in self.fixed)
        return None

    def start(self, frozen=(), device="cpu"):
        """The weights as leaves; those that are numbers, masks, constants or `frozen` take no gradients."""
        leaves = {}
        for name, array in self.weights.items():
            tensor = torch.from_numpy(array.copy())
            # Shapes and indices are read on the processor.
            if tensor.is_floating_point():
                fixed = array.ndim == 0 or is_mask(array) or name.endswith(CONSTANTS) or name in frozen
                tensor = tensor.double().to(device).requires_grad_(not fixed)
            leaves[name] = tensor
        return leaves

    def scores(self, leaves, feed, rule=None):
        """The output; `rule` is the published one."""
        self.values = dict(leaves) | {self.input.name: feed}
        self.rule = rule
        for node in self.nodes:
            operands = [self.values[it] if it else None for it in node.input]
            results = self.node(node, operands, {it.name: onnx.helper.get_attribute_value(it) for it in node.attribute})
            self.values.update(zip(node.output, results if isinstance(results, (tuple, list)) else [results]))
        return self.values[self.graph.output[0].name]

    def run(self, feed, rule=None):
        """The output, and the leaves that it was made of."""
        leaves = self.start()
        return self.scores(leaves, feed, rule), leaves

    def hat(self, name):
        x = self.values[name]
        return x.detach() if name in self.ends else self.rule.hat(x)

    def node(self, node, it, attrs):
        op = node.op_type
        if self.rule and op == "MatMul":
            if self.is_layer(node):
                return linear(*it, self.hat(node.input[0]))
            return product(*it, *(self.hat(name) for name in node.input))
        if self.rule and op == "Softmax":
            exact = node.output[0] in self.ends
            return softmax(it[0], attrs.get("axis", -1), (lambda y: y.detach()) if exact else self.rule.hat)
        if self.rule and op == "LayerNormalization":
            return norm(*it, attrs["epsilon"], True, self.hat(node.input[0]))
        if self.rule and op == "Mul" and (x := self.gelu_of(node.output[0])):
            return gelu(self.values[x])
        if self.rule and op == "Mul" and (found := self.rms_of(node.output[0])):
            x, scale, epsilon = (self.values[name] for name in found)
            return norm(x, scale, torch.zeros_like(scale), epsilon.detach(), False, self.hat(found[0]))
        if op not in OPS:
            sys.exit(f"{node.name}: {op} is not among the operators of this script")
        return OPS[op](it, attrs)


def is_mask(array):
    """Attention's: training it would be meaningless."""
    return bool(np.all((array == 0) | (array < -1e4)) and (array < -1e4).any())


def axes(it, attrs):
    found = attrs.get("axes", it[1].reshape(-1).tolist() if 1 < len(it) and it[1] is not None else [])
    return list(found)


def slices(it, _):
    x, starts, ends = it[:3]
    axes = it[3].tolist() if 3 < len(it) and it[3] is not None else list(range(len(starts)))
    steps = it[4].tolist() if 4 < len(it) and it[4] is not None else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps):
        places = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x


def gather(it, attrs):
    x, index = it
    axis = attrs.get("axis", 0) % x.dim()
    index = torch.where(index < 0, index + x.shape[axis], index)
    found = x.index_select(axis, index.reshape(-1).to(x.device))
    return found.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def reshape(it, _):
    x, shape = it
    return x.reshape([x.shape[at] if size == 0 else size for at, size in enumerate(shape.tolist())])


def unsqueeze(it, attrs):
    found = it[0]
    for axis in sorted(axes(it, attrs)):
        found = found.unsqueeze(axis)
    return found


def window(it, attrs):
    top, left, bottom, right = attrs.get("pads", [0, 0, 0, 0])
    assert (top, left) == (bottom, right) and not attrs.get("ceil_mode", 0)
    return [top, left], attrs.get("strides", 1), attrs.get("dilations", 1)


def conv(it, attrs):
    padding, stride, dilation = window(it, attrs)
    return F.conv2d(it[0], it[1], it[2] if 2 < len(it) else None, stride, padding, dilation, attrs.get("group", 1))


def max_pool(it, attrs):
    padding, stride, dilation = window(it, attrs)
    return F.max_pool2d(it[0], attrs["kernel_shape"], stride, padding, dilation)


def gemm(it, attrs):
    assert attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1 and not attrs.get("transA", 0)
    return it[0] @ (it[1].T if attrs.get("transB", 0) else it[1]) + it[2]


def divide(it, _):
    return it[0] / it[1] if it[0].is_floating_point() else torch.div(it[0], it[1], rounding_mode="trunc")


def double(value):
    tensor = torch.from_numpy(numpy_helper.to_array(value).copy())
    return tensor.double() if tensor.is_floating_point() else tensor


CASTS = {onnx.TensorProto.FLOAT: torch.float64, onnx.TensorProto.INT64: torch.int64, onnx.TensorProto.BOOL: torch.bool}
OPS = {
    "Add": lambda it, _: it[0] + it[1],
    "Cast": lambda it, attrs: it[0].to(CASTS[attrs["to"]]),
    "Concat": lambda it, attrs: torch.cat(it, attrs["axis"]),
    "Constant": lambda it, attrs: double(attrs["value"]),
    "ConstantOfShape": lambda it, attrs: double(attrs["value"]).expand(it[0].tolist()),
    "Conv": conv,
    "Div": divide,
    "Equal": lambda it, _: it[0] == it[1],
    "Erf": lambda it, _: torch.erf(it[0]),
    "Expand": lambda it, _: it[0].expand(torch.broadcast_shapes(it[0].shape, it[1].tolist())),
    "Gather": gather,
    "Gemm": gemm,
    "Identity": lambda it, _: it[0],
    "LayerNormalization": lambda it, attrs: F.layer_norm(it[0], it[0].shape[-1:], it[1], it[2], attrs["epsilon"]),
    "MatMul": lambda it, _: it[0] @ it[1],
    "MaxPool": max_pool,
    "Mul": lambda it, _: it[0] * it[1],
    "Pow": lambda it, _: it[0] ** it[1].detach(),
    "Reciprocal": lambda it, _: 1 / it[0],
    "ReduceMean": lambda it, attrs: it[0].mean(axes(it, attrs), keepdim=bool(attrs.get("keepdims", 1))),
    "Relu": lambda it, _: torch.relu(it[0]),
    "Reshape": reshape,
    "Shape": lambda it, _: torch.tensor(it[0].shape),
    "Sigmoid": lambda it, _: torch.sigmoid(it[0]),
    "Slice": slices,
    "Softmax": lambda it, attrs: F.softmax(it[0], attrs.get("axis", -1)),
    "Split": lambda it, attrs: torch.split(it[0], it[1].tolist(), attrs.get("axis", 0)),
    "Sqrt": lambda it, _: torch.sqrt(it[0]),
    "Squeeze": lambda it, attrs: it[0].squeeze(axes(it, attrs)),
    "Sub": lambda it, _: it[0] - it[1],
    "Transpose": lambda it, attrs: it[0].permute(attrs["perm"]) if "perm" in attrs else it[0].T,
    "Unsqueeze": unsqueeze,
    "Where": lambda it, _: torch.where(*it),
}


def loss_of(scores, targets):
    if scores.dim() == 3:
        return F.cross_entropy(scores[:, :-1].reshape(-1, scores.shape[-1]), targets[:, 1:].reshape(-1))
    return F.cross_entropy(scores, targets)


def data(network, batch):
    """Rows on which the published rule has the widest margins, and their targets."""
    dims = [it.dim_value for it in network.input.type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    text = network.input.type.tensor_type.elem_type == onnx.TensorProto.INT64
    classes = network.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    shape = (CANDIDATES, *dims[1:])
    rows = rng.integers(0, classes, shape) if text else rng.standard_normal(shape, dtype=np.float32)
    margins = []
    for row in np.split(rows, CANDIDATES // batch):
        rule = Published(batch)
        with torch.no_grad():
            network.run(torch.from_numpy(row) if text else torch.from_numpy(row).double(), rule)
        margins.append(rule.margin)
    margins = torch.cat(margins)
    best = margins.argsort(descending=True)[:batch].numpy()
    targets = rows if text else rng.integers(0, classes, CANDIDATES)
    return rows[best], targets[best], margins[best].min().item(), text


def expected(network, rows, targets, rule):
    scores, leaves = network.run(torch.from_numpy(rows) if rows.dtype.kind == "i" else torch.from_numpy(rows).double(), rule)
    loss = loss_of(scores, torch.from_numpy(targets))
    loss.backward()
    return loss.item(), {name: it.grad.numpy() for name, it in leaves.items() if it.grad is not None}


def found(razorc, model, before, rows, targets, text, options):
    """razorc's loss, and the gradient of every weight that moved."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", rows)
        np.save(f"{folder}/y.npy", targets)
        run = lambda *it: subprocess.run([razorc, *it], check=True, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL).stdout
        task = ["--task", "causal-lm"] if text else []
        run("compile", model, "--batch", str(len(rows)), "--optimizer", "sgd", *task, *options, "-o", f"{folder}/a.trainer")
        inputs = [] if text else ["--preset", "raw", "--targets", f"{folder}/y.npy"]
        lines = run("train", f"{folder}/a.trainer", "--data", f"{folder}/x.npy", *inputs, "--steps", "1", "--json",
                    "--lr", str(LEARNING_RATE), "--schedule", "constant", "-o", f"{folder}/tuned.onnx")
        after = {it.name: numpy_helper.to_array(it) for it in onnx.load(f"{folder}/tuned.onnx").graph.initializer}
        moved = {name for name, it in after.items() if it.dtype.kind == "f" and not np.array_equal(it, before[name])}
        gradients = {name: (before[name].astype(np.float64) - after[name]) / LEARNING_RATE for name in moved}
        return json.loads(lines.strip().splitlines()[-1])["train_loss"], gradients


def compare(theirs, ours):
    """The worst relative error, its weight, and names that only one side has a gradient of."""
    floor = FLOOR * math.sqrt(sum(float((it**2).sum()) for it in theirs.values()))
    off = {name: float(np.linalg.norm(ours[name] - it)) / (float(np.linalg.norm(it)) + floor) for name, it in theirs.items() if name in ours}
    worst = max(off, key=off.get)
    only = [name for name, it in theirs.items() if name not in ours and it.any()]
    return off[worst], worst, only, [name for name in ours if name not in theirs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("razorc")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--options", default="", help="more options of `razorc compile`, for every run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failed = False
    print("| model | saved | optimizer | loss (PyTorch) | loss off | gradients | worst relative error | of |\n|---|---|---|---|---|---|---|---|")
    for model in arguments.models:
        network = Network(model)
        rows, targets, margin, text = data(network, arguments.batch)
        for policy, saving in (("everything", ["--sparsity", "0"]), ("90 %, published rule", ["--reference-mask", "--sparsity", "0.9"])):
            rule = Published(len(rows)) if "--reference-mask" in saving else None
            loss, gradients = expected(network, rows, targets, rule)
            for optimizer in (["--momentum", "0"], ["--momentum", "0.9"]):
                options = [*saving, *optimizer, *arguments.options.split()]
                own, moved = found(arguments.razorc, model, network.weights, rows, targets, text, options)
                worst, at, only, more = compare(gradients, moved)
                bad = TOLERANCE < worst or TOLERANCE < abs(own - loss) / abs(loss) or only or more
                failed |= bool(bad)
                print(f"| {os.path.basename(model)} | {policy} | SGD, {' '.join(optimizer)[2:]} | {loss:.6f} | {abs(own - loss) / abs(loss):.1e} "
                      f"| {len(moved)} | {worst:.1e} | {at}{' **OFF**' if bad else ''} |", flush=True)
                for name in only:
                    print(f"{model}: {name} has a gradient in PyTorch and does not move in razorc")
                for name in more:
                    print(f"{model}: {name} moves in razorc and has no gradient in PyTorch")
        print(f"{os.path.basename(model)}: no magnitude is nearer than {margin:.1e} of it to its threshold", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
