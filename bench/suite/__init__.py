"""A suite file, read and resolved; everything wrong with it is told at once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from bench.config import loader
from bench.config.errors import Mistake, Where, dotted
from bench.config.overrides import Source, changed
from bench.config.validation import shaped
from bench.data import Selection
from bench.errors import Mistakes
from bench.plugins import Registry
from bench.spec import Recipe
from bench.suite import files, methods, references
from bench.suite.builtin import find, shipped
from bench.suite.methods import Resolution, canonical, papers
from bench.suite.render import render
from bench.suite.resolved import Checkpoint, Method, Pair, Suite, Teacher, Term
from bench.suite.schema import SuiteFile
from bench.suite.warnings import warnings

__all__ = [
    "Checkpoint",
    "Method",
    "Pair",
    "Recipe",
    "Suite",
    "Teacher",
    "Term",
    "canonical",
    "find",
    "papers",
    "read",
    "render",
    "shipped",
    "warnings",
]


MOST_RUNS = 50_000  # students of one suite


def read(path: Path, overrides: Sequence[str] = (), *, plugins: bool = True) -> Suite:
    """The suite of a file, changed by `recipe.epochs=2` and the like, in their order.

    `plugins=False` refuses a user's own code.

    Raises `Mistakes`: every mistake in the file, by line, then those in the changes.
    """
    source = changed(loader.load(path), overrides)
    registry = Registry(enabled=plugins)
    paths, mistakes = files.load_plugins(source, path.parent, registry)
    file, misshapen = shaped(source.data, SuiteFile)
    found = methods.resolve(source, registry)
    mistakes += [
        *source.document.mistakes,
        *misshapen,
        *references.wrong(source, registry),
        *found.mistakes,
    ]
    checkpoints: dict[str, Checkpoint] = {}
    if file is not None:
        checkpoints, unfit = files.checkpoints(file, path.parent)
        mistakes += [*unfit, *_recipes_wrong(file), *_too_many(file)]
    if file is None or mistakes or source.refused:
        raise Mistakes(source.told(mistakes))
    made = _Builder(path, source, file, found, checkpoints).suite(paths)
    return replace(made, changes=tuple(overrides), registry=registry)


def _recipes_wrong(file: SuiteFile) -> list[Mistake]:
    """Recipes whose parts do not go together, which shows only when they are put together."""
    changes: dict[Where, Recipe] = {("recipe",): file.recipe}
    changes["teachers", "recipe"] = file.teachers.recipe
    changes |= {("pairs", i, "recipe"): pair.recipe for i, pair in enumerate(file.pairs)}
    sentence = "nesterov needs a momentum. Allowed: nesterov false, or a momentum above 0"
    wrong = []
    for where, own in changes.items():
        recipe, touched = _merged(file.recipe, own), {"nesterov", "momentum"} & own.model_fields_set
        if recipe.nesterov and not recipe.momentum and touched:
            wrong.append(Mistake((*where, min(touched)), sentence))
    return wrong


def _too_many(file: SuiteFile) -> list[Mistake]:
    runs = len(file.pairs) * len(file.methods) * len(file.seeds)
    if runs <= MOST_RUNS:
        return []
    return [Mistake(("methods",), f"found {runs:,} runs of students. Allowed: {MOST_RUNS:,}")]


def _merged(recipe: Recipe, changes: Recipe) -> Recipe:
    """A recipe with those values of another that were set in the suite."""
    return recipe.model_copy(update={k: getattr(changes, k) for k in changes.model_fields_set})


class _Builder:
    """Puts a suite together from parts without mistakes, and notes the origin of every value."""

    def __init__(
        self,
        path: Path,
        source: Source,
        file: SuiteFile,
        found: Resolution,
        checkpoints: dict[str, Checkpoint],
    ) -> None:
        self.path, self.source, self.file, self.found = path, source, file, found
        self.checkpoints = checkpoints
        self.origins: dict[str, str] = {}

    def suite(self, plugins: tuple[Path, ...]) -> Suite:
        """The whole suite."""
        file = self.file
        self.note((), file, "default")
        self.note(("dataset",), file.dataset, "default")
        self.note(("recipe",), file.recipe, "papers")
        self.note(("teachers",), file.teachers, "papers")
        self.note(("teachers", "recipe"), file.teachers.recipe)
        for network, entry in file.teachers.checkpoints.items():
            self.note(("teachers", "checkpoints", network), entry, "default")
        pairs = tuple(self.pair(i) for i in range(len(file.pairs)))
        return Suite(
            name=self.path.stem,
            title=file.title,
            caption=file.caption.strip(),
            path=self.path,
            data=Selection(**file.dataset.model_dump()),
            recipe=file.recipe,
            teacher_seed="same" if file.teachers.seed == "same" else file.teachers.seed,
            seeds=file.seeds,
            pairs=pairs,
            methods=tuple(self.found.methods),
            plugins=plugins,
            origins={**self.origins, **self.found.origins},
            unused=self.found.unused,
        )

    def pair(self, i: int) -> Pair:
        """The pair at that place."""
        entry, file = self.file.pairs[i], self.file
        self.note(("pairs", i), entry)
        self.note(("pairs", i, "recipe"), entry.recipe)
        own = _merged(file.recipe, file.teachers.recipe)
        teacher = Teacher(entry.teacher, own, self.checkpoints.get(entry.teacher))
        name = f"{entry.teacher}/{entry.student}"
        return Pair(name, teacher, entry.student, _merged(file.recipe, entry.recipe))

    def note(self, where: Where, part: BaseModel, default: str | None = None) -> None:
        """Note where each value of a part comes from; with no default, of those set only."""
        for key in type(part).model_fields:
            at = (*where, key)
            if key in part.model_fields_set:
                self.origins[dotted(at)] = self.source.origin(at)
            elif default:
                self.origins[dotted(at)] = default
