"""How fast training is, beside the lecture's loop: `python -m tests.benchmarks.trainer [--json]`.

One process, one thread. Loops are timed in turn, medians over repeats, in processor time of the
thread, so that a machine that is busy with other things disturbs less. The corpus is names.txt in
$MAKEMORE_SEARCH_CORPORA. Some minutes; `--only steps` for a part.

The floor of a step is what the folded step cannot do without, by this formula:

    (6 T V E H + 6 U V H) / sgemm rate                      three products for each of two layers
  + 4 bytes * (U H (R + 9) + T V H + 2 U V) / copy rate of U x H numbers
  + 4 bytes * 3 N / copy rate of N numbers

U rows, T positions, V symbols, E features, H units, N parameters, R real characters of a row. The
gather reads R + 1 numbers for each unit of a row (the padding's is one). The unit is written, goes
through tanh, and is read by two products; its gradient is written, read with the unit, written,
and read by the scatter. The table's gradient is written once, logits are read and written, and
plain SGD moves three numbers for each parameter. Both rates are measured in the same run, at their
best: sgemm at 1024 cubed, copying on buffers of those sizes (reading and writing count).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from makemore_core.config import TrialConfig
from makemore_core.data import corpus
from makemore_core.data.contexts import CountedContexts
from makemore_core.data.dataset import Dataset
from makemore_core.model.network import Model, initialize
from makemore_core.training.batches import BatchSampler
from makemore_core.training.evaluate import split_loss
from makemore_core.training.kernel_step import KernelStep
from makemore_core.training.trainer import Evaluation, steps_per_block, train
from makemore_core.training.warm_up import warm_up

SHAPES = [
    (3, 10, 200, 32), (3, 10, 200, 256), (8, 24, 256, 256),
    (8, 24, 512, 512), (10, 32, 512, 512), (12, 32, 1024, 1024),
]  # fmt: skip
REPEATS = 7

LECTURE = TrialConfig(initialisation="lecture", targets="sampled", examples=200_000 * 32)
BASE = TrialConfig(
    optimizer="adamw", schedule="cosine", step_factor=0.01, warmup=0.02, batch_size=256,
    block_size=6, embedding_size=14,
)  # fmt: skip
FAST = {
    2.17: replace(
        BASE, block_size=4, hidden_width=128, learning_rate=0.02, examples=100_000,
    ),
    2.10: replace(
        BASE, embedding_size=20, hidden_width=200, learning_rate=0.012, examples=200_000,
    ),
    2.00: replace(
        BASE, embedding_size=24, hidden_width=256, learning_rate=0.01, weight_decay=0.05,
        dropout=0.05, examples=600_000,
    ),
}  # fmt: skip
"""For each dev loss a configuration that is there early."""

TARGETS = {  # dev loss: within so many seconds, with this configuration
    2.00: (3.0, replace(
        BASE, embedding_size=24, hidden_width=300, learning_rate=0.008, weight_decay=0.05,
        dropout=0.1, examples=800_000,
    )),
    1.95: (20.0, replace(
        BASE, embedding_size=24, hidden_width=800, learning_rate=0.004, weight_decay=0.1,
        dropout=0.1, examples=3_000_000,
    )),
    1.94: (45.0, replace(
        BASE, embedding_size=32, hidden_width=1000, learning_rate=0.003, weight_decay=0.12,
        dropout=0.1, examples=5_000_000,
    )),
}  # fmt: skip


def names() -> Dataset:
    """The lecture's corpus and split."""
    return Dataset.from_corpus(corpus.load("names", Path("runs")), 42)


def examples_of(counted: CountedContexts) -> tuple[Tensor, Tensor]:
    """Every example of a split as the lecture has them: X (N, block), Y (N,)."""
    x = np.repeat(counted.contexts[counted.row_of_pair], counted.count, axis=0)
    y = np.repeat(counted.next_character, counted.count)
    return torch.from_numpy(x.astype(np.int64)), torch.from_numpy(y.astype(np.int64))


def lecture_loop(model: Model, x: Tensor, y: Tensor, batch: int) -> Callable[[float], None]:
    """The lecture's step as anyone would write it: autograd, cross-entropy, SGD by hand."""
    tensors = dict(model.tensors)
    tensors["hidden_weight"] = tensors["hidden_weight"].flatten(0, 1)
    c, w1, b1, w2, b2 = parameters = [t.requires_grad_() for t in tensors.values()]

    def step(rate: float) -> None:
        chosen = torch.randint(0, x.shape[0], (batch,))
        hidden = torch.tanh(c[x[chosen]].view(batch, -1) @ w1 + b1)
        loss = F.cross_entropy(hidden @ w2 + b2, y[chosen])
        for p in parameters:
            p.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        for p in parameters:
            if p.grad is not None:
                p.data += -rate * p.grad

    return step


def module_loop(config: TrialConfig, x: Tensor, y: Tensor) -> Callable[[float], None]:
    """The same as an nn.Module with torch.optim."""
    inputs = config.block_size * config.embedding_size
    net = nn.Sequential(
        nn.Embedding(27, config.embedding_size), nn.Flatten(),
        nn.Linear(inputs, config.hidden_width), nn.Tanh(), nn.Linear(config.hidden_width, 27),
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def step(_: float) -> None:
        chosen = torch.randint(0, x.shape[0], (config.batch_size,))
        loss = F.cross_entropy(net(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_loop(config: TrialConfig, data: Dataset) -> tuple[KernelStep, BatchSampler]:
    counted = data.contexts(config.block_size).train
    sampler = BatchSampler(config, counted, 1, steps_per_block(config, len(data.vocabulary)))
    model = initialize(config, data.vocabulary, torch.Generator().manual_seed(1))
    return KernelStep(config, model, counted, sampler), sampler


def repeated(step: Callable[[float], None], times: int, rate: float = 0.01) -> None:
    for _ in range(times):
        step(rate)


def processor_us(work: Callable[[], object], steps: int) -> float:
    """Microseconds of this thread's processor time for each of so many steps."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) / steps * 1e6


def rate_of(work: Callable[[], object], amount: float) -> float:
    """How much of something is done in a second, at best."""
    once = max(min(processor_us(work, 1) for _ in range(5)), 0.1)
    repeats = max(5, min(2000, int(2e4 / once)))

    def many() -> None:
        for _ in range(repeats):
            work()

    return amount / min(processor_us(many, repeats) for _ in range(9)) * 1e6


def floor_seconds(
    config: TrialConfig, sampler: BatchSampler, counted: CountedContexts, size: int
) -> float:
    """The formula at the top."""
    t, e, h = config.block_size, config.embedding_size, config.hidden_width
    u, v = sampler.expected_rows, 27
    rows = sampler.batch(0).rows
    real = float((t - counted.padding[rows]).mean())
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out, large, small = torch.empty(1024, 1024), torch.randn(round(u), h), torch.randn(size)
    sgemm = rate_of(lambda: torch.mm(a, b, out=out), 2 * 1024**3)
    to_large, to_small = torch.empty_like(large), torch.empty_like(small)
    copy_units = rate_of(lambda: to_large.copy_(large), 8 * large.numel())
    copy_parameters = rate_of(lambda: to_small.copy_(small), 8 * small.numel())
    products = 6 * t * v * e * h + 6 * u * v * h
    units = 4 * (u * h * (real + 9) + t * v * h + 2 * u * v)
    return products / sgemm + units / copy_units + 12 * size / copy_parameters


def bench_steps(data: Dataset) -> list[dict[str, Any]]:
    """Microseconds a step of the three loops, the ratios, and the share of the floor."""
    found = []
    for shape in SHAPES:
        block, features, hidden, batch = shape
        config = TrialConfig(
            block_size=block, embedding_size=features, hidden_width=hidden, batch_size=batch,
            targets="sampled", learning_rate=0.01, schedule="constant", examples=10**10,
        )  # fmt: skip
        counted = data.contexts(block).train
        x, y = examples_of(counted)
        fresh = initialize(config, data.vocabulary, torch.Generator().manual_seed(1))
        lecture, module = lecture_loop(fresh, x, y, batch), module_loop(config, x, y)
        ours, sampler = our_loop(config, data)
        at = 0

        def run_ours(steps: int, ours: KernelStep = ours) -> None:
            nonlocal at
            ours.run(at, at + steps)
            at += steps

        run_ours(sampler.block)
        once = min(processor_us(partial(lecture, 0.01), 1) for _ in range(5))
        steps = max(3, int(2.5e5 / once))
        times: dict[str, list[float]] = {"lecture": [], "module": [], "ours": []}
        for _ in range(REPEATS):
            for name, loop in (("lecture", lecture), ("module", module)):
                times[name].append(processor_us(partial(repeated, loop, steps), steps))
            times["ours"].append(processor_us(partial(run_ours, 4 * steps), 4 * steps))
        ratios = [a / b for a, b in zip(times["lecture"], times["ours"], strict=True)]
        median = {name: statistics.median(each) for name, each in times.items()}
        floor = floor_seconds(config, sampler, counted, fresh.parameters) * 1e6
        found.append(
            {"shape": shape, **{f"{k}_us": round(v, 1) for k, v in median.items()},
             "ratio": round(statistics.median(ratios), 2), "folded": ours.folded,
             "ratio_module": round(median["module"] / median["ours"], 2),
             "rows": round(sampler.expected_rows, 1), "floor_us": round(floor, 1),
             "floor_share": round(floor / median["ours"], 2)}
        )  # fmt: skip
        say(found[-1])
    say({"geometric_mean_ratio": geometric_mean([f["ratio"] for f in found])})
    return found


def geometric_mean(values: list[float]) -> float:
    return round(float(np.exp(np.mean(np.log(values)))), 2)


@dataclass
class Reached(Exception):
    """A run got to where it was wanted."""

    seconds: float
    step: int


def bench_time_to(data: Dataset) -> dict[str, Any]:
    """Seconds from a cold start of the trial, its contexts included, to some dev losses."""
    found: dict[str, Any] = {"lecture_seconds": lecture_seconds_to(data, 2.17)}
    for target, config in FAST.items():
        found[f"ours_to_{target:.2f}"] = statistics.median(
            seconds_to(data, target, config, seed) for seed in range(1, 6)
        )
    found["ratio_at_2.17"] = round(found["lecture_seconds"] / found["ours_to_2.17"], 1)
    say(found)
    return found


def seconds_to(data: Dataset, target: float, config: TrialConfig, seed: int) -> float:
    """Until an evaluation first finds the target; infinity if none does. Processor time."""
    fresh = Dataset(data.vocabulary, data.train_words, data.dev_words)
    started = time.thread_time()

    def look(evaluation: Evaluation) -> None:
        if evaluation.dev_loss <= target:
            raise Reached(time.thread_time() - started, evaluation.step)

    try:
        train(config, fresh, seed, on_evaluation=look)
    except Reached as reached:
        return reached.seconds
    return float("inf")


def lecture_seconds_to(data: Dataset, target: float) -> float:
    """The lecture's loop until it first has that dev loss; looked at every thousand steps, the
    looking not counted. Processor time."""
    block = data.contexts(3)
    x, y = examples_of(block.train)
    model = initialize(LECTURE, data.vocabulary, torch.Generator().manual_seed(2147483647))
    step, spent = lecture_loop(model, x, y, 32), 0.0
    for number in range(0, 200_000, 1000):
        rate = 0.1 if number < 100_000 else 0.01
        spent += processor_us(partial(repeated, step, 1000, rate), 1) / 1e6
        with torch.no_grad():
            tensors = {name: t.detach() for name, t in model.tensors.items()}
            loss = split_loss(replace(model, tensors=tensors), block.dev).all
        if loss <= target:
            return round(spent, 2)
    return float("inf")


def bench_targets(data: Dataset) -> list[dict[str, Any]]:
    """One configuration for each target: its dev loss and its training time."""
    found = []
    for target, (limit, config) in TARGETS.items():
        started = time.thread_time()
        result = train(config, data, 1)
        processor = time.thread_time() - started
        evaluating = evaluation_share(processor, config, data, result.model)
        found.append(
            {"target": target, "limit_seconds": limit, "dev_loss": round(result.dev_loss, 4),
             "train_seconds": round(result.train_seconds, 2),
             "processor_seconds": round(processor, 2), "evaluation_share": evaluating,
             "reached": result.dev_loss <= target and processor <= limit}
        )  # fmt: skip
        say(found[-1])
    return found


def evaluation_share(seconds: float, config: TrialConfig, data: Dataset, model: Model) -> float:
    """What part of a trial its dev evaluations took."""
    block = data.contexts(config.block_size)
    work = partial(split_loss, model, block.dev, block.dev_unseen_count)
    one = statistics.median(processor_us(work, 1) for _ in range(5)) / 1e6
    return round(one * config.evaluations / seconds, 4)


def bench_cost(data: Dataset) -> list[dict[str, Any]]:
    """Microseconds a step against block size, hidden width, batch and corpus size."""
    base = replace(BASE, block_size=8, hidden_width=256, examples=10**10)
    varied: list[tuple[str, Any, TrialConfig, Dataset]] = []
    for name, values in (
        ("block_size", (2, 4, 8, 16, 32)), ("hidden_width", (64, 128, 256, 512, 1024)),
        ("batch_size", (32, 64, 128, 256, 512, 1024)),
    ):  # fmt: skip
        varied += [(name, value, replace(base, **{name: value}), data) for value in values]
    varied += [("corpus", f"{n}x", base, enlarged(data, n)) for n in (1, 2, 4, 16)]
    runs = []
    for name, value, config, words in varied:
        step, sampler = our_loop(config, words)
        step.run(0, sampler.block)
        runs.append((name, value, step, sampler, [sampler.block]))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for (_, _, step, sampler, at), each in zip(runs, times, strict=True):
            steps = 2 * sampler.block
            each.append(processor_us(partial(step.run, at[0], at[0] + steps), steps))
            at[0] += steps
    found = [
        {"what": name, "value": value, "us": round(statistics.median(each), 1),
         "rows": round(sampler.expected_rows), "contexts": len(step_contexts(sampler))}
        for (name, value, _, sampler, _), each in zip(runs, times, strict=True)
    ]  # fmt: skip
    for line in found:
        say(line)
    return found


def step_contexts(sampler: BatchSampler) -> np.ndarray[Any, Any]:
    return sampler.counted.contexts


def enlarged(data: Dataset, times: int) -> Dataset:
    """A corpus so many times as large: each further copy has its letters shifted by one more."""
    letters = data.vocabulary[1:]
    words = list(data.train_words)
    for shift in range(1, times):
        table = str.maketrans(letters, letters[shift:] + letters[:shift])
        words += [word.translate(table) for word in data.train_words]
    return Dataset(data.vocabulary, tuple(words), data.dev_words)


def bench_start() -> dict[str, Any]:
    """A fresh process: import, first trial ready to step, its peak memory after some training."""
    code = (
        "import resource, time; t = time.perf_counter()\n"
        "from tests.benchmarks.trainer import *\n"
        "torch.set_num_threads(1); data = names(); step, sampler = our_loop(BASE, data)\n"
        "step.run(0, 1); print(time.perf_counter() - t, time.process_time())\n"
        "train(replace(BASE, hidden_width=1024, batch_size=1024, block_size=12), data, 1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    out = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    each = [[float(line) for line in done.stdout.split()] for done in out]
    found = {
        "ready_seconds": round(statistics.median(e[0] for e in each), 2),
        "ready_processor_seconds": round(statistics.median(e[1] for e in each), 2),
        "peak_megabytes": round(max(e[2] for e in each)),
    }
    say(found)
    return found


def say(line: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value}" for name, value in line.items()), file=sys.stderr, flush=True)


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--only", choices=["steps", "time_to", "targets", "cost", "start"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warm_up()
    torch.set_flush_denormal(True)
    data = names()
    parts: dict[str, Callable[[], Any]] = {
        "steps": lambda: bench_steps(data),
        "time_to": lambda: bench_time_to(data),
        "targets": lambda: bench_targets(data),
        "cost": lambda: bench_cost(data),
        "start": bench_start,
    }
    found = {name: part() for name, part in parts.items() if options.only in (None, name)}
    if options.json:
        print(json.dumps({"commit": commit(), "cpus": os.cpu_count(), **found}, indent=1))


if __name__ == "__main__":
    main()
