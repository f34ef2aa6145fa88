"""Records of a suite that nobody trained: means, spreads and seeds as a test wants them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bench.report.model import Entry
from bench.results.record import Record
from tests.records import make_record

PAIR = ("resnet8x4", "resnet8")
METHODS = ("student", "kd", "fitnet", "at", "sp", "cc", "rkd", "pkt", "crd", "crd+kd", "wcord",
           "wcord+kd", "dcd", "dcd+kd")  # fmt: skip
RECIPE = {"epochs": 20, "batch_size": 64, "lr": 0.05, "milestones": [12, 15, 18], "decay": 0.1}
DATA = {"name": "digits", "per_class": 32, "test_per_class": None, "validation": 0, "size": None}
ENVIRONMENT = {
    "commit": "61fcf1e1d6e2f6ae", "torch": "2.15.0", "device": "CPU x", "threads": 1, "cuda": None,
}  # fmt: skip
TERMS = {
    "ce": {"weight": 0.1, "options": {}},
    "kd": {"weight": 0.9, "options": {"temperature": 4.0}},
}


def record(
    pair=PAIR, method="kd", seed=0, top1=97.0, *, of: Mapping[str, Any] | None = None, **more
) -> Record:
    """A finished record; `of` changes its specification, `more` adds metrics or replaces fields."""
    teacher, student = pair
    metrics = {"top1": top1, "nll": 1.3 - top1 / 100}
    metrics |= {key: more.pop(key) for key in ("nll", "ece", "kl") if key in more}
    terms = {"ce": {"weight": 1.0, "options": {}}} if method == "student" else TERMS
    specification = {
        "revision": 1, "data": DATA, "network": student, "teacher": f"{teacher} 0",
        "method": terms, "recipe": RECIPE, **(of or {}),
    }  # fmt: skip
    fields = {
        "name": f"{teacher}/{student} {method} seed {seed}",
        "teacher": {"id": f"{teacher} 0", "network": teacher, "sha256": "7e" * 32, "top1": 98.0},
        "metrics": {"last": metrics, "oracle": {"top1": top1 + 0.4, "epoch": 9}},
        "environment": ENVIRONMENT,
        "finished": f"2026-11-21T04:3{seed % 10}:00+00:00",
    }
    run = more.pop("run", f"{teacher}/{student} {method} {seed}")
    return make_record(run, seed, specification=specification, **{**fields, **more})


def teacher(name="resnet8x4", **more):
    """The record of a teacher, seed 0."""
    metrics = {"last": {"top1": 98.0, "nll": 0.32}, "oracle": {"top1": 98.4, "epoch": 9}}
    terms = {"ce": {"weight": 1.0, "options": {}}}
    fields = {"environment": ENVIRONMENT, "finished": "2026-11-21T04:30:00+00:00", **more}
    return make_record(
        f"{name} 0", kind="teacher", name=f"{name} seed 0", metrics=metrics,
        specification={"revision": 1, "data": DATA, "network": name, "method": terms,
                       "recipe": RECIPE},
        **fields,
    )  # fmt: skip


def unfinished(status, reason, pair=PAIR, method="kd", seed=0):
    """A record without a result."""
    return record(pair, method, seed, status=status, reason=reason, metrics={})


def entry(result, pair=PAIR, method="kd", seed=0, label=""):
    role = "student" if method == "student" else "method"
    return Entry("/".join(pair), *pair, method, seed, result, label or method.upper(), "", role)


def entries(values: Mapping[str, Iterable[float]], pair=PAIR, first=0, **more) -> Iterator[Entry]:
    """The entries of a pair: for each method its accuracies, one a seed from `first` on."""
    for method, result in values.items():
        for seed, value in enumerate(result, first):
            own = record(pair, method, seed, float(value), **more)
            taught = Entry("/".join(pair), *pair, "teacher", seed, teacher(pair[0]), role="teacher")
            yield taught
            yield entry(own, pair, method, seed)


def scatter(rng, mean, std, seeds) -> Any:
    """Runs of one cell."""
    return mean + std * rng.normal(size=seeds)


def suite(rng, std=0.3, seeds=3, *, means: Mapping[str, float] | None = None, first=0):
    """The entries of 14 methods on one pair."""
    result = {
        method: scatter(rng, 95 + i / 5 + (means or {}).get(method, 0.0), std, seeds)
        for i, method in enumerate(METHODS)
    }
    return list(entries(result, first=first))


def generator(seed):
    return np.random.default_rng(seed)
