"""A cohort in lockstep: one pass of the teacher a batch, each learner steps to its end.

The law: together or alone, the same numbers. It holds because learners share nothing but tensors
that nobody writes to, and because every random number is drawn by name.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import starmap

from torch import Tensor

from bench.data import Augment, Data, Split
from bench.training import metrics
from bench.training.cuda_graphs import Record, Replayed, Still
from bench.training.evaluation import Recipe, predict
from bench.training.teacher import Teacher
from bench.training.timer import Clock
from bench.training.trainer import Learner, finite
from distillers import Batch, Features


def train(
    learners: Sequence[Learner],
    teacher: Teacher | None,
    data: Data,
    seed: int,
    after: Callable[[Learner], None],
    record: Record | None = None,
) -> None:
    """Train all learners to their recipe's last epoch; `after` each epoch of each, it is called.

    Learners may stand at different epochs: each joins when the others have come to where it is.
    They share the recipe's epochs, batch size, augmentation and precision. With `record` the
    teacher's pass is recorded. So may be the learners' steps, by a recorder of theirs: what the
    teacher returns has to hold while they are replayed.
    """
    recipe = learners[0].recipe
    held_out = learners[0].task.specification["data"]["validation"] > 0
    examiner = Examiner(data, teacher, ("test", "validation") if held_out else ("test",))
    shared = Clock(data.train_labels.device)
    still = Still(recipe["batch_size"])
    ask = teacher and partial(teacher, stages=any(one.reads_stages for one in learners))
    asked = Replayed(ask, record) if ask and record else ask
    for epoch in range(min(one.epoch for one in learners), recipe["epochs"]):
        live = [one for one in learners if one.epoch == epoch and not one.ended]
        if live:
            stream = batches(data, seed, epoch, recipe)
            _epoch(live, asked, starmap(still, stream) if record else stream, shared)
        seconds = shared.seconds()
        for one in live:
            if one.failure is None:
                with one.retiring():
                    one.end_epoch(shared_seconds=seconds)
            if one.failure is None and examiner.due(one):
                with one.retiring():
                    one.curves[-1].update(examiner.examine(one))
            after(one)


def _epoch(
    live: Sequence[Learner],
    teacher: Callable[[Tensor], Features] | None,
    stream: Iterator[tuple[Tensor, Batch]],
    shared: Clock,
) -> None:
    """One epoch of every live learner: for each batch the teacher, if asked, then each in turn."""
    for one in live:
        one.begin_epoch()
    while True:
        with shared:
            images, batch = next(stream, (None, None))
            if images is None or batch is None:
                return
            going = [one for one in live if one.failure is None]
            seen = None
            if teacher and any(one.objective.taught for one in going):
                seen = teacher(images)
        for one in live:
            if one.failure is None:
                with one.retiring():
                    one.step(images, seen if one.objective.taught else None, batch)


def batches(data: Data, seed: int, epoch: int, recipe: Recipe) -> Iterator[tuple[Tensor, Batch]]:
    """An epoch's batches; a last one of a single sample, which has no variance, is left out."""
    augment = Augment(recipe["crop"], recipe["flip"], recipe["resized_crop"])
    for images, batch in data.epoch(seed, epoch, recipe["batch_size"], augment):
        if len(batch.labels) > 1:
            yield images, batch


class Examiner:
    """Measures learners on the splits of a data set.

    The teacher is asked once for all, when it is first needed: on a CPU that takes minutes.
    """

    def __init__(self, data: Data, teacher: Teacher | None, splits: Sequence[Split]) -> None:
        self.data = data
        self.splits = splits
        self._teacher, self._taught = teacher, dict[Split, Tensor]()

    def due(self, learner: Learner) -> bool:
        """Whether the recipe asks for an evaluation after this epoch; after the last it does."""
        every, last = learner.recipe["evaluate_every"], learner.recipe["epochs"]
        return bool(learner.epoch % every == 0 or learner.epoch == last)

    def examine(self, learner: Learner) -> dict[str, dict[str, float | None]]:
        """For each split the metrics of the learner as it stands."""
        found: dict[str, dict[str, float | None]] = {}
        for split in self.splits:
            logits, labels = predict(learner.net, self.data, split, learner.recipe)
            values = metrics.measure(logits, labels, self._teachers(split))
            found[split] = {name: finite(value) for name, value in values.items()}
        return found

    def _teachers(self, split: Split) -> Tensor | None:
        """The teacher's logits on a split, if there is a teacher."""
        if self._teacher and split not in self._taught:
            self._taught[split] = self._teacher.logits(self.data, split)
        return self._taught.get(split)
