"""Memory of a training step beside what else there is: python tests/bench/memory.py RAZORC FOLDER [--ort PYTHON] [--keep FILE]

Batch 8, SGD with momentum 0.9, f32, batch normalization frozen, everything else trained. FOLDER holds the ONNX files of
MODELS, with weights of any kind. A row is
- dynamic: the most that is alive beside weights and optimizer state: for razorc, as planned; for PyTorch, tensors by its
  own count, scratch of its kernels left out
- total: the same with weights and optimizer state
- grows by: what the process really takes for it over the steps, weights and optimizer state included; a peer at the best
  of the settings of malloc in ALLOCATORS, and as it is installed. The command's own code that the steps bring in counts
- cosine: between razorc's first gradient and the exact one, without the last layer's
Each run is a process of its own. PyTorch in four ways: as it is, with each block checkpointed, with that and each weight
updated as soon as its gradient is there, and with Back Razor at 90 % as hooks on everything that autograd saves. ONNX
Runtime's trainer has no momentum, and PYTHON is an interpreter that has it (`pip install onnxruntime-training-cpu==1.19.2
"onnx==1.16.2" "numpy<2"`, and torch); rows that cannot be had say so. Megabytes are 10^6 bytes. Rows of others that
--keep FILE holds are not measured again. Needs torch, torchvision, timm, transformers and numpy.
"""
import argparse, contextlib, ctypes, gc, json, os, re, subprocess, sys, tempfile

BATCH, STEPS = 8, 2
MODELS = {
    "ViT-B/16": "vit_b16_224.onnx",
    "ResNet-50": "resnet50_224.onnx",
    "MobileNetV2": "mobilenet_v2_224.bn.onnx",
    "BERT-base, 128 tokens": "bert_base.onnx",
}
TORCH = {
    "dense": "PyTorch",
    "checkpoint": "PyTorch, each block checkpointed",
    "update": "PyTorch, checkpointed, updates in the backward pass",
    "hooks": "PyTorch, Back Razor at 90 % as saved-tensor hooks",
}
RETURNING = "mmap from 64 KiB"
ALLOCATORS = {
    "as installed": {},
    RETURNING: {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"},
}
RAZORC = {
    "razorc, dense": ["--sparsity", "0", "--no-recompute"],
    "razorc, dense, recomputed": ["--sparsity", "0"],
    **{f"razorc, {it} % pruned": ["--sparsity", f"0.{it}"] for it in (80, 90, 95, 97)},
}


def status(key):
    with open("/proc/self/status") as lines:
        return next(1024 * int(it.split()[1]) for it in lines if it.startswith(key))


def forget_peak():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")


def network(name):
    """A model of PyTorch, its blocks, and inputs of a step."""
    import torch

    if name.startswith("BERT"):
        from transformers import BertConfig, BertForSequenceClassification

        none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = BertForSequenceClassification(BertConfig(num_labels=2, attn_implementation="sdpa", **none))
        inputs = [torch.randint(5, 30522, (BATCH, 128)), torch.ones(BATCH, 128, dtype=torch.int64)]
        return model, list(model.bert.encoder.layer), inputs, lambda *it: model(*it).logits, 2
    image = [torch.randn(BATCH, 3, 224, 224)]
    if name.startswith("ViT"):
        import timm

        model = timm.create_model("vit_base_patch16_224", pretrained=False)
        return model, list(model.blocks), image, model, 1000
    import torchvision.models

    if name == "ResNet-50":
        model = torchvision.models.resnet50(weights=None)
        blocks = [it for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for it in layer]
        return model, blocks, image, model, 1000
    model = torchvision.models.mobilenet_v2(weights=None, dropout=0.0)
    return model, list(model.features), image, model, 1000


class Packed:
    """A bitmap and the values of the largest magnitudes of each row, by the published rule."""

    def __init__(self, x, rows):
        import torch

        flat = x.reshape(rows, -1)
        smallest = max(1, int(0.9 * flat.shape[1]))
        mask = flat.abs()
        mask = mask >= mask.kthvalue(smallest, dim=1, keepdim=True).values
        self.shape, self.values = x.shape, flat[mask]
        bits = torch.nn.functional.pad(mask.reshape(-1), (0, -mask.numel() % 8)).view(-1, 8)
        self.bits = (bits * torch.tensor([1 << it for it in range(8)], dtype=torch.uint8)).sum(1, dtype=torch.uint8)

    def dense(self):
        import torch

        mask = (self.bits[:, None] & torch.tensor([1 << it for it in range(8)], dtype=torch.uint8)) != 0
        found = torch.zeros(self.shape.numel())
        found[mask.view(-1)[: found.numel()]] = self.values
        return found.view(self.shape)


def back_razor(model):
    """Prunes every activation that autograd saves."""
    import torch

    own = {it.untyped_storage().data_ptr() for it in [*model.parameters(), *model.buffers()]}

    def pack(x):
        large = x.dtype == torch.float32 and 1 < x.dim() and 4096 <= x.numel() and x.shape[0] % BATCH == 0
        return Packed(x, BATCH) if large and x.untyped_storage().data_ptr() not in own else x

    return torch.autograd.graph.saved_tensors_hooks(pack, lambda it: it.dense() if isinstance(it, Packed) else it)


def torch_run(name, mode):
    """Bytes of a run of PyTorch: weights, optimizer state, most that lived beside them, growth of the process."""
    import torch
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    torch.set_num_threads(2)
    model, blocks, inputs, forward, classes = network(name)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False
    if mode in ("checkpoint", "update"):
        for block in blocks:
            block.forward = lambda *it, forward=block.forward, **more: checkpoint(forward, *it, use_reentrant=False, **more)
    parameters = [it for it in model.parameters() if it.requires_grad]
    make = lambda it: torch.optim.SGD(it, lr=1e-4, momentum=0.9)
    optimizers = [make([it]) for it in parameters] if mode == "update" else [make(parameters)]
    if mode == "update":
        own = dict(zip(parameters, optimizers))

        def update(parameter):
            own[parameter].step()
            parameter.grad = None

        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(update)
    targets = torch.randint(0, classes, (BATCH,))

    def step():
        [it.zero_grad() for it in optimizers]
        with back_razor(model) if mode == "hooks" else contextlib.nullcontext():
            loss = torch.nn.functional.cross_entropy(forward(*inputs), targets)
        loss.backward()
        if mode != "update":
            optimizers[0].step()

    weights = sum(it.numel() * it.element_size() for it in [*model.parameters(), *model.buffers()])
    state = sum(it.numel() * it.element_size() for it in parameters)
    before = forget_peak()
    for _ in range(STEPS):
        step()
    growth = status("VmHWM") - before
    found = {"weights": weights, "state": state, "grows": growth + weights}
    return found if os.environ.keys() & ALLOCATORS[RETURNING].keys() else found | {"dynamic": live_bytes(optimizers, step)}


def live_bytes(optimizers, step):
    """The most bytes of tensors that live in a step beside those that lived before it."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    [it.zero_grad() for it in optimizers]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    allocations = []

    def walk(events):
        for it in events:
            if it.tag == torch._C._profiler._EventType.Allocation:
                allocations.append((it.start_time_ns, it.extra_fields.alloc_size))
            walk(it.children)

    walk(found.profiler.kineto_results.experimental_event_tree())
    live = most = 0
    for _, size in sorted(allocations, key=lambda it: it[0]):
        live += size
        most = max(most, live)
    return most


def ort_artifacts(path, folder):
    import onnx
    from onnxruntime.training import artifacts

    model = onnx.load(path)
    for at, node in enumerate(model.graph.node):
        # Its gradient of layer normalization needs both optional outputs.
        if node.op_type == "LayerNormalization" and len(node.output) == 1:
            node.output.extend([f"ln{at}_mean", f"ln{at}_inverse"])
    read = {it for node in model.graph.node for it in node.input}
    frozen = {it for node in model.graph.node if node.op_type == "BatchNormalization" for it in node.input[1:]}
    floats = [it.name for it in model.graph.initializer if it.data_type == 1 and it.dims and it.name in read - frozen]
    artifacts.generate_artifacts(model, requires_grad=floats, loss=artifacts.LossType.CrossEntropyLoss,
                                 optimizer=artifacts.OptimType.SGD, artifact_directory=folder)


def ort_run(path, folder, arena):
    import numpy as np, onnx, onnxruntime
    from onnxruntime.training.api import CheckpointState, Module, Optimizer

    graph = onnx.load(path, load_external_data=False).graph
    rng = np.random.default_rng(0)
    initializers = {it.name for it in graph.initializer}
    weights = sum(4 * int(np.prod(it.dims)) for it in graph.initializer if it.data_type == 1)
    inputs = []
    for it in graph.input:
        if it.name not in initializers:
            dims = [BATCH, *[axis.dim_value for axis in it.type.tensor_type.shape.dim][1:]]
            text = it.type.tensor_type.elem_type != 1
            inputs.append(rng.integers(0, 2, dims) if text else rng.standard_normal(dims, dtype=np.float32))
    classes = graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    targets = rng.integers(0, classes, BATCH)
    del graph
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    options.enable_cpu_mem_arena = arena
    before = forget_peak()
    state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
    module = Module(f"{folder}/training_model.onnx", state, None, device="cpu", session_options=options)
    optimizer = Optimizer(f"{folder}/optimizer_model.onnx", module)
    module.train()
    forget_peak()
    for _ in range(STEPS):
        module(*inputs, targets)
        optimizer.step()
        module.lazy_reset_grad()
    grows = status("VmHWM") - before
    return {"weights": weights, "state": 0, "dynamic": None, "grows": grows}


def own(python, environment, *arguments):
    """A row that this script measures in a process of its own."""
    run = subprocess.run([python, os.path.abspath(__file__), *arguments], env=os.environ | environment, capture_output=True, text=True)
    if run.returncode:
        return {"error": (run.stderr.strip().splitlines() or ["no output"])[-1][:160]}
    return json.loads(run.stdout.strip().splitlines()[-1])


def best(runs):
    """The run that grows least, with what it grows by as installed."""
    good = {name: it for name, it in runs.items() if "error" not in it}
    if not good:
        return next(iter(runs.values()))
    name = min(good, key=lambda it: good[it]["grows"])
    first = good.get(next(iter(runs)), good[name])
    return good[name] | {"dynamic": first.get("dynamic"), "setting": name, "installed": first["grows"]}


def ort_row(python, path):
    with tempfile.TemporaryDirectory() as folder:
        made = own(python, {}, "--part", "artifacts", path, folder)
        if "error" in made:
            return made
        settings = {"as installed": ({}, "arena"), f"{RETURNING}, no arena": (ALLOCATORS[RETURNING], "no arena")}
        return best({name: own(python, environment, "--part", arena, path, folder) for name, (environment, arena) in settings.items()})


def razorc_row(razorc, path, options):
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        run = lambda *it: subprocess.run([razorc, *it], check=True, capture_output=True, text=True).stdout
        try:
            batch = [] if "--batch" in options else ["--batch", str(BATCH)]
            run("compile", path, *batch, "--optimizer", "sgd", *options, "-o", f"{folder}/a.trainer")
            plan = json.loads(run("inspect", f"{folder}/a.trainer", "--memory", "--json"))
            rng = np.random.default_rng(0)
            rows = STEPS * BATCH
            if "bert" in os.path.basename(path):
                np.savez(f"{folder}/x.npz", ids=rng.integers(5, 30522, (rows, 128)), mask=np.ones((rows, 128), np.int64), y=rng.integers(0, 2, rows))
                data = ["--data", f"{folder}/x.npz"]
            else:
                np.save(f"{folder}/x.npy", rng.standard_normal((rows, 3, 224, 224), dtype=np.float32))
                np.save(f"{folder}/y.npy", rng.integers(0, 1000, rows))
                data = ["--data", f"{folder}/x.npy", "--targets", f"{folder}/y.npy", "--preset", "raw"]
            lines = run("train", f"{folder}/a.trainer", *data, "--steps", str(STEPS), "--lr", "1e-9", "--threads", "2", "--json")
        except subprocess.CalledProcessError as error:
            return {"error": (error.stderr.strip().splitlines() or ["no output"])[0][:160]}
    events = [json.loads(it) for it in lines.strip().splitlines()]
    check = next((it for it in events if it["event"] == "check"), {})
    return {"weights": plan["weights"], "state": plan["optimizer"], "dynamic": plan["dynamic_peak"],
            "grows": events[-1]["measured_peak"] + events[-1]["file_pages"], "cosine": check.get("cosine")}


def micro(razorc):
    """Options of razorc for one row at a time, and what to call them."""
    usage = subprocess.run([razorc, "compile", "--help"], capture_output=True, text=True).stdout
    return (["--micro-batch", "1"], "micro-batch 1") if "--micro-batch" in usage else (["--batch", "1"], "batch 1")


def markdown(name, row):
    if "error" in row:
        return f"| {name} | not to be had: {row['error']} | | | | |"
    mb = lambda it: "" if it is None else f"{it / 1e6:.1f}"
    dynamic, fixed = row["dynamic"], row["weights"] + row["state"]
    total = None if dynamic is None else dynamic + fixed
    setting = f" ({row['setting']})" if row.get("setting", "as installed") != "as installed" else ""
    cosine = "" if row.get("cosine") is None else f"{row['cosine']:.2f}"
    return f"| {name} | {mb(dynamic)} | {mb(total)} | {mb(row['grows'])}{setting} | {mb(row.get('installed'))} | {cosine} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("razorc")
    parser.add_argument("folder")
    parser.add_argument("--ort", default=os.environ.get("ORT_TRAINING_PYTHON", sys.executable), metavar="PYTHON")
    parser.add_argument("--keep", metavar="FILE", help="rows of others that were measured before, and where to put new ones")
    parser.add_argument("--only", default="", metavar="REGEX", help="models and rows, such as `ResNet-50: razorc`")
    arguments = parser.parse_args()
    kept = {}
    if arguments.keep and os.path.exists(arguments.keep):
        with open(arguments.keep) as file:
            kept = json.load(file)

    shown = set()

    def row(model, name, measure):
        key = f"{model}: {name}"
        if not re.search(arguments.only, key):
            return
        if model not in shown:
            print(f"\n{model}, MB\n\n| | dynamic | total | grows by | as installed | cosine |\n|---|---|---|---|---|---|")
            shown.add(model)
        if key not in kept or name.startswith("razorc"):
            kept[key] = measure()
            if arguments.keep:
                with open(arguments.keep, "w") as file:
                    json.dump(kept, file, indent=1)
        print(markdown(name, kept[key]), flush=True)

    alone, label = micro(arguments.razorc)
    for model, file in MODELS.items():
        path = os.path.join(arguments.folder, file)
        for mode, name in TORCH.items():
            row(model, name, lambda: best({it: own(sys.executable, env, "--part", "torch", model, mode) for it, env in ALLOCATORS.items()}))
        row(model, "onnxruntime-training 1.19.2, SGD without momentum", lambda: ort_row(arguments.ort, path))
        for name, options in RAZORC.items():
            row(model, name, lambda: razorc_row(arguments.razorc, path, options))
        for name in ("razorc, dense", "razorc, 90 % pruned"):
            row(model, f"{name}, {label}", lambda: razorc_row(arguments.razorc, path, RAZORC[name] + alone))


def part(what, first, second):
    if what == "torch":
        print(json.dumps(torch_run(first, second)))
    elif what == "artifacts":
        ort_artifacts(first, second)
        print("{}")
    else:
        print(json.dumps(ort_run(first, second, what == "arena")))


if __name__ == "__main__":
    part(*sys.argv[2:]) if sys.argv[1:2] == ["--part"] else main()
