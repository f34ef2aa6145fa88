"""What a reader of a suite's table should know, though nothing in the suite is wrong."""

from collections.abc import Iterator

from bench.spec import PAPERS, SMALL_LR, SMALL_LR_STUDENTS
from bench.suite.resolved import Pair, Suite

RELATIONAL = frozenset({"sp", "cc", "rkd", "pkt", "dcd"})  # they compare the samples of a batch
USUAL_BATCH = PAPERS.batch_size  # for which the papers found the weights of those
FEWEST_SEEDS = 3


def warnings(suite: Suite) -> list[str]:
    """One sentence for each way in which the suite departs from what makes numbers comparable."""
    return [*_of_seeds(suite), *_of_options(suite), *_of_rates(suite), *_of_batches(suite)]


def _of_seeds(suite: Suite) -> Iterator[str]:
    count = len(suite.seeds)
    if count < FEWEST_SEEDS:
        some = "1 seed" if count == 1 else f"{count} seeds"
        yield f"seeds: {some}, too few to tell methods apart; the papers take 3 or 5"


def _of_options(suite: Suite) -> Iterator[str]:
    for name in suite.unused:
        yield f"options.{name}: no method of this suite contains {name}"


def _of_rates(suite: Suite) -> Iterator[str]:
    for i, pair in enumerate(suite.pairs):
        recipe = pair.recipe
        if pair.student in SMALL_LR_STUDENTS and recipe.lr != SMALL_LR:
            yield (
                f"pairs.{i}: {pair.student} learns with lr {recipe.lr:g}, in the papers with "
                f"{SMALL_LR:g} (recipe: {{lr: {SMALL_LR:g}}})"
            )
    late = {m for pair in suite.pairs for m in _late(pair)}
    if late:
        several = ", ".join(str(m) for m in sorted(late))
        yield f"recipe.milestones: the last epoch comes before {several}; lr does not fall there"


def _late(pair: Pair) -> list[int]:
    recipes = (pair.recipe, pair.teacher.recipe)
    return [m for recipe in recipes for m in recipe.milestones if m >= recipe.epochs]


def _of_batches(suite: Suite) -> Iterator[str]:
    sizes = {pair.recipe.batch_size for pair in suite.pairs} - {USUAL_BATCH}
    touched = [m.name for m in suite.methods if RELATIONAL & m.terms.keys()]
    if sizes and touched:
        size = ", ".join(str(size) for size in sorted(sizes))
        yield (
            f"recipe.batch_size: {size}; the weights of {', '.join(touched)} hold for batches "
            f"of {USUAL_BATCH}, since their losses compare the samples of a batch"
        )
