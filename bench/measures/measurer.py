"""Measure the networks of one job, all on one data set."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from bench.data import LoadedData, Split
from bench.measures import accuracy, calibration, logistic, neighbours, official, sgd, similarity
from bench.measures.corruptions import corrupt
from bench.measures.logistic import Beat
from bench.measures.readout import POOLED, Readout, read
from bench.results.record import Numbers
from bench.spec import Recipe, RunSpec
from bench.training.evaluation import EVALUATION_BATCH, autocast, finite_or_none, measure

Metrics = dict[str, Numbers]
Pictures = Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]


class Measurer:
    """Measures finished networks, and keeps outputs that several measures of a network need.

    A measure gives the same metrics alone or together with other measures.

    Args:
        specs: Specifications of the measures, all on the same images.
        data: The images.
        network: Function that returns the finished network of a run, by the run's id, on the data's
            device.
        root: The data root, for the official corrupted images.
        beat: Function that is called repeatedly during long computations, as a sign of life.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        data: LoadedData,
        network: Callable[[str], nn.Module],
        root: Path,
        beat: Beat,
    ) -> None:
        self._specs, self._data, self._network = specs, data, network
        self._root, self._beat = root, beat
        self._readouts: dict[tuple[str, str, Split], Readout] = {}
        self._corrupted: dict[str, dict[str, Metrics]] = {}
        self._kinds: Mapping[str, Callable[[RunSpec], Metrics]] = {
            "logistic": self._classify,
            "knn": self._classify,
            "sgd": self._train,
            "finetune": self._train,
            "corrupted": self._corruptions,
            "cifar100_c": self._corruptions,
            "cka": self._cka,
            "calibration": self._calibration,
            "teacher_in_top5": self._teacher_in_top5,
            "classes": self._classes,
            "agreement_floor": self._agreement_floor,
        }

    def measure(self, spec: RunSpec) -> Metrics:
        """Return the metrics of one measure; a value that is not finite becomes None.

        The key `last` holds the metrics for tables. Other keys hold further numbers, such as the
        accuracy of each class. Measures of one network should follow one another, because each call
        drops the outputs of networks that its measure does not need.
        """
        self._readouts = {key: r for key, r in self._readouts.items() if key[0] in spec.needs}
        values = self._kinds[spec.measure["kind"]](spec)
        return {
            source: {name: None if x is None else finite_or_none(x) for name, x in numbers.items()}
            for source, numbers in values.items()
        }

    def _read(self, id: str, split: Split, data: LoadedData, recipe: Recipe) -> Readout:
        key = id, json.dumps([data.facts.mean, data.facts.std]), split
        if key not in self._readouts:
            self._readouts[key] = read(self._network(id), data, split, recipe)
        return self._readouts[key]

    def _test(self, id: str, spec: RunSpec) -> Readout:
        return self._read(id, "test", self._data, spec.recipe)

    def _target(self, spec: RunSpec) -> LoadedData:
        """Return the images of a probe with the probe's normalisation."""
        return self._data.normalised(tuple(spec.measure["mean"]), tuple(spec.measure["std"]))

    def _classify(self, spec: RunSpec) -> Metrics:
        """Train a classifier on pooled features; with `features: stages`, also on each stage's."""
        data, settings, subject = self._target(spec), spec.measure, str(spec.subject)
        train, test = (self._read(subject, s, data, spec.recipe) for s in ("train", "test"))
        names = [POOLED] if settings["features"] == POOLED else list(train.features)
        last: Numbers = {}
        details: Numbers = {}
        for name in names:
            part = (train.features[name], train.labels), test.features[name], data.facts.classes
            if "k" in settings:
                predicted = neighbours.classify(*part, settings["k"])
            else:
                predicted, numbers = logistic.classify(*part, self._beat)
                details |= {f"{name}.{key}": value for key, value in numbers.items()}
            if name == POOLED:
                last = {**_accuracies(predicted, test.labels, data.facts.classes), **last}
            else:
                last[name] = accuracy.top1(predicted, test.labels)
        return {"last": last, "details": details}

    def _train(self, spec: RunSpec) -> Metrics:
        data, settings = self._target(spec), spec.measure
        training = sgd.Training(
            spec.recipe,
            layers="batch_norm" not in settings,
            drifting=settings.get("batch_norm") == "drifting",
            small_init=settings["small_init"],
        )
        predictions = sgd.train(self._network(str(spec.subject)), data, training, spec.seed)
        labels = torch.cat([labels for _, labels in data.pictures("test", 1000)])
        curve = [accuracy.top1(predicted, labels) for predicted in predictions]
        last = _accuracies(predictions[-1], labels, data.facts.classes)
        return {"last": last | {"oracle": max(curve)}}

    def _corruptions(self, spec: RunSpec) -> Metrics:
        """Measure all networks of the job on the same corrupted pictures, which are made once."""
        key = json.dumps(spec.measure, sort_keys=True)
        if key not in self._corrupted:
            subjects = [str(s.subject) for s in self._specs if s.measure == spec.measure]
            self._corrupted[key] = self._corrupt_all(subjects, spec)
        return self._corrupted[key][str(spec.subject)]

    def _corrupt_all(self, subjects: Sequence[str], spec: RunSpec) -> dict[str, Metrics]:
        settings, name = spec.measure, spec.measure["kind"]
        pictures = self._official if name == "cifar100_c" else self._made
        values: dict[str, dict[str, list[dict[str, float]]]] = {id: {} for id in subjects}
        for kind in settings["types"]:
            for severity in settings["severities"]:
                for id, logits, labels in self._predict(subjects, pictures(kind, severity), spec):
                    values[id].setdefault(kind, []).append(measure(logits, labels))
        return {
            id: _summary(name, by_kind, settings["severities"]) for id, by_kind in values.items()
        }

    @torch.no_grad()
    def _predict(
        self, subjects: Sequence[str], batches: Iterator[tuple[Tensor, Tensor]], spec: RunSpec
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield for each network its logits of all pictures, and the labels."""
        logits: dict[str, list[Tensor]] = {id: [] for id in subjects}
        labels = []
        for images, batch_labels in batches:
            labels.append(batch_labels)
            for id in subjects:
                with autocast(images.device, spec.recipe):
                    logits[id].append(self._network(id).eval()(images).logits.float())
        for id in subjects:
            yield id, torch.cat(logits[id]), torch.cat(labels)

    def _made(self, kind: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of corrupted, normalised test images, and their labels."""
        start = 0
        for images, labels in self._data.pictures("test", self._batch_size):
            changed = corrupt(images, kind, severity, start)
            start += len(labels)
            yield self._data.normalize(changed.to(images.device)), labels

    def _official(self, kind: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of official corrupted images, normalised, and their labels."""
        labels = torch.cat([labels for _, labels in self._data.pictures("test", 1000)])
        images = official.pictures(self._root, kind, severity, labels)
        for start in range(0, len(labels), self._batch_size):
            batch = slice(start, start + self._batch_size)
            self._beat()
            yield self._data.normalize(images[batch].to(labels.device)), labels[batch]

    @property
    def _batch_size(self) -> int:
        return EVALUATION_BATCH[self._data.train_labels.device.type]

    def _cka(self, spec: RunSpec) -> Metrics:
        student, teacher = (self._test(id, spec) for id in (str(spec.subject), str(spec.teacher)))
        values = similarity.stage_similarities(student.features, teacher.features)
        is_pooled = spec.measure["features"] == POOLED
        return {"last": {k: v for k, v in values.items() if k == "cka" or not is_pooled}}

    def _calibration(self, spec: RunSpec) -> Metrics:
        """Fit a temperature on the validation images; without them, on half of the test images."""
        test = self._test(str(spec.subject), spec)
        rest = test.logits, test.labels
        if spec.data.validation:
            validation = self._read(str(spec.subject), "validation", self._data, spec.recipe)
            fitted = validation.logits, validation.labels
        else:
            first, second = accuracy.halves(test.labels)
            fitted, rest = ((test.logits[m], test.labels[m]) for m in (first, second))
        values = calibration.scaled(fitted, rest)
        details: Numbers = {"temperature": values.pop("temperature")}
        last = {"ace": calibration.adaptive_error(test.logits, test.labels), **values}
        return {"last": dict(last), "details": details}

    def _teacher_in_top5(self, spec: RunSpec) -> Metrics:
        student, teacher = (self._test(id, spec) for id in (str(spec.subject), str(spec.teacher)))
        value = accuracy.teacher_in_top5(student.logits, teacher.logits)
        return {"last": {"teacher_in_top5": value}}

    def _classes(self, spec: RunSpec) -> Metrics:
        test = self._test(str(spec.subject), spec)
        values = accuracy.per_class(test.logits.argmax(1), test.labels, test.logits.shape[1])
        present = [value for value in values if value is not None]
        last: Numbers = {"classes.mean": fmean(present), "classes.worst": min(present)}
        return {"last": last, "classes": {str(k): value for k, value in enumerate(values)}}

    def _agreement_floor(self, spec: RunSpec) -> Metrics:
        first, second = (self._test(id, spec) for id in (str(spec.subject), spec.members[0]))
        return {"last": {"agreement_floor": accuracy.agreement(first.logits, second.logits)}}


def _accuracies(predicted: Tensor, labels: Tensor, classes: int) -> Numbers:
    balanced = accuracy.balanced(predicted, labels, classes)
    return {"top1": accuracy.top1(predicted, labels), "balanced": balanced}


def _summary(
    name: str, by_kind: Mapping[str, Sequence[Mapping[str, float]]], severities: Sequence[int]
) -> Metrics:
    """Return a network's means over all types and severities, and its accuracy for each type."""
    every = [values for group in by_kind.values() for values in group]
    last: Numbers = {
        f"{name}.{metric}": fmean(values[metric] for values in every)
        for metric in ("top1", "nll", "ece")
    }
    last |= {f"{name}.{kind}": fmean(v["top1"] for v in group) for kind, group in by_kind.items()}
    details: Numbers = {
        f"{kind}.{severity}": values["top1"]
        for kind, group in by_kind.items()
        for severity, values in zip(severities, group, strict=True)
    }
    return {"last": last, "details": details}
