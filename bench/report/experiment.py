"""Phrases about a suite's experiment: the views and the images of teachers and students.

Captions, `bench plan` and `bench show` use the same words.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.config.text import count
from bench.data import views
from bench.report import labels
from bench.stats.sequential import Looks, SeedLooks

if TYPE_CHECKING:
    from bench.data import Facts
    from bench.planning.plan import Plan
    from bench.suite import Pair, Suite


def describe(suite: "Suite", facts: "Facts | None" = None) -> list[str]:
    """Return phrases about views, the teachers' data set, training steps, trials and seeds.

    The list is empty if all networks see the unchanged images of one data set, no method is tuned,
    and the suite lists its seeds.

    Args:
        suite: The suite.
        facts: Facts of the students' images, for the number of steps; None: steps are left out.
    """
    return [*_views(suite), *_data(suite, facts), *tuning(suite), *seeds(suite)]


def seeds(suite: "Suite") -> Iterator[str]:
    """Yield a phrase about the seeds of a suite whose verdicts decide about them."""
    if (rule := suite.settling) is not None:
        label = next(m.label for m in suite.methods if m.name == rule.reference)
        yield (
            f"{rule.first} to {rule.most} seeds: more than {rule.first} only while the verdict "
            f"against {label} is open (top-1, tolerance {rule.tolerance:g} points)"
        )


def looks(plan: "Plan") -> SeedLooks | None:
    """Return the looks that decided about the seeds of a plan; None: the suite lists its seeds."""
    rule = plan.suite.settling
    if rule is None:
        return None
    complete = {each.group: rule.seeds[: each.complete] for each in plan.looks}
    seeds = {pair.name: complete.get(pair.group, ()) for pair in plan.suite.pairs}
    return SeedLooks(Looks(rule.first, rule.most), seeds)


def is_labelled(suite: "Suite") -> bool:
    """Return whether the students' training images have labels in the teacher's classes."""
    teacher = suite.teacher_data or suite.data
    return suite.data.split == "train" and suite.data.name == teacher.name


def _views(suite: "Suite") -> Iterator[str]:
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


def tuning(suite: "Suite") -> Iterator[str]:
    """Yield phrases about the trials of a suite; none if the suite tunes no method."""
    tune = suite.tune
    if tune is None:
        return
    kinds = {"random": "random search", "tpe": "TPE", "grid": "a grid"}
    trials = f"{count(tune.trials, 'trial')} a method"
    halving = " with successive halving" if tune.pruning == "halving" else ""
    place = "each pair" if tune.on == "each" else suite.pairs[0].name
    seeds = f"seed{'s' if len(tune.seeds) > 1 else ''} {labels.join(map(str, tune.seeds))}"
    names = [m.label for m in suite.methods if m.name in tune.methods]
    untuned = (m for m in suite.methods if m.name not in tune.methods and not m.control)
    others = [method.label for method in untuned]
    yield (
        f"tuned: {trials} on {tune.images:,} held-out images of the training set, by "
        f"{kinds[tune.search]}{halving} on {place}, {seeds}: {labels.join(names)}"
    )
    if others:
        yield f"not tuned: {labels.join(others)}"
    if any(pair.teacher.checkpoint for pair in suite.pairs):
        yield "teachers are checkpoints, which may have learned from the held-out images"


def _data(suite: "Suite", facts: "Facts | None") -> Iterator[str]:
    teacher = suite.teacher_data
    if teacher is None or teacher == suite.data:
        return
    yield f"teachers are trained and tested on {labels.data_set(teacher.spec)}"
    if not is_labelled(suite):
        yield (
            "students learn without labels: they predict the teacher's classes, and losses that "
            "need labels are skipped"
        )
    if facts is not None:
        recipes = {(p.recipe.epochs, p.recipe.batch_size) for p in suite.pairs}
        steps = sorted({epochs * -(-facts.train // size) for epochs, size in recipes})
        yield f"students train for {labels.join(f'{n:,}' for n in steps)} steps"
