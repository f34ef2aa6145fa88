"""In what the runs of a table are not what the papers ran: the text behind a dagger."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.report.wording import counted, joined
from bench.spec import papers_recipe


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
        f"{counted(data[key], what)} a class"
        for key, what in (("per_class", "training image"), ("test_per_class", "test image"))
        if data.get(key)
    ]
    if cuts:
        yield f"subset: only {joined(cuts)}"
    if data.get("validation"):
        yield f"{counted(data['validation'], 'training image')} held out"
    if data.get("size"):
        yield f"images resized to {data['size']} x {data['size']}"


def _of_recipe(recipe: Mapping[str, Any], student: str) -> list[str]:
    return [
        f"{key.replace('_', ' ')} {_shown(recipe[key])} (papers: {_shown(expected)})"
        for key, expected in papers_recipe(student).model_dump().items()
        if key in recipe and key != "evaluate_every" and _plain(recipe[key]) != expected
    ]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    if isinstance(value, list | tuple):
        return "/".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
