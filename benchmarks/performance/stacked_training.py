"""Stacked Lightning training against one model after the other, as ratios within one run.

Three arms train the same networks from the same starts on the same batches: the learner ``mlp`` with all models in one
``Trainer.fit``; a lean ``Trainer`` per model (no logger, checkpoint, progress bar or summary); a ``Trainer`` per model
with Lightning's defaults and a validation loader. The slow arms are timed on a few models, by the median.
Run with ``python benchmarks/performance/stacked_training.py --models 200``; under a minute on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from statistics import median
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.training.loop import warm_up
from raredata_bench.training.seeds import draw_batches, start_layers

COLUMNS, EPOCHS = 20, 100


def cohort(n: int, seed: int) -> Cohort:
    """Return n rows of 20 columns with a planted label."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, COLUMNS))
    y = (X[:, 0] - X[:, 1] + rng.normal(size=n) > 0).astype(np.int64)
    features = tuple(f"x{j}" for j in range(COLUMNS))
    schema = Schema("omics", tuple(Column(name) for name in features), LabelTarget("y", ("no", "yes")))
    return Cohort("made", OmicsMatrix(X, features), y, np.array([f"s{i}" for i in range(n)], dtype=object), schema)


class Batches:
    """The drawn batches of one model, in epochs of as many as cover its rows once."""

    def __init__(self, drawn: np.ndarray) -> None:
        self.drawn, self.at, self.length = drawn.tolist(), 0, len(drawn) // EPOCHS

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        self.at += self.length
        return iter(self.drawn[self.at - self.length : self.at])


class Plain(LightningModule):
    """The network as one would write it for one training set."""

    def __init__(self, start: list[tuple[np.ndarray, np.ndarray]], lr: float, weight_decay: float) -> None:
        super().__init__()
        self.lr, self.weight_decay = lr, weight_decay
        layers: list[nn.Module] = []
        for w, b in start:
            linear = nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(w.T))
                linear.bias.copy_(torch.tensor(b))
            layers += [linear, nn.SiLU()]
        self.net = nn.Sequential(*layers[:-1])

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """Return the cross-entropy."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Log the cross-entropy."""
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the same AdamW as the learner's."""
        weights = [p for p in self.net.parameters() if p.ndim == 2]
        biases = [p for p in self.net.parameters() if p.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)


def alone(one: TrainingSet, test: Cohort, facts: dict[str, float], lean: bool, folder: str) -> tuple[float, np.ndarray]:
    """Train one model by a Trainer of its own; return seconds and probabilities."""
    started = time.perf_counter()
    rng = np.random.default_rng(one.seed)
    model = Plain(start_layers((COLUMNS, int(facts["hidden"]), 2), rng), facts["lr"], facts["weight_decay"])
    drawn = draw_batches(len(one.cohort), int(facts["batch"]), int(facts["updates"]), rng)
    rows = TensorDataset(torch.tensor(one.matrix, dtype=torch.float32), torch.tensor(one.cohort.y))
    loader = DataLoader(rows, batch_sampler=Batches(drawn))
    if lean:
        trainer = Trainer(
            accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, loader)
    else:
        Trainer(accelerator="cpu", max_epochs=EPOCHS, default_root_dir=folder).fit(model, loader, DataLoader(rows, 32))
    seconds = time.perf_counter() - started
    with torch.no_grad():
        said = model.net.eval()(torch.tensor(one.coder.encode(test.X), dtype=torch.float32))
    return seconds, torch.softmax(said.double(), dim=1).numpy()


def stacked(sets: list[TrainingSet], test: Cohort, facts: dict[str, float]) -> tuple[float, list[np.ndarray]]:
    """Train all models by the learner; return the median of three times in seconds, and probabilities."""
    learner = registry.build("learner", "mlp", registry.node("learner", "mlp", {**facts, "accelerator": "cpu"}))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        fitted = learner.fit_many(sets)
        times.append(time.perf_counter() - started)
    return median(times), [model.predict(test).proba for model in fitted]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=200, help="models in the stack")
    parser.add_argument("--rows", type=int, default=50, help="rows of each training set")
    parser.add_argument("--lean", type=int, default=10, help="models timed one by one, lean")
    parser.add_argument("--defaults", type=int, default=5, help="models timed one by one with Lightning's defaults")
    given = parser.parse_args()
    config = registry.node("learner", "mlp")
    facts = {name: config[name] for name in ("hidden", "batch", "lr", "weight_decay")}
    facts["updates"] = EPOCHS * -(-given.rows // facts["batch"])
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    warm_up()
    test = cohort(500, 10**6)
    cohorts = [cohort(given.rows, seed) for seed in range(given.models)]
    sets = [TrainingSet(one, Coder.fit(one), seed) for seed, one in enumerate(cohorts)]
    together, said = stacked(sets, test, facts)
    arms = {"lean Trainer": (given.lean, True), "Trainer defaults": (given.defaults, False)}
    print(f"{given.models} models of {given.rows} rows, {facts['updates']:.0f} updates each, one thread")
    print(f"stacked: {1000 * together / given.models:.2f} ms a model")
    for name, (count, lean) in arms.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            runs = [alone(one, test, facts, lean, folder) for one in sets[:count]]
        seconds = median(run[0] for run in runs)
        gap = max(np.abs(run[1] - own).max() for run, own in zip(runs, said, strict=False))
        print(
            f"{name}: {1000 * seconds:.0f} ms a model, stacked is x{seconds * given.models / together:.0f} faster; "
            f"largest difference of a probability {gap:.1e}"
        )


if __name__ == "__main__":
    main()
