"""Networks and data sets that a suite names: whether there are such."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from bench import data
from bench.config.errors import Mistake, Where
from bench.config.fields import instead
from bench.config.overrides import Source, value_at
from bench.config.text import foreign, short
from bench.errors import BenchError, MissingData, nearest, unknown
from bench.plugins import Registry
from bench.suite.schema import DataSet

FOLDER = "folder:"
MOST_TOLD = 100  # wrong names; it takes time to find what each of them is nearest to
_dataset: TypeAdapter[DataSet] = TypeAdapter(Annotated[DataSet, instead("name")])


def wrong(source: Source, registry: Registry) -> list[Mistake]:
    """A mistake for each name that nothing has; what is ill-shaped is left to the schema."""
    found = list(islice(_wrong(source, registry), MOST_TOLD))
    more = [Mistake((), f"{MOST_TOLD} names are wrong; the others were not looked at")]
    return found + more if len(found) == MOST_TOLD else found


def _wrong(source: Source, registry: Registry) -> Iterator[Mistake]:
    yield from _dataset_mistakes(source.data.get("dataset"), registry)
    teachers: set[str] = set()
    pairs: dict[tuple[str, str], Where] = {}
    for where, sides in _pairs(source.data.get("pairs")):
        for side, name in sides.items():
            if sentence := _network_mistake(name, registry):
                yield Mistake((*where, side), sentence)
        teachers |= {sides[side] for side in sides if side == "teacher"}
        if len(sides) == 2 and (first := pairs.setdefault(_both(sides), where)) != where:
            line = source.document.line_of(first)
            both = short("/".join(_both(sides)))
            yield Mistake(where, f"{both} stands twice, first in line {line}")
    checkpoints = value_at(source.data, ("teachers", "checkpoints"))
    for name in checkpoints if isinstance(checkpoints, dict) and teachers else ():
        if name not in teachers:
            known = map(short, teachers)
            yield Mistake(("teachers", "checkpoints", name), unknown("teacher", name, known))


def _pairs(given: Any) -> Iterator[tuple[Where, dict[str, str]]]:
    """Each pair's place, and those of its two names that are text."""
    for i, pair in enumerate(given if isinstance(given, list) else ()):
        sides = {side: value_at(pair, (side,)) for side in ("teacher", "student")}
        yield ("pairs", i), {k: v for k, v in sides.items() if isinstance(v, str) and v}


def _both(sides: dict[str, str]) -> tuple[str, str]:
    return sides["teacher"], sides["student"]


def _dataset_mistakes(given: Any, registry: Registry) -> Iterator[Mistake]:
    inside = isinstance(given, dict)
    name = given.get("name") if inside else given
    if (
        isinstance(name, str)
        and name not in registry.names("dataset")
        and not name.startswith(FOLDER)
    ):
        known = [*registry.names("dataset"), f"{FOLDER}/path/to/images"]
        where = ("dataset", "name") if inside else ("dataset",)
        yield Mistake(where, foreign(name) or unknown("data set", short(name), known))
        return
    try:
        asked = _dataset.validate_python(given)
        data.facts(data.Selection(**asked.model_dump()), None, registry.datasets)
    except (ValidationError, MissingData):
        return
    except BenchError as error:
        yield Mistake(("dataset",), str(error))


def _network_mistake(name: str, registry: Registry) -> str | None:
    """What is wrong with a network's name, if anything is."""
    networks = registry.names("network")
    if name in networks:
        return None
    if odd := foreign(name):
        return odd
    library, colon, inner = name.partition(":")
    if not colon:
        return f"{unknown('network', short(name), networks)}, timm:<name>, torchvision:<name>"
    if library not in ("timm", "torchvision"):
        return unknown("library of networks", short(library), ("timm", "torchvision"))
    known = _outside(library)
    if inner in known:
        return None
    some = f"the {len(known)} names of its list_models()"
    return f"no network '{short(inner)}' in {library}.{nearest(inner, known)} Allowed: {some}"


@cache
def _outside(library: str) -> Sequence[str]:
    """The names of a library's networks; it is imported only when a suite asks."""
    if library == "timm":
        import timm

        names: list[str] = timm.list_models()
        return names
    from torchvision import models as theirs

    return list(theirs.list_models(module=theirs))
