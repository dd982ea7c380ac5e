"""Time of a training step beside PyTorch's, in one run: python tests/bench/speed.py RAZORC RESNET18.onnx MOBILENETV2.onnx

Both do the same work: 224 px, batch 8, SGD with momentum, batch normalization frozen, everything else trained, two
threads. PyTorch is shown in plain f32, in its channels-last layout, and in bfloat16; razorc dense, with 90 % pruned, and
dense with batch 1, the honest rival for memory. The rounds take turns, so that a slow moment of the machine hits all.
Needs torch, torchvision and numpy; the ONNX files are exports with BatchNormalization nodes (`*.bn.onnx`).
"""
import json, os, statistics, subprocess, sys, tempfile, time

os.environ["OMP_NUM_THREADS"] = "2"
import numpy as np, torch, torchvision

ROUNDS, STEPS, BATCH = 3, 4, 8
torch.set_num_threads(2)


def torch_step(build, layout, dtype):
    model = build(weights=None).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model = model.to(memory_format=layout)
    x = torch.randn(BATCH, 3, 224, 224).to(memory_format=layout)
    y = torch.randint(0, 1000, (BATCH,))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    def round():
        times = []
        for _ in range(STEPS):
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    round()
    return round


def razorc_step(razorc, onnx, folder, sparsity, batch):
    trainer = f"{folder}/{sparsity}-{batch}.trainer"
    subprocess.run([razorc, "compile", onnx, "--batch", str(batch), "--sparsity", sparsity, "--optimizer", "sgd", "-o", trainer],
                   check=True, capture_output=True)

    def round():
        lines = subprocess.run([razorc, "train", trainer, "--data", f"{folder}/x.npy", "--targets", f"{folder}/y.npy", "--steps", str(STEPS + 2),
                                "--lr", "1e-4", "--threads", "2", "--preset", "raw", "--json"], check=True, capture_output=True, text=True).stdout
        end = json.loads(lines.strip().splitlines()[-1])
        round.peak = end["planned_peak"] / 2**20
        return end["step_ms"] * BATCH / batch

    return round


def main(razorc, *models):
    for onnx, build in zip(models, (torchvision.models.resnet18, torchvision.models.mobilenet_v2)):
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng(0)
            np.save(f"{folder}/x.npy", rng.standard_normal((64, 3, 224, 224), dtype=np.float32))
            np.save(f"{folder}/y.npy", rng.integers(0, 1000, 64))
            rows = {
                "PyTorch f32": torch_step(build, torch.contiguous_format, torch.float32),
                "PyTorch f32, channels last": torch_step(build, torch.channels_last, torch.float32),
                "PyTorch bf16, channels last": torch_step(build, torch.channels_last, torch.bfloat16),
                "razorc, dense": razorc_step(razorc, onnx, folder, "0", BATCH),
                "razorc, 90 % pruned": razorc_step(razorc, onnx, folder, "0.9", BATCH),
                "razorc, dense, batch 1 (8 steps)": razorc_step(razorc, onnx, folder, "0", 1),
            }
            times = {name: [] for name in rows}
            for _ in range(ROUNDS):
                for name, round in rows.items():
                    times[name].append(round())
            base = statistics.median(times["PyTorch f32"])
            print(f"\n{os.path.basename(onnx)}: ms for {BATCH} images, median of {ROUNDS} rounds of {STEPS} steps; ratio to PyTorch f32; arena")
            for name, found in times.items():
                peak = getattr(rows[name], "peak", None)
                print(f"{name:34}{statistics.median(found):9.0f}{statistics.median(found) / base:8.2f}{'' if peak is None else f'{peak:10.1f} MiB'}")


main(*sys.argv[1:])
