"""A suite file, read and resolved; everything wrong with it is told at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import plugins
from bench.data import Selection
from bench.errors import BenchError, Mistakes
from bench.suite import document, methods, names
from bench.suite.caveats import warnings
from bench.suite.methods import Resolution, canonical, papers
from bench.suite.mistakes import Mistake, Where, dotted
from bench.suite.render import render
from bench.suite.resolved import Checkpoint, Method, Pair, Suite, Teacher, Term
from bench.suite.schema import CheckpointEntry, Part, Recipe, SuiteFile
from bench.suite.shape import shaped
from bench.suite.shipped import find, shipped
from bench.suite.source import Source, changed

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


def read(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """The suite of a file, changed by `recipe.epochs=2` and the like, in their order.

    Raises `Mistakes`: every mistake in the file, by line, then those in the changes.
    """
    source = changed(document.load(path), overrides)
    files, mistakes = _plugins(source, path.parent)
    file, misshapen = shaped(source.data)
    found = methods.resolve(source)
    mistakes += [*source.document.mistakes, *misshapen, *names.wrong(source), *found.mistakes]
    checkpoints: dict[str, Checkpoint] = {}
    if file is not None:
        checkpoints, unfit = _checkpoints(file, path.parent)
        mistakes += [*unfit, *_recipes_wrong(file)]
    if file is None or mistakes or source.refused:
        raise Mistakes(source.told(mistakes))
    made = _Builder(path, source, file, found, checkpoints).suite(files)
    return replace(made, changes=tuple(overrides))


def _plugins(source: Source, folder: Path) -> tuple[tuple[Path, ...], list[Mistake]]:
    """The files of the suite's plugins, loaded."""
    files, mistakes = [], []
    try:
        plugins.load_installed()
    except BenchError as error:
        mistakes.append(Mistake((), str(error)))
    asked = source.data.get("plugins")
    for i, name in enumerate(asked if isinstance(asked, list) else ()):
        if isinstance(name, str) and name:
            files.append(_beside(folder, name))
            try:
                plugins.load(files[-1])
            except BenchError as error:
                mistakes.append(Mistake(("plugins", i), str(error)))
    return tuple(files), mistakes


def _beside(folder: Path, name: str) -> Path:
    """A path that a suite in that folder names."""
    return (folder / Path(name).expanduser()).resolve()


def _checkpoints(file: SuiteFile, folder: Path) -> tuple[dict[str, Checkpoint], list[Mistake]]:
    """The teachers' files by network, each known by the SHA-256 of what it holds."""
    found, mistakes = {}, []
    for network, entry in file.teachers.checkpoints.items():
        where: Where = ("teachers", "checkpoints", network)
        try:
            found[network] = _checkpoint(entry, _beside(folder, entry.path))
        except BenchError as error:
            mistakes.append(Mistake(where, str(error)))
    return found, mistakes


def _checkpoint(entry: CheckpointEntry, path: Path) -> Checkpoint:
    """The checkpoint of an entry; a file that is not there yet must be named by its SHA-256."""
    digest = entry.sha256
    if path.is_file():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if entry.sha256 not in (None, digest):
            raise BenchError(f"the SHA-256 of '{path}' is {digest}, not what the suite says")
    if digest is None:
        raise BenchError(f"no file '{path}'. Allowed: a checkpoint's path, or one with sha256")
    return Checkpoint(path, digest, entry.top1, entry.tolerance)


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

    def suite(self, files: tuple[Path, ...]) -> Suite:
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
            plugins=files,
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

    def note(self, where: Where, part: Part, default: str | None = None) -> None:
        """Note where each value of a part comes from; with no default, of those set only."""
        for key in type(part).model_fields:
            at = (*where, key)
            if key in part.model_fields_set:
                self.origins[dotted(at)] = self.source.origin(at)
            elif default:
                self.origins[dotted(at)] = default
