"""Phrases about a suite's experiment: the views and the images of teachers and students.

Captions, `bench plan` and `bench show` use the same words.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.report import labels
from bench.spec import DataSpec

if TYPE_CHECKING:
    from bench.data import Facts
    from bench.suite import Pair, Suite


def describe(suite: "Suite", facts: "Facts | None" = None) -> list[str]:
    """Return phrases about the views, the teachers' data set and the number of training steps.

    The list is empty if all networks see the unchanged images of one data set.

    Args:
        suite: The suite.
        facts: Facts of the students' images, for the number of steps; None: steps are left out.
    """
    return [*_views(suite), *_data(suite, facts)]


def is_labelled(suite: "Suite") -> bool:
    """Return whether the students' training images have labels in the teacher's classes."""
    teacher = suite.teacher_data or suite.data
    return suite.data.split == "train" and suite.data.name == teacher.name


def _views(suite: "Suite") -> Iterator[str]:
    from bench.data import views  # imports torch

    pairs: dict[tuple[str, str], list[Pair]] = {}
    for pair in suite.pairs:
        pairs.setdefault((pair.teacher.view, pair.view), []).append(pair)
    kind = "privileged information" if is_labelled(suite) else "cross-modal transfer"
    for (teacher, student), members in pairs.items():
        where = f"in {labels.join(pair.name for pair in members)}, " if len(pairs) > 1 else ""
        if teacher != student:
            seen = f"the teacher sees {views.describe(teacher)}, and the student sees"
            yield f"{kind}: {where}{seen} {views.describe(student)} of the same crops"
        elif teacher != views.RGB:
            yield f"{where}teacher and student see {views.describe(student)}"


def _data(suite: "Suite", facts: "Facts | None") -> Iterator[str]:
    teacher = suite.teacher_data
    if teacher is None or teacher == suite.data:
        return
    yield f"teachers are trained and tested on {labels.data_set(DataSpec(**asdict(teacher)))}"
    if not is_labelled(suite):
        yield (
            "students learn without labels: they predict the teacher's classes, and losses that "
            "need labels are skipped"
        )
    if facts is not None:
        recipes = {(p.recipe.epochs, p.recipe.batch_size) for p in suite.pairs}
        steps = sorted({epochs * -(-facts.train // size) for epochs, size in recipes})
        yield f"students train for {labels.join(f'{n:,}' for n in steps)} steps"
