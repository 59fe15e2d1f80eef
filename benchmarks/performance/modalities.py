"""Images per second through online augmentation, and peak memory on wide and on large cohorts; one run.

Speed: a learner that trains by gradient asks for batches of fresh views. That is compared with a plain ``DataLoader``
over the same images whose dataset transforms one sample at a time, once with the same kornia operations and once with
Pillow's (rotation, flip and shift only). Printed are images per second and their ratio.

Memory: in a process of its own each, peak resident memory above what the imports take, for 2,000 images of 64 x 64 x 3
and for a matrix of 300 x 20,000, through features, a method under plan x2 and a learner; also as a multiple of the
data. A minute on one core: ``OMP_NUM_THREADS=1 python benchmarks/performance/modalities.py``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.contracts.methods import Request
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.schema import Column, LabelTarget, Schema

BATCH = 16
MIB = 2**20


def cohort_of(X: object, columns: tuple[Column, ...], modality: str, n: int) -> Cohort:
    """Return a cohort of two classes."""
    schema = Schema(modality, columns, LabelTarget("class", ("a", "b")))
    return Cohort("made", X, np.arange(n) % 2, np.array([f"p{i}" for i in range(n)], dtype=object), schema)


def images(n: int, side: int = 64) -> Cohort:
    """Return smooth random colour images."""
    small = np.random.default_rng(0).integers(0, 255, (n, side // 8, side // 8, 3), dtype=np.uint8)
    X = Images(small.repeat(8, axis=1).repeat(8, axis=2))
    return cohort_of(X, X.columns, "image", n)


def matrix(n: int, p: int) -> Cohort:
    """Return random expression values."""
    names = tuple(f"g{j}" for j in range(p))
    values = np.random.default_rng(0).normal(size=(n, p))
    return cohort_of(OmicsMatrix(values, names), tuple(Column(name) for name in names), "omics", n)


# ----------------------------------------------------------------------------------------------------- speed


class Samples(Dataset):
    """Images one at a time, each through a transform of its own."""

    def __init__(self, pixels: np.ndarray, transform: Callable[[np.ndarray], torch.Tensor]) -> None:
        self.pixels, self.transform = pixels, transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.pixels[index])


def per_sample_kornia(key: str) -> Callable[[np.ndarray], torch.Tensor]:
    """Return the operations of our method on one image, as kornia's own pages show them."""
    chain = registry.build("method", key)._chain

    def transform(pixels: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.no_grad():
            return chain(x)[0]

    return transform


def per_sample_pillow(pixels: np.ndarray) -> torch.Tensor:
    """Rotate, shift and flip one image with Pillow."""
    image = Image.fromarray(pixels)
    if np.random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shift = tuple(np.random.uniform(-6, 6, 2))
    image = image.rotate(np.random.uniform(-180, 180), Image.Resampling.BILINEAR, translate=shift)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)


def rate(batches: Callable[[], int], least: float = 4.0) -> float:
    """Return images per second of a function that draws some and says how many, after a first call."""
    batches()
    started, drawn = time.perf_counter(), 0
    while time.perf_counter() - started < least:
        drawn += batches()
    return drawn / (time.perf_counter() - started)


def online(cohort: Cohort, key: str) -> Callable[[], int]:
    """Return a function that draws a batch of fresh views as a learner does."""
    method = registry.build("method", key)
    half = len(cohort) // 2
    made = method.augment(cohort, Request({"a": half, "b": half}, {"a": 2 * half, "b": 2 * half}), 0)
    training = TrainingSet(made.training, Coder.fit(cohort), 0, None, made.online)
    rng = np.random.default_rng(0)

    def draw() -> int:
        X = training.rows(rng.integers(len(cohort), 2 * len(cohort), BATCH), rng)
        torch.from_numpy(X.unit).permute(0, 3, 1, 2)
        return BATCH

    return draw


def loader(cohort: Cohort, transform: Callable[[np.ndarray], torch.Tensor]) -> Callable[[], int]:
    """Return a function that draws a batch from a plain DataLoader."""
    source = DataLoader(Samples(cohort.X.pixels, transform), batch_size=BATCH, shuffle=True)
    state = {"at": iter(source)}

    def draw() -> int:
        try:
            return len(next(state["at"]))
        except StopIteration:
            state["at"] = iter(source)
            return 0

    return draw


def speed() -> None:
    """Print images per second."""
    torch.set_num_threads(1)
    cohort = images(160)
    print(f"images of 64 x 64 x 3, batches of {BATCH}, one thread; images per second")
    for key in ("geometric", "photometric"):
        ours = rate(online(cohort, key))
        plain = rate(loader(cohort, per_sample_kornia(key)))
        print(f"  {key:<12} online {ours:7.0f}   per-sample kornia {plain:7.0f}   x{ours / plain:.1f}")
        if key == "geometric":
            pillow = rate(loader(cohort, per_sample_pillow))
            print(f"  {'':<12} online {ours:7.0f}   per-sample Pillow {pillow:7.0f}   x{ours / pillow:.1f}")


# ---------------------------------------------------------------------------------------------------- memory


def peak() -> float:
    """Return the peak resident memory of this process, MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform != "darwin" else most / MIB


def measure(what: str) -> None:
    """Do a cohort's work once and print peak memory above the imports, and the size of the data."""
    kind, method_key, learner_key = what.split(",")
    small = images(8) if kind == "images" else matrix(8, 20)
    run(small, method_key, learner_key)  # imports and what libraries keep for themselves
    before = peak()
    cohort = images(2000) if kind == "images" else matrix(300, 20_000)
    size = (cohort.X.pixels if kind == "images" else cohort.X.values).nbytes / MIB
    run(cohort, method_key, learner_key)
    print(f"{peak() - before:.0f} {size:.0f} {before:.0f}")


def run(cohort: Cohort, method_key: str, learner_key: str) -> None:
    """Augment a cohort under plan x2 and fit a learner."""
    method = registry.build("method", method_key)
    half = len(cohort) // 2
    made = method.augment(cohort, Request({"a": half, "b": half}, {"a": 2 * half, "b": 2 * half}), 0)
    config = registry.node("learner", learner_key)
    config |= {"updates": 20} if "updates" in config else {}
    training = TrainingSet(made.training, Coder.fit(cohort), 0, made.weights, made.online)
    registry.build("learner", learner_key, config).fit(training).predict(cohort)


def memory() -> None:
    """Print peak memory of each work, in a process of its own."""
    print("\npeak resident memory above the imports, through a method under plan x2 and a learner")
    for what in (
        "images,geometric,logreg", "images,geometric,cnn2d", "matrix,smote,logreg", "matrix,omics_mixup,random_forest",
        "matrix,module_exchange,elastic_net",
    ):  # fmt: skip
        done = subprocess.run([sys.executable, __file__, "--measure", what], capture_output=True, text=True, check=True)
        above, size, before = map(float, done.stdout.split())
        name = what.replace(",", ", ")
        print(
            f"  {name:<38} {above:6.0f} MiB  x{above / size:4.1f} of {size:.0f} MiB of data (imports {before:.0f} MiB)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
    else:
        speed()
        memory()
