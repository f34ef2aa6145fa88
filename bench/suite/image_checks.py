"""Checks of the images of a suite: data sets, their parts, views, and the size of crops."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench import data
from bench.config.loader import Document
from bench.config.text import Problem, Where, found
from bench.data import Facts, Selection, views
from bench.data.base import PREFIX
from bench.errors import BenchError, MissingData
from bench.plugins import Registry
from bench.suite.parts import DataSet, DataSetEntry, ViewName
from bench.suite.unchecked import as_list, as_mapping, as_name, unknown_name

_data_set: TypeAdapter[DataSet] = TypeAdapter(DataSetEntry)
_view: TypeAdapter[str] = TypeAdapter(ViewName)


def check_images(source: Document, registry: Registry) -> Iterator[Problem]:
    """Yield problems: unknown data sets and views, impossible subsets, too large `crop`."""
    teachers: Where = ("teachers", "dataset")
    entry = as_mapping(source.data.get("teachers")).get("dataset")
    problems: list[Problem] = []
    facts = _facts(source.data.get("dataset"), ("dataset",), registry, problems)
    for probe, content in as_mapping(source.data.get("probes")).items():
        where: Where = ("probes", probe)
        target = as_mapping(content).get("dataset")
        if target_facts := _facts(target, (*where, "dataset"), registry, problems):
            problems += _recipe(content, where, target_facts)
    images = as_mapping(source.data.get("tune")).get("images")
    if facts and type(images) is int:
        problems += _held_out(source.data["dataset"], images, registry)
    taught = _facts(entry, teachers, registry, problems) if entry is not None else facts
    yield from problems
    if problems:
        return
    if as_mapping(entry).get("split", "train") != "train":
        message = "teachers learn from labels. Allowed: split train"
        yield Problem((*teachers, "split"), message)
    if facts and taught and (facts.size, len(facts.mean)) != (taught.size, len(taught.mean)):
        allowed = f"{_shape(facts)}, as in the suite's `dataset`"
        message = f"found images of {_shape(taught)}. Allowed: {allowed}"
        yield Problem(teachers, f"{message}; `size: {facts.size}` resizes them")
    if facts and taught and "tune" in source.data and facts.taught_by(taught).labels == "none":
        message = "found other images than the suite's; trials need labels in the teacher's classes"
        yield Problem(teachers, f"{message}. Allowed with tune: the suite's data set")
    if facts:
        yield from _recipes(source, facts)
        yield from _corruptions(source, facts)
    yield from _views(source, facts)


def _facts(entry: Any, where: Where, registry: Registry, problems: list[Problem]) -> Facts | None:
    """Return the facts of a data set, or None; extend `problems` if the entry is wrong."""
    name = as_name(as_mapping(entry).get("name", entry))
    names = [*registry.names("dataset"), f"{PREFIX}/path/to/images"]
    if name and not name.startswith(PREFIX) and (message := unknown_name("data set", name, names)):
        problems.append(Problem((*where, "name") if isinstance(entry, dict) else where, message))
        return None
    try:
        selection = Selection(**_data_set.validate_python(entry).model_dump())
        return data.facts(selection, None, registry.datasets)
    except (ValidationError, MissingData):
        pass
    except BenchError as error:
        problems.append(Problem(where, str(error)))
    return None


def _held_out(entry: Any, images: int, registry: Registry) -> Iterator[Problem]:
    """Yield a problem if a data set does not have so many training images to hold out."""
    selection = Selection(**_data_set.validate_python(entry).model_dump(), held_out=images)
    try:
        data.facts(selection, None, registry.datasets)
    except BenchError as error:
        yield Problem(("tune", "images"), str(error))


def _shape(facts: Facts) -> str:
    return f"{len(facts.mean)} x {facts.size} x {facts.size}"


def _recipes(source: Document, facts: Facts) -> Iterator[Problem]:
    """Yield a problem for each augmentation that the images of the data set do not allow."""
    owners: dict[Where, Any] = {(): source.data, ("teachers",): source.data.get("teachers")}
    owners |= {("pairs", i): pair for i, pair in enumerate(as_list(source.data.get("pairs")))}
    for where, owner in owners.items():
        yield from _recipe(owner, where, facts)


def _recipe(owner: Any, where: Where, facts: Facts) -> Iterator[Problem]:
    recipe = as_mapping(as_mapping(owner).get("recipe"))
    crop, magnitude = recipe.get("crop"), recipe.get("randaugment")
    if isinstance(crop, int) and crop > facts.size:
        message = f"{found(crop)}. Allowed: at most {facts.size}, the side of an image in pixels"
        yield Problem((*where, "recipe", "crop"), message)
    if type(magnitude) is int and magnitude and (problem := facts.not_rgb):
        message = f"{found(magnitude)}; RandAugment needs {problem}. Allowed: 0"
        yield Problem((*where, "recipe", "randaugment"), message)


def _corruptions(source: Document, facts: Facts) -> Iterator[Problem]:
    """Yield a problem if the suite corrupts test images that do not have three channels."""
    if as_mapping(source.data.get("evaluate")).get("corrupted") and (problem := facts.not_rgb):
        yield Problem(
            ("evaluate", "corrupted"), f"corruptions need {problem}. Allowed: leave out corrupted"
        )


def _views(source: Document, facts: Facts | None) -> Iterator[Problem]:
    """Yield a problem for each view that cannot be made from the images of the data set."""
    suite, pairs = as_mapping(source.data.get("views")), as_list(source.data.get("pairs"))
    places: dict[Where, Any] = {("views", role): view for role, view in suite.items()}
    for i, pair in enumerate(pairs):
        entry = as_mapping(as_mapping(pair).get("views"))
        places |= {("pairs", i, "views", role): view for role, view in entry.items()}
    for where, view in places.items():
        with suppress(ValidationError):
            if message := views.problem(_view.validate_python(view), facts):
                yield Problem(where, message)
    channels = len(facts.mean) if facts else 3
    missing = {"teacher", "student"} - suite.keys()
    if (
        channels != 3
        and facts
        and missing
        and any(missing - as_mapping(as_mapping(pair).get("views")).keys() for pair in pairs)
    ):
        message = views.problem(views.RGB, facts)
        yield Problem(
            ("views",),
            f"no view for the {' and the '.join(sorted(missing))}; by default, {message}",
        )
