"""Warnings: deviations from the papers in a valid suite."""

from collections.abc import Iterator

from bench.spec import PAPERS, SMALL_LR, SMALL_LR_STUDENTS
from bench.suite.resolved import Suite

RELATIONAL = frozenset({"sp", "cc", "rkd", "pkt", "dcd"})  # they compare the samples of a batch
MIN_SEEDS = 3


def warnings(suite: Suite) -> list[str]:
    """Return one message for each deviation that makes results hard to compare."""
    return [*_seeds(suite), *_options(suite), *_learning_rates(suite), *_batch_sizes(suite)]


def _seeds(suite: Suite) -> Iterator[str]:
    if (count := len(suite.seeds)) < MIN_SEEDS:
        seeds = "1 seed is" if count == 1 else f"{count} seeds are"
        yield f"seeds: {seeds} too few to compare methods; the papers use 3 or 5"


def _options(suite: Suite) -> Iterator[str]:
    for name in suite.unused:
        yield f"options.{name}: no method of this suite contains {name}"


def _learning_rates(suite: Suite) -> Iterator[str]:
    for i, pair in enumerate(suite.pairs):
        if pair.student in SMALL_LR_STUDENTS and pair.recipe.lr != SMALL_LR:
            yield (
                f"pairs.{i}: {pair.student} is trained with lr {pair.recipe.lr:g}; the papers use "
                f"{SMALL_LR:g} (recipe: {{lr: {SMALL_LR:g}}})"
            )
    recipes = [recipe for pair in suite.pairs for recipe in (pair.recipe, pair.teacher.recipe)]
    late = {m for recipe in recipes for m in recipe.milestones if m >= recipe.epochs}
    if late:
        milestones = ", ".join(map(str, sorted(late)))
        yield f"recipe.milestones: training ends before {milestones}; lr is not reduced there"


def _batch_sizes(suite: Suite) -> Iterator[str]:
    sizes = {pair.recipe.batch_size for pair in suite.pairs} - {PAPERS.batch_size}
    methods = [m.name for m in suite.methods if RELATIONAL & m.terms.keys()]
    if sizes and methods:
        yield (
            f"recipe.batch_size: {', '.join(map(str, sorted(sizes)))}; the weights of "
            f"{', '.join(methods)} are for batches of {PAPERS.batch_size}: their losses compare "
            "the samples of a batch"
        )
