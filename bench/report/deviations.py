"""In what the runs of a table are not what the papers ran: the text behind a dagger."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.report.wording import joined

# CRD, section 4, as github.com/HobbitLong/RepDistiller runs it; for CIFAR-100 alone.
_RECIPE: Mapping[str, Any] = {
    "epochs": 240,
    "batch_size": 64,
    "lr": 0.05,
    "milestones": (150, 180, 210),
    "decay": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "nesterov": False,
    "crop": 4,
    "flip": True,
    "resized_crop": False,
    "precision": "float32",
}
_LIGHT = {"lr": 0.01}  # for students that a grid search showed to need it
_STUDENTS = frozenset({"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"})


def of_pair(data: Mapping[str, Any], recipe: Mapping[str, Any], student: str) -> str:
    """Subset, other images, other recipe; empty where nothing deviates, or nothing is known.

    data: the fields of bench.data.Selection; recipe: those of the student's recipe; student: the
    network's name. A recipe deviates only on CIFAR-100, the one data set with a recipe of papers.
    """
    parts = [*_of_data(data)]
    if data.get("name") == "cifar100":
        changed = _of_recipe(recipe, student)
        parts += [f"other recipe than the papers': {joined(changed)}"] if changed else []
    return "; ".join(parts)


def whole(data: Mapping[str, Any]) -> bool:
    """Whether the images are those of the data set, all of them, as they are."""
    return not any(True for _ in _of_data(data))


def of_terms(terms: Mapping[str, Any], papers: Mapping[str, Any]) -> str:
    """`other weights than the papers': at 62.5, not 1000`; empty where they are the papers'.

    Both map a distiller to {"weight": …, "options": {…}}, every option filled in.
    """
    if terms.keys() != papers.keys():
        return f"other terms than the papers': {joined(terms)}"
    said = []
    for name, term in terms.items():
        pairs = {"": (term["weight"], papers[name]["weight"])}
        usual = papers[name]["options"]
        pairs |= {f" {key}": (value, usual.get(key)) for key, value in term["options"].items()}
        said += [
            f"{name}{key} {_shown(found)}, not {_shown(expected)}"
            for key, (found, expected) in pairs.items()
            if found != expected
        ]
    return f"other weights than the papers': {'; '.join(said)}" if said else ""


def _of_data(data: Mapping[str, Any]) -> Iterator[str]:
    cuts = [
        f"{data[key]} {what} images a class"
        for key, what in (("per_class", "training"), ("test_per_class", "test"))
        if data.get(key)
    ]
    if cuts:
        yield f"subset: only {joined(cuts)}"
    if data.get("validation"):
        yield f"{data['validation']} training images held out"
    if data.get("size"):
        yield f"images resized to {data['size']} x {data['size']}"


def _of_recipe(recipe: Mapping[str, Any], student: str) -> list[str]:
    usual = {**_RECIPE, **(_LIGHT if student in _STUDENTS else {})}
    return [
        f"{key.replace('_', ' ')} {_shown(recipe[key])} (papers: {_shown(expected)})"
        for key, expected in usual.items()
        if key in recipe and _plain(recipe[key]) != expected
    ]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    if isinstance(value, list | tuple):
        return "/".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
