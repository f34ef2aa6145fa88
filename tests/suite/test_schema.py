"""Types and ranges of a suite's keys, and the message for each invalid value."""

from typing import Any

import pytest
from pydantic import BaseModel

from bench.config.fields import validate
from bench.spec import Recipe
from bench.suite.schema import SuiteFile

GOOD: dict[str, Any] = {
    "suite_version": 1,
    "title": "t",
    "dataset": "cifar100",
    "pairs": [{"teacher": "resnet56", "student": "resnet20"}],
    "methods": ["kd"],
}
WHOLE = "Allowed: a whole number, at least 1"


def problems_of(**change: Any) -> list[str]:
    file, problems = validate({**GOOD, **change}, SuiteFile)
    assert (file is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_defaults_are_the_papers_recipe() -> None:
    file, _ = validate(GOOD, SuiteFile)
    assert file is not None
    assert file.seeds == (0, 1, 2)
    assert file.teachers.seed == 0
    assert file.recipe.model_dump() == {
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
        "evaluate_every": 1,
        "randaugment": 0,
        "erasing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "smoothing": 0.0,
        "optimizer": "sgd",
        "schedule": "step",
        "warmup": 0,
        "min_lr": 0.0,
        "clip": 0.0,
        "ema": 0.0,
        "layer_decay": 1.0,
        "drop_path": 0.0,
    }


def test_every_field_has_a_description() -> None:
    def fields(model: type[BaseModel]) -> list[str | None]:
        return [field.description for field in model.model_fields.values()]

    assert all(fields(SuiteFile) + fields(Recipe))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"epochs": "240"}, f"epochs: found the text '240'. {WHOLE}"),
        ({"epochs": True}, f"epochs: found true. {WHOLE}"),
        ({"epochs": 2.0}, f"epochs: found the number 2.0. {WHOLE}"),
        ({"epochs": 0}, f"epochs: found the number 0. {WHOLE}"),
        ({"epochs": None}, f"epochs: found nothing. {WHOLE}"),
        ({"lr": "fast"}, "lr: found the text 'fast'. Allowed: a number above 0"),
        ({"lr": True}, "lr: found true. Allowed: a number above 0"),
        ({"lr": 0}, "lr: found the number 0. Allowed: a number above 0"),
        ({"lr": [1]}, "lr: found a list. Allowed: a number above 0"),
        (
            {"lr": float("inf")},
            "lr: found a number that is not finite. Allowed: a number above 0",
        ),
        ({"momentum": 1}, "momentum: found the number 1. Allowed: a number from 0 to below 1"),
        ({"nesterov": 1}, "nesterov: found the number 1. Allowed: true or false"),
        ({"nesterov": "no"}, "nesterov: found the text 'no'. Allowed: true or false"),
        (
            {"precision": "bf15"},
            "precision: found the text 'bf15'. Did you mean 'bf16'? Allowed: bf16, float32, tf32",
        ),
        (
            {"milestones": [180, 150]},
            "milestones: found numbers that do not increase. "
            "Allowed: a list of increasing whole numbers, e.g. [150, 180, 210]",
        ),
        (
            {"milestones": [150, "x"]},
            "milestones.1: found the text 'x'. "
            "Allowed: a list of increasing whole numbers, e.g. [150, 180, 210]",
        ),
        (
            {"epoch": 3},
            "epoch: no key 'epoch'. Did you mean 'epochs'? Allowed: epochs, batch_size, lr, "
            "milestones, decay, momentum, weight_decay, nesterov, crop, flip, resized_crop, "
            "precision, evaluate_every, randaugment, erasing, mixup, cutmix, smoothing, "
            "optimizer, schedule, warmup, min_lr, clip, ema, layer_decay, drop_path",
        ),
        (
            {"randaugment": 31},
            "randaugment: found the number 31. Allowed: a whole number from 0 (off) to 30",
        ),
        ({"erasing": 1.5}, "erasing: found the number 1.5. Allowed: a number from 0 to 1"),
        ({"mixup": -1}, "mixup: found the number -1. Allowed: a number, 0 or more"),
        ({"cutmix": "on"}, "cutmix: found the text 'on'. Allowed: a number, 0 or more"),
        ({"smoothing": 1}, "smoothing: found the number 1. Allowed: a number from 0 to below 1"),
        (
            {"smooting": 0.1},
            "smooting: no key 'smooting'. Did you mean 'smoothing'? Allowed: epochs, batch_size, "
            "lr, milestones, decay, momentum, weight_decay, nesterov, crop, flip, resized_crop, "
            "precision, evaluate_every, randaugment, erasing, mixup, cutmix, smoothing, "
            "optimizer, schedule, warmup, min_lr, clip, ema, layer_decay, drop_path",
        ),
    ],
)
def test_invalid_recipe_is_refused(recipe: dict[str, Any], message: str) -> None:
    assert problems_of(recipe=recipe) == [f"recipe.{message}"]
    assert problems_of(teachers={"recipe": recipe}) == [f"teachers.recipe.{message}"]


def test_integers_and_empty_lists_are_valid() -> None:
    file, _ = validate(
        {**GOOD, "recipe": {"lr": 1, "weight_decay": 0, "milestones": []}}, SuiteFile
    )
    assert file is not None
    assert (file.recipe.lr, file.recipe.milestones) == (1.0, ())


SEEDS = "Allowed: a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000"


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [("0-4", (0, 1, 2, 3, 4)), ("7", (7,)), ("0, 3-4", (0, 3, 4)), ([5, 2], (5, 2))],
)
def test_seeds_are_a_list_or_a_range(seeds: Any, expected: tuple[int, ...]) -> None:
    file, _ = validate({**GOOD, "seeds": seeds}, SuiteFile)
    assert file is not None
    assert file.seeds == expected


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (3, f"seeds: found the number 3. {SEEDS}"),
        ([], f"seeds: found an empty list. {SEEDS}"),
        ("4-0", f"seeds: found the text '4-0'. {SEEDS}"),
        ("0-99999999", f"seeds: found the text '0-99999999'. {SEEDS}"),
        ([0, 1, 0], f"seeds: found 0 more than once. {SEEDS}"),
        ([True], f"seeds.0: found true. {SEEDS}"),
        ([-1], f"seeds.0: found the number -1. {SEEDS}"),
    ],
)
def test_invalid_seeds_are_refused(seeds: Any, message: str) -> None:
    assert problems_of(seeds=seeds) == [message]


NAME = "Allowed: a name of letters, digits and _ . + -, at most 60 characters"
WEIGHT = "Allowed: a number, 0 or more"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite_version": True}, "suite_version: found true. Allowed: 1"),
        ({"suite_version": 2}, "suite_version: found the number 2. Allowed: 1"),
        ({"title": 3}, "title: found the number 3. Allowed: one line of at most 200 characters"),
        (
            {"title": "a\nb"},
            "title: found several lines. Allowed: one line of at most 200 characters",
        ),
        (
            {"title": "a" * 201},
            "title: found a text of 201 characters. Allowed: one line of at most 200 characters",
        ),
        ({"dataset": {"size": 32}}, None),
        ({"dataset": {"name": "cifar100", "validation": -1}}, None),
        ({"pairs": []}, "pairs: found an empty list. Allowed: a list of {teacher: …, student: …}"),
        ({"pairs": [{"teacher": "a"}]}, "pairs.0.student: missing. Allowed: the name of a network"),
        (
            {"pairs": [{**GOOD["pairs"][0], "lr": 0.01}]},
            "pairs.0.lr: no key 'lr'. "
            "Allowed: name, teacher, members, student, views, recipe, group",
        ),
        ({"methods": ["a b"]}, f"methods.0: found the text 'a b'. {NAME}"),
        ({"methods": {"a,b": None}}, f"methods.a,b: found the text 'a,b'. {NAME}"),
        ({"methods": {"a": {"ce": "x"}}}, f"methods.a.ce: found the text 'x'. {WEIGHT}"),
        ({"methods": {"a": {"ce": -1}}}, f"methods.a.ce: found the number -1. {WEIGHT}"),
        ({"methods": {"a": {"ce": True}}}, None),
        ({"methods": {"a": {"kd": {"temperature": 2}}}}, f"methods.a.kd.weight: missing. {WEIGHT}"),
        (
            {"methods": {"a": "paper"}},
            "methods.a: found the text 'paper'. Did you mean 'papers'? Allowed: papers, "
            "or a mapping of distillers to a weight or to {weight, options}",
        ),
        ({"methods": 3}, None),
        (
            {"teachers": {"seed": "sam"}},
            "teachers.seed: found the text 'sam'. "
            "Allowed: a whole number, 0 or more, or same (the student's seed)",
        ),
        (
            {"teachers": {"checkpoints": {"x": {"path": "p", "sha256": "12"}}}},
            "teachers.checkpoints.x.sha256: found the text '12'. "
            "Allowed: 64 hex digits in lower case",
        ),
        ({"options": {"crd": 3}}, None),
        (
            {"plugins": "x.py"},
            "plugins: found the text 'x.py'. Allowed: a list of paths of .py files",
        ),
    ],
)
def test_invalid_value_is_refused(change: dict[str, Any], message: str | None) -> None:
    lines = problems_of(**change)
    assert len(lines) == 1
    assert lines[0].startswith(f"{next(iter(change))}")
    assert "Allowed: " in lines[0]
    assert message is None or lines == [message]


def test_missing_and_invalid_keys_are_reported_together() -> None:
    file, problems = validate({"titel": 1, "recipe": {"lr": 0, "epochs": 0}}, SuiteFile)
    assert file is None
    assert [m.where for m in problems] == [
        ("suite_version",),
        ("title",),
        ("dataset",),
        ("recipe", "epochs"),
        ("recipe", "lr"),
        ("pairs",),
        ("methods",),
        ("titel",),
    ]


@pytest.mark.parametrize("key", ["<number>", "<list>", "[key]"])
def test_keys_that_look_like_tags_are_refused(key: str) -> None:
    _, problems = validate({**GOOD, key: 1}, SuiteFile)
    assert [str(problem).partition(". ")[0] for problem in problems] == [f"{key}: no key '{key}'"]
