"""Training of a cohort: for each batch, one pass of the teacher and then one step of each run.

A run gives the same numbers in a cohort as alone, for two reasons. Runs share only tensors that no
run changes. Random numbers depend only on the seed and on a name, not on other runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat

import torch
from torch import Tensor

from bench.data import Augment, Data, Split
from bench.data.mixing import Mixing, batch_rng
from bench.data.views import View
from bench.errors import BenchError
from bench.spec import Recipe
from bench.training.cuda_graphs import Capture, GraphedStep, StaticBatch, Views
from bench.training.evaluation import Evaluator, is_evaluation_due
from bench.training.kept import KEPT, KeptOutputs, TeacherPass
from bench.training.teacher import Teacher
from bench.training.trainer import Timer, Trainer
from distillers import Batch, Features
from distillers.base import FeatureName

STRONG_MAGNITUDE = 10  # of the strong view's random operations, on RandAugment's scale of 0 to 30


def train_cohort(
    trainers: Sequence[Trainer],
    teacher: Teacher | None,
    data: Data,
    after_epoch: Callable[[Trainer], None],
    capture: Capture | None = None,
    kept: KeptOutputs | None = None,
) -> None:
    """Train all runs to the last epoch of their recipe.

    Runs that resume may begin at different epochs: a run waits until the others have reached its
    epoch. Training begins with epoch 0; a stage before it of P epochs has the epochs -P to -1.

    Args:
        trainers: The runs; they have the same seed, epochs, batch size, augmentation, precision and
            view.
        teacher: The teacher of all runs; None if they have no teacher.
        data: The data set.
        after_epoch: Function that is called with each run after each of its epochs.
        capture: Function that captures the teacher's pass as a CUDA graph; None: no capture. The
            runs' own graphs must use another memory pool, because they would otherwise overwrite
            the teacher's features before all runs have read them.
        kept: The teacher's outputs on disk; None: they are computed and not kept.
    """
    spec, recipe = trainers[0].task.specification, trainers[0].recipe
    splits: list[Split] = ["test", "validation"] if spec.data.validation else ["test"]
    timer = Timer(device := data.train_labels.device)
    seen = View(spec.view, data.facts, device), teacher.view if teacher else None
    evaluator = Evaluator(data, splits, recipe, teacher.net if teacher else None, seen)
    static_batch = StaticBatch(recipe.batch_size)
    passes = TeacherPasses(teacher, capture, kept) if teacher else None

    def evaluate(trainer: Trainer) -> None:
        with trainer.averaged():
            metrics = evaluator.evaluate(trainer.model)
        trainer.curves[-1] = trainer.curves[-1].model_copy(update=metrics)

    for trainer in trainers:
        if not trainer.trains:
            with trainer.catch_failure():
                trainer.begin_untrained()
                evaluate(trainer)
            after_epoch(trainer)
    for epoch in range(min(trainer.epoch for trainer in trainers), recipe.epochs):
        active = [trainer for trainer in trainers if trainer.epoch == epoch and not trainer.ended]
        if active:
            is_strong = any("strong" in trainer.reads for trainer in active)
            stream = batches(data, trainers[0].seed, epoch, recipe, strong=is_strong, views=seen)
            stream = map(static_batch, stream) if capture else stream
            train_epoch(active, passes.of(active, epoch) if passes else None, stream, timer)
        if passes:
            passes.end_epoch(active, epoch)
        seconds = timer.seconds()
        for trainer in active:
            with trainer.catch_failure():
                if trainer.failure is None:
                    trainer.end_epoch(shared_seconds=seconds)
                if trainer.failure is None and is_evaluation_due(recipe, trainer.epoch):
                    evaluate(trainer)
            after_epoch(trainer)


class TeacherPasses:
    """Forward passes of the teacher, one for each set of `Features` fields that runs read.

    Args:
        teacher: The teacher.
        capture: Function that captures a pass as a CUDA graph; None: no capture.
        kept: Outputs on disk, which are read if they suffice, and else written; None: not used.
    """

    def __init__(
        self, teacher: Teacher, capture: Capture | None, kept: KeptOutputs | None = None
    ) -> None:
        self._teacher, self._capture, self._kept = teacher, capture, kept
        self._passes: dict[frozenset[str], TeacherPass] = {}

    def of(self, trainers: Sequence[Trainer], epoch: int) -> TeacherPass:
        """Return the pass that computes, or reads, the fields that these runs read."""
        reads = frozenset[FeatureName]().union(*(trainer.teacher_reads for trainer in trainers))
        kept = self._kept if any(trainer.uses_teacher for trainer in trainers) else None
        if kept and reads <= KEPT and (reading := kept.reading(epoch)):
            return reading
        if reads not in self._passes:
            features = partial(self._teacher, reads=reads)
            self._passes[reads] = (
                GraphedStep(features, self._capture) if self._capture else features
            )
        computing = self._passes[reads]
        if kept is None or "distilled" in reads:  # which can change the logits
            return computing
        return kept.writing(epoch, computing)

    def end_epoch(self, trainers: Sequence[Trainer], epoch: int) -> None:
        """End an epoch of these runs; its outputs are kept if each batch had a student."""
        if self._kept:
            taught = any(each.uses_teacher and each.failure is None for each in trainers)
            self._kept.close(epoch, complete=taught)


def train_epoch(
    trainers: Sequence[Trainer],
    teacher: TeacherPass | None,
    stream: Iterator[Views],
    timer: Timer,
) -> None:
    """Train all runs on the batches of one epoch.

    Args:
        trainers: The runs.
        teacher: Function that computes the features of images (B, 3, H, W) and of their strong
            view, for the teacher or for each member of an ensemble; None if there is no teacher.
        stream: The batches.
        timer: Timer of the work that runs share: batches and the teacher's features.
    """
    for trainer in trainers:
        trainer.begin_epoch()
    while True:
        with timer:
            if (views := next(stream, None)) is None:
                return
            images, batch, strong, taught, taught_strong = views
            active = [trainer for trainer in trainers if trainer.failure is None]
            needed = any(trainer.uses_teacher for trainer in active)
            features = teacher(taught, taught_strong) if teacher and needed else ()
        shared = shared_tensors(images, features, batch, strong)
        versions = [tensor._version for tensor in shared]
        for trainer in active:
            with trainer.catch_failure():
                seen = features if trainer.uses_teacher else ()
                trainer.step(images, seen, batch, strong if "strong" in trainer.reads else None)
            if versions != [tensor._version for tensor in shared]:
                raise BenchError(
                    f"{trainer.task.name} writes to the batch or to the teacher's features, which "
                    "other runs read: copy the tensors first. No run of its cohort is valid"
                )


def shared_tensors(
    images: Tensor, teachers: Sequence[Features], batch: Batch, strong: Tensor | None = None
) -> list[Tensor]:
    """Return the tensors of one batch that all runs read and no run may write to."""
    optional = [tensor for tensor in (batch.targets, strong) if tensor is not None]
    features = [tensor for teacher in teachers for tensor in teacher.tensors()]
    return [images, batch.labels, batch.index, *optional, *features]


def augmentation(recipe: Recipe) -> Augment:
    """Return the augmentation of a recipe."""
    return Augment(
        recipe.crop, recipe.flip, recipe.resized_crop, recipe.randaugment, recipe.erasing
    )


def batches(
    data: Data,
    seed: int,
    epoch: int,
    recipe: Recipe,
    *,
    strong: bool = False,
    views: tuple[View | None, View | None] = (None, None),
) -> Iterator[Views]:
    """Yield the batches of an epoch; skip a last batch of one image (batch norm needs two).

    A strong view is a second augmented copy of each image, in the same order. Its crop and flip are
    drawn independently. Two random operations of RandAugment follow, with the recipe's magnitude
    or, if the recipe does not use RandAugment, with `STRONG_MAGNITUDE`.

    Args:
        data: The data set.
        seed: Seed of the order and the augmentation.
        epoch: Number of the epoch, counted from 0; negative in a stage before training.
        recipe: The training settings; only batch size, augmentation and mixing are used.
        strong: Whether to yield a strong view of the images.
        views: The views of the images that students and teacher see; None: the images themselves.
    """
    augment = augmentation(recipe)
    mix = Mixing(recipe.mixup, recipe.cutmix, recipe.smoothing, data.facts.classes)
    stream = data.epoch(seed, epoch, recipe.batch_size, augment)
    strongs: Iterator[tuple[Tensor | None, object]] = repeat((None, None))
    if strong:
        magnitude = recipe.randaugment or STRONG_MAGNITUDE
        view = replace(augment, view="strong", randaugment=magnitude)
        strongs = data.epoch(seed, epoch, recipe.batch_size, view)
    for number, ((images, batch), (second, _)) in enumerate(zip(stream, strongs, strict=False)):
        if data.facts.labels != "all":  # the network has other classes
            batch = replace(batch, labels=torch.zeros_like(batch.labels))
        if len(batch.labels) > 1:
            mixed = mix(images, batch, second, batch_rng(seed, epoch, number))
            yield _seen(views, mixed, seed, epoch)


def _seen(
    views: tuple[View | None, View | None],
    mixed: tuple[Tensor, Batch, Tensor | None],
    seed: int,
    epoch: int,
) -> Views:
    """Return a mixed batch, and its strong view, as students and teacher see it."""
    images, batch, strong = mixed

    def pair(view: View | None) -> tuple[Tensor, Tensor | None]:
        if view is None:
            return images, strong
        second = None if strong is None else view(strong, batch.index, seed, epoch, "strong")
        return view(images, batch.index, seed, epoch), second

    (seen, seen_strong), taught = pair(views[0]), pair(views[1])
    return Views(seen, batch, seen_strong, *taught)
