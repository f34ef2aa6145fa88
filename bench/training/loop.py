"""Training of a cohort in lockstep: per batch one pass of the teacher, then a step of each run.

A run gives the same numbers in a cohort as alone, because runs share only tensors that none of
them changes, and because every random stream has a name of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import starmap

from torch import Tensor

from bench.data import Augment, Data, Split
from bench.spec import Recipe
from bench.training.cuda_graphs import Capture, GraphedStep, StaticBatch
from bench.training.evaluation import Evaluator, is_evaluation_due
from bench.training.teacher import Teacher
from bench.training.trainer import Timer, Trainer
from distillers import Batch, Features


def train_cohort(
    trainers: Sequence[Trainer],
    teacher: Teacher | None,
    data: Data,
    after_epoch: Callable[[Trainer], None],
    capture: Capture | None = None,
) -> None:
    """Train all runs to the last epoch of their recipe.

    Runs may begin at different epochs: a run joins when the others have reached its epoch.

    Args:
        trainers: The runs; they have the same seed, epochs, batch size, augmentation and precision.
        teacher: Their teacher, if they have one.
        data: The data set.
        after_epoch: Called with each run after each of its epochs.
        capture: Captures the teacher's pass as a CUDA graph. Its memory must not be shared with
            the runs' own graphs: all of them read the teacher's features.
    """
    spec, recipe = trainers[0].task.specification, trainers[0].recipe
    splits: list[Split] = ["test", "validation"] if spec.data.validation else ["test"]
    evaluator = Evaluator(data, splits, recipe, teacher.net if teacher else None)
    timer = Timer(data.train_labels.device)
    static_batch = StaticBatch(recipe.batch_size)
    stages = any(trainer.reads_stages for trainer in trainers)
    features: Callable[..., Features] | None = teacher and partial(teacher, stages=stages)
    if features and capture:
        features = GraphedStep(features, capture)
    for epoch in range(min(trainer.epoch for trainer in trainers), recipe.epochs):
        active = [trainer for trainer in trainers if trainer.epoch == epoch and not trainer.ended]
        if active:
            stream = batches(data, trainers[0].seed, epoch, recipe)
            stream = starmap(static_batch, stream) if capture else stream
            train_epoch(active, features, stream, timer)
        seconds = timer.seconds()
        for trainer in active:
            with trainer.catch_failure():
                if trainer.failure is None:
                    trainer.end_epoch(shared_seconds=seconds)
                if trainer.failure is None and is_evaluation_due(recipe, trainer.epoch):
                    metrics = evaluator.evaluate(trainer.net)
                    trainer.curves[-1] = trainer.curves[-1].model_copy(update=metrics)
            after_epoch(trainer)


def train_epoch(
    trainers: Sequence[Trainer],
    teacher: Callable[[Tensor], Features] | None,
    stream: Iterator[tuple[Tensor, Batch]],
    timer: Timer,
) -> None:
    """Train all runs on one epoch's batches.

    Args:
        trainers: The runs.
        teacher: Computes the teacher's features of images (B, 3, H, W), if there is a teacher.
        stream: The batches.
        timer: Adds up the time of shared work: batches and the teacher's features.
    """
    for trainer in trainers:
        trainer.begin_epoch()
    while True:
        with timer:
            images, batch = next(stream, (None, None))
            if images is None or batch is None:
                return
            active = [trainer for trainer in trainers if trainer.failure is None]
            needed = any(trainer.loss.uses_teacher for trainer in active)
            features = teacher(images) if teacher and needed else None
        for trainer in active:
            with trainer.catch_failure():
                trainer.step(images, features if trainer.loss.uses_teacher else None, batch)


def batches(data: Data, seed: int, epoch: int, recipe: Recipe) -> Iterator[tuple[Tensor, Batch]]:
    """Yield an epoch's batches, except a last one of a single image, which has no variance.

    Args:
        data: The data set.
        seed: Seed of the order and the augmentation.
        epoch: Counted from 0.
        recipe: Says the batch size and the augmentation.
    """
    augment = Augment(recipe.crop, recipe.flip, recipe.resized_crop)
    for images, batch in data.epoch(seed, epoch, recipe.batch_size, augment):
        if len(batch.labels) > 1:
            yield images, batch
