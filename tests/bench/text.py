"""A language model learns Shakespeare: python tests/bench/text.py RAZORC MODEL.onnx TOKENIZER.bin TEXT.txt

MODEL takes rows of tokens; TOKENIZER.bin is its vocabulary in the form of llama2.c, TEXT.txt any text. Nine tenths of it
are learned from, rows of the last tenth are scored before and after the same number of steps with everything saved, with
90 % and 95 % pruned, and with the head alone trained. Adam, learning rate falling to zero, SEEDS. Needs numpy and onnx.
"""
import argparse, json, os, statistics, struct, subprocess, tempfile
import numpy as np, onnx

SEEDS = (0, 1, 2)
BATCH, STEPS, ROWS = 8, 250, 128
# Tables of rotary positions are constants, though an ONNX file does not say so.
CONSTANTS = ["--freeze", "*attention.cos", "--freeze", "*attention.sin"]


class Vocabulary:
    """Pieces with scores, merged pair by pair, the highest score first; what is in no piece is spelled in bytes."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        self.ids, self.scores, at = {}, [], 4
        while at < len(data):
            score, length = struct.unpack_from("fi", data, at)
            self.ids.setdefault(data[at + 8 : at + 8 + length], len(self.scores))
            self.scores.append(score)
            at += 8 + length

    def word(self, text):
        ids = []
        for letter in text:
            spelled = letter.encode()
            known = self.ids.get(spelled)
            ids += [known] if known is not None else [self.ids[b"<0x%02X>" % it] for it in spelled]
        pieces = {id: piece for piece, id in self.ids.items()}
        while True:
            pairs = [self.ids.get(pieces[a] + pieces[b]) for a, b in zip(ids, ids[1:])]
            found = [(self.scores[it], -at) for at, it in enumerate(pairs) if it is not None]
            if not found:
                return ids
            at = -max(found)[1]
            ids[at : at + 2] = [pairs[at]]

    def encode(self, text):
        """No piece has a space or a line's end within, so words are encoded apart."""
        known, ids, start = {}, [], 0
        ends = [at for at, letter in enumerate(text) if letter in " \n" and 0 < at] + [len(text)]
        for end in ends:
            word, start = text[start:end], end
            if word not in known:
                known[word] = self.word(word)
            ids += known[word]
        return ids


def head(path):
    """The weight of the last layer."""
    graph = onnx.load(path, load_external_data=False).graph
    weights = {it.name for it in graph.initializer}
    node = next(it for it in reversed(graph.node) if it.op_type in ("MatMul", "Gemm"))
    return next(it for it in node.input if it in weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("razorc", "model", "tokenizer", "text"):
        parser.add_argument(name)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--lr", default="3e-3")
    parser.add_argument("--head-lr", default="1e-2")
    parser.add_argument("--threads", default="2")
    it = parser.parse_args()
    width = onnx.load(it.model, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    with open(it.text) as file:
        text = file.read()
    ids = Vocabulary(it.tokenizer).encode(text)
    # Each row has the token behind its last one, so that all positions have a target.
    rows = np.array(ids[: len(ids) // (width + 1) * (width + 1)]).reshape(-1, width + 1)
    cut = len(rows) * 9 // 10
    print(f"{len(text)} letters are {len(ids)} tokens; {cut} rows of {width} to learn from, {ROWS} to score; {it.steps} steps of {BATCH} rows\n")
    print("| saved | trained | validation loss (each seed) | to dense | perplexity | saved MiB | planned MiB |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/train.npy", rows[:cut])
        np.save(f"{folder}/val.npy", rows[cut : cut + ROWS])
        trainer = f"{folder}/a.trainer"

        def run(*arguments):
            return subprocess.run([it.razorc, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

        def learn(options, lr, seed):
            run("compile", it.model, "--task", "causal-lm", "--batch", str(BATCH), *CONSTANTS, *options, "-o", trainer)
            lines = run("train", trainer, "--data", f"{folder}/train.npy", "--val", f"{folder}/val.npy", "--steps", str(it.steps), "--lr", lr,
                        "--schedule", "linear", "--seed", str(seed), "--threads", it.threads, "--json")
            return json.loads(lines.strip().splitlines()[-1])["val_loss"]

        run("compile", it.model, "--task", "causal-lm", "--batch", str(BATCH), *CONSTANTS, "-o", trainer)
        before = json.loads(run("eval", trainer, "--data", f"{folder}/val.npy", "--json"))["loss"]
        print(f"| before | nothing | {before:.4f} | | {np.exp(before):.1f} | | |", flush=True)
        dense = None
        policies = {"everything": [], "90 % pruned": ["--sparsity", "0.9"], "95 % pruned": ["--sparsity", "0.95"], "nothing": ["--train", head(it.model)]}
        for name, options in policies.items():
            alone = name == "nothing"
            options = options if "--sparsity" in options else ["--sparsity", "0", *options]
            found = [learn(options, it.head_lr if alone else it.lr, seed) for seed in SEEDS]
            plan = json.loads(run("inspect", trainer, "--memory", "--json"))
            mean = statistics.mean(found)
            dense = dense or mean
            mib = lambda key: f"{plan[key] / 2**20:.1f}"
            each = ", ".join(f"{loss:.4f}" for loss in found)
            print(f"| {name} | {'the head' if alone else 'all'} | {mean:.4f} ({each}) | {100 * (mean / dense - 1):+.1f} % | {np.exp(mean):.1f} "
                  f"| {mib('saved_packed')} | {mib('planned_peak')} |", flush=True)


if __name__ == "__main__":
    main()
