"""Runs and their ids: which changes make another run."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import api, suite
from bench.errors import ConfigError
from bench.planning.cohorts import SHARED, cohorts
from bench.planning.plan import Plan
from bench.spec import FIRST_KEYS, Recipe, RunSpec, content_hash
from tests import toy

GOLDEN = """\
suite_version: 1
title: Golden
dataset: {name: digits, per_class: 8}
recipe: {epochs: 2, batch_size: 16, milestones: [1], crop: 1, flip: false}
seeds: [0, 1]
pairs:
  - {teacher: resnet8x4, student: resnet8, recipe: {lr: 0.01}}
methods: {student: papers, crd+kd: {ce: 1, crd: {weight: 0.8, negatives: 16}, kd: 1}}
"""

# An unintended change of these ids loses every user's records: find its cause. If the same
# specification is meant to give other numbers, raise plan.REVISION and update the ids.
IDS = {
    "resnet8x4 seed 0": "00b1e2b7063ddb1f",
    "resnet8x4/resnet8 student seed 0": "3e22f1c002b2b340",
    "resnet8x4/resnet8 crd+kd seed 0": "71aad3ab3e580041",
    "resnet8x4/resnet8 student seed 1": "8a5301a99550c115",
    "resnet8x4/resnet8 crd+kd seed 1": "4f3e3b2eb7588121",
}

SHIPPED = {  # hashes of the ids of all runs
    "ablation_negatives": "05e60d7c0cfa74d0",
    "ablation_temperature": "2796fa4c304ec4c5",
    "capacity_gap": "f64fc8a9b437b2f7",
    "cifar100_cross_arch": "27f95e6e33804d09",
    "cifar100_probe": "e7a9769a06fbd6ff",
    "cifar100_same_arch": "a3696e043b4f83f3",
    "ensemble": "d2e0a3a8af462f8e",
    "imagenet_crd": "701d72c33eb986bf",
    "imagenet_dist": "c9092036a3b5302a",
    "imagenet_mdistiller": "3e70e28edfe97b9e",
    "imagenet_torchdistill": "cb101924458d1db3",
    "quickstart": "cbfc29f06d6f5f25",
    "small_capacity_gap": "989c90649ed102d3",
    "small_ensemble": "061247f4b13d9f55",
}


def named(plan: Plan) -> dict[str, str]:
    names = plan.names()
    return {names[run]: run for run in plan.runs}


def ids(folder: Path, *changes: str, **lines: str) -> list[str]:
    """The ids of the toy suite's runs, the teacher's first."""
    return list(api.load_plan(toy.write(folder, **lines), changes).runs)


def students(plan: Plan) -> set[str]:
    return {run.id for run in plan.runs.values() if run.kind == "student"}


def test_golden_ids(tmp_path: Path) -> None:
    path = tmp_path / "golden.yaml"
    path.write_text(GOLDEN)
    assert named(api.load_plan(path)) == IDS


def test_ids_do_not_need_the_data(tmp_path: Path) -> None:
    toy.plan(tmp_path, dataset="cifar100", recipe="{epochs: 2}")
    plan = api.load_plan(tmp_path / "toy.yaml", data_root=tmp_path / "nothing")
    assert len(plan.runs) == 3


@pytest.mark.parametrize(
    "lines",
    [
        {"title": "Other", "caption": "Other words."},
        {"methods": "[kd, student]"},
        {"methods": "{student: papers, mine: {kd: 0.9, ce: 0.1}}"},
        {"options": "{crd: {negatives: 8}}"},
    ],
    ids=["title", "order", "name of a method, order of its terms", "options of others"],
)
def test_ids_do_not_depend_on_texts_and_order(lines: dict[str, str], tmp_path: Path) -> None:
    assert sorted(ids(tmp_path, **lines)) == sorted(ids(tmp_path))


def test_ids_do_not_depend_on_the_suites_name_or_folder(tmp_path: Path) -> None:
    path, copy = toy.write(tmp_path), tmp_path / "there" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(path.read_text())
    assert list(api.load_plan(path).runs) == list(api.load_plan(copy).runs)


def test_ids_do_not_depend_on_the_group_of_a_pair(tmp_path: Path) -> None:
    assert ids(tmp_path, "pairs.0.group=same architecture style") == ids(tmp_path)


def test_ids_do_not_depend_on_other_pairs(tmp_path: Path) -> None:
    a, b = "{teacher: resnet8, student: resnet8}", "{teacher: resnet14, student: vgg8}"
    both = ids(tmp_path, pairs=f"[{a}, {b}]")
    assert sorted(both) == sorted(ids(tmp_path, pairs=f"[{b}, {a}]"))
    assert set(ids(tmp_path, pairs=f"[{a}]")) < set(both)


OTHER: dict[str, Any] = {
    "epochs": 3, "batch_size": 8, "lr": 0.06, "milestones": "[]", "decay": 0.2, "momentum": 0.8,
    "weight_decay": 1e-4, "nesterov": "true", "crop": 0, "flip": "true", "resized_crop": "true",
    "precision": "bf16", "evaluate_every": 2, "randaugment": 9, "erasing": 0.25, "mixup": 0.8,
    "cutmix": 1, "smoothing": 0.1,
    "optimizer": "adamw", "warmup": 1, "clip": 5.0, "ema": 0.5,
}  # fmt: skip


def test_first_keys_are_keys_of_a_recipe() -> None:
    assert list(FIRST_KEYS) == list(Recipe.model_fields)[: len(FIRST_KEYS)]


@pytest.mark.parametrize("field", OTHER)
def test_ids_depend_on_every_field_of_the_recipe(field: str, tmp_path: Path) -> None:
    change = f"{field}={OTHER[field]}"
    before, after = ids(tmp_path), ids(tmp_path, f"recipe.{change}")
    assert not set(before) & set(after) or field == "epochs"  # teachers have their own epochs
    assert not set(before[1:]) & set(after[1:])
    assert not set(before) & set(ids(tmp_path, f"teachers.recipe.{change}"))
    assert ids(tmp_path, f"pairs.0.recipe.{change}")[0] == before[0], "the teacher's is its own"


VIT = "timm:vit_tiny_patch16_224"
TINY = f"{{'{VIT}': {{options: {{patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2}}}}}}"
VITS = {"networks": TINY, "pairs": f"[{{teacher: '{VIT}', student: '{VIT}'}}]"}


@pytest.mark.parametrize("change", ["layer_decay=0.5", "drop_path=0.1"])
def test_ids_depend_on_keys_for_networks_of_timm(change: str, tmp_path: Path) -> None:
    assert not set(ids(tmp_path, **VITS)) & set(ids(tmp_path, f"recipe.{change}", **VITS))


@pytest.mark.parametrize(
    ("network", "part"),
    [("teacher", "pretrained: true"), ("teacher", "options: {embed_dim: 32}")],
)
def test_ids_depend_on_how_a_network_is_built(network: str, part: str, tmp_path: Path) -> None:
    pairs = f"[{{teacher: '{VIT}', student: resnet8}}]"
    changed = ids(tmp_path, networks=f"{{'{VIT}': {{{part}}}}}", pairs=pairs)
    assert not set(ids(tmp_path, pairs=pairs)) & set(changed), "a student's id names its teacher"


def test_ids_depend_on_the_schedule_and_min_lr(tmp_path: Path) -> None:
    lines = {"recipe": "{epochs: 2, schedule: cosine}"}
    cosine = ids(tmp_path, **lines)
    assert not set(cosine) & set(ids(tmp_path, "recipe.min_lr=0.01", **lines))
    assert not set(cosine) & set(ids(tmp_path, recipe="{epochs: 2}"))


@pytest.mark.parametrize(
    "change",
    ["optimizer=sgd", "schedule=step", "warmup=0", "min_lr=0", "clip=0", "ema=0", "layer_decay=1",
     "drop_path=0"],
)  # fmt: skip
def test_ids_do_not_depend_on_later_keys_with_their_default(change: str, tmp_path: Path) -> None:
    before = ids(tmp_path)
    for place in ("recipe", "teachers.recipe", "pairs.0.recipe"):
        assert ids(tmp_path, f"{place}.{change}") == before


def test_ids_do_not_depend_on_keys_without_effect(tmp_path: Path) -> None:
    change = "teachers.recipe.optimizer=adamw"
    recipes = [f"{{epochs: 2, momentum: {momentum}}}" for momentum in (0.8, 0.9)]
    first, second = (ids(tmp_path, change, recipe=recipe)[0] for recipe in recipes)
    assert first == second, "AdamW has no momentum"


@pytest.mark.parametrize("name", SHIPPED)
def test_ids_of_shipped_suites_are_those_of_the_first_version(name: str) -> None:
    assert content_hash(list(api.load_plan(suite.find(name)).runs)) == SHIPPED[name]


@pytest.mark.parametrize(
    "change",
    ["dataset.per_class=7", "dataset.test_per_class=4", "dataset.validation=10", "dataset.size=16",
     "dataset.name=fashion_mnist", "teachers.seed=1", "seeds=[1]"],
)  # fmt: skip
def test_ids_of_students_depend_on(change: str, tmp_path: Path) -> None:
    assert not set(ids(tmp_path)[1:]) & set(ids(tmp_path, change)[1:])


def test_students_ids_depend_on_weights_options_and_network(tmp_path: Path) -> None:
    base = "{kd: {ce: 0.1, kd: 0.9}}"
    others = ["{kd: {ce: 0.2, kd: 0.9}}", "{kd: {ce: 0.1, kd: {weight: 0.9, temperature: 3}}}"]
    all_ids = [ids(tmp_path, methods=text) for text in (base, *others)]
    all_ids.append(ids(tmp_path, methods=base, pairs="[{teacher: resnet8, student: resnet14}]"))
    assert len({run[0] for run in all_ids}) == 1, "one teacher for all"
    assert len({run[1] for run in all_ids}) == len(all_ids)


def test_explicit_default_is_the_same_run(tmp_path: Path) -> None:
    written = "{student: papers, kd: {ce: 0.1, kd: {weight: 0.9, temperature: 4}}}"
    assert ids(tmp_path, methods=written) == ids(tmp_path)


def test_added_method_does_not_change_other_ids(tmp_path: Path) -> None:
    all_ids = set(ids(tmp_path, methods=f"[{', '.join(suite.canonical())}]"))
    alone = [set(ids(tmp_path, methods=f"[{method}]")) for method in suite.canonical()]
    assert all(runs < all_ids and len(runs) == 2 for runs in alone)
    assert set.union(*alone) == all_ids


def test_two_equal_methods_share_a_run(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="{kd: papers, same: {ce: 0.1, kd: 0.9}}")
    assert len(plan.cells) == 2
    assert len(students(plan)) == 1
    assert {cell.run for cell in plan.cells} == students(plan)


def test_teacher_seed_is_fixed_or_the_students(tmp_path: Path) -> None:
    shared = toy.plan(tmp_path, seeds="[0, 1]")
    each = toy.plan(tmp_path, seeds="[0, 1]", teachers="{seed: same, recipe: {epochs: 1}}")
    assert {cell.teacher for cell in shared.cells} < {cell.teacher for cell in each.cells}
    seeds = {cell.seed: each.runs[cell.teacher].specification.seed for cell in each.cells}
    assert seeds == {0: 0, 1: 1}


def test_teachers_come_first_and_every_run_has_a_name(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    assert list(plan.names()[run] for run in plan.runs) == [
        "resnet8 seed 0",
        "resnet8/resnet8 student seed 0",
        "resnet8/resnet8 kd seed 0",
    ]
    assert [run.kind for run in plan.runs.values()] == ["teacher", "student", "student"]
    assert {run.teacher for run in plan.runs.values()} == {None, next(iter(plan.runs))}


def test_checkpoint_is_identified_by_its_content(tmp_path: Path) -> None:
    def teacher(path: str, content: bytes) -> list[str]:
        (tmp_path / path).write_bytes(content)
        checkpoints = f"{{seed: 3, checkpoints: {{resnet8: {{path: {path}, top1: 90}}}}}}"
        return ids(tmp_path, teachers=checkpoints)

    assert teacher("a.pth", b"x") == teacher("b.pth", b"x")
    assert not set(teacher("a.pth", b"y")) & set(teacher("b.pth", b"x"))
    assert not set(teacher("a.pth", b"x")) & set(ids(tmp_path))


PLUGIN = '''
from distillers import Distiller

class Mine(Distiller):
    """L = mean (z_s - z_t)"""

    paper = "none"
    reads = ("logits",)

    def forward(self, student, teacher, batch):
        return (student.logits - teacher.logits).mean() ** 1
'''


def test_ids_depend_on_the_text_of_a_used_plugin(tmp_path: Path) -> None:
    def plan_ids(power: str) -> list[str]:
        (tmp_path / "mine.py").write_text(PLUGIN.replace("** 1", f"** {power}"))
        methods = "{kd: papers, mine: {ce: 1, mine: 1}}"
        return ids(tmp_path, methods=methods, plugins="[mine.py]")

    before, after = plan_ids("1"), plan_ids("2")
    assert before[:2] == after[:2] == ids(tmp_path, methods="[kd]", plugins="")
    assert before[2] != after[2]


def test_filter_keeps_matching_cells_and_their_teachers(tmp_path: Path) -> None:
    path = toy.write(tmp_path, seeds="[0, 1]", pairs="[{teacher: resnet8, student: resnet8}, "
                     "{teacher: resnet14, student: resnet8}]")  # fmt: skip
    part = api.load_plan(path, filters="teacher=resnet14,method=kd,seed=1")
    assert list(named(part)) == ["resnet14 seed 0", "resnet14/resnet8 kd seed 1"]
    assert len(api.load_plan(path, filters="pair=*/resnet8,student=resnet8").cells) == 8
    with pytest.raises(ConfigError, match="no teacher 'resnet20'"):
        api.load_plan(path, filters="teacher=resnet20")


def test_limit_counts_students_and_keeps_their_teachers(tmp_path: Path) -> None:
    path = toy.write(tmp_path, seeds="[0, 1]")
    assert list(named(api.load_plan(path, limit=1))) == [
        "resnet8 seed 0",
        "resnet8/resnet8 student seed 0",
    ]
    assert api.load_plan(path, limit=100) == api.load_plan(path)
    assert len(api.load_plan(path, filters="method=kd", limit=1).runs) == 2


def test_cohorts_are_split_by_shared_recipe_keys(tmp_path: Path) -> None:
    assert set(SHARED) < set(Recipe.model_fields)
    for field in OTHER:
        pair = f"{{teacher: resnet8, student: resnet14, recipe: {{{field}: {OTHER[field]}}}}}"
        plan = toy.plan(tmp_path, pairs=f"[{{teacher: resnet8, student: resnet8}}, {pair}]")
        groups = [group for group in cohorts(plan.runs.values()) if group.teacher]
        assert len(groups) == (2 if field in SHARED else 1), field
        assert sum(len(group.runs) for group in groups) == 4


def test_cohorts_are_split_by_seed_and_teacher(tmp_path: Path) -> None:
    pairs = "[{teacher: resnet8, student: resnet8}, {teacher: resnet14, student: resnet8}]"
    plan = toy.plan(tmp_path, pairs=pairs, seeds="[0, 1]")
    groups = cohorts(plan.runs.values())
    assert sorted(len(group.runs) for group in groups) == [1, 1, 2, 2, 2, 2]
    assert len({group.id for group in groups}) == len(groups)


def test_specification_is_complete_plain_json(tmp_path: Path) -> None:
    for run in toy.plan(tmp_path, methods="[crd+kd]").runs.values():
        content = run.specification.content
        assert RunSpec.model_validate(json.loads(json.dumps(content))) == run.specification
        assert set(content["recipe"]) == set(FIRST_KEYS)
        assert run.specification.data.fingerprint


@pytest.mark.parametrize(
    "name",
    ["cifar100_modern", "cifar100_small", "cifar100_strong", "cifar100_vit", "quickstart_all"],
)
def test_suites_of_all_methods_have_all_methods(name: str) -> None:
    others = set() if name == "cifar100_vit" else {"deit+token"}
    methods = {method.name for method in suite.read(suite.find(name)).methods}
    assert methods == set(suite.canonical()) - others


@pytest.mark.parametrize("name", SHIPPED)
def test_later_keys_of_a_recipe_do_not_change_ids_of_shipped_suites(name: str) -> None:
    specs = [run.specification for run in api.load_plan(name).runs.values()]
    keys = {
        frozenset(spec.recipe.model_fields_set)
        for spec in specs
        if not (spec.checkpoint or spec.members)
    }
    assert keys == {frozenset(FIRST_KEYS)}


@pytest.mark.parametrize("key", sorted(Recipe.model_fields.keys() - set(FIRST_KEYS)))
def test_explicit_default_of_a_later_key_is_the_same_run(key: str, tmp_path: Path) -> None:
    default = json.dumps(Recipe.model_fields[key].default)
    for place in ("recipe", "teachers.recipe", "pairs.0.recipe"):
        assert ids(tmp_path, f"{place}.{key}={default}") == ids(tmp_path)


@pytest.mark.parametrize("key", sorted(OTHER.keys() - set(FIRST_KEYS)))
def test_a_later_key_is_set_back_to_its_default(key: str, tmp_path: Path) -> None:
    default = json.dumps(Recipe.model_fields[key].default)
    both = ids(tmp_path, f"recipe.{key}={OTHER[key]}", f"pairs.0.recipe.{key}={default}")
    assert both[1:] != ids(tmp_path)[1:], "the teacher is another run"
    teacher = f"teachers.recipe.{key}={default}"
    assert ids(tmp_path, f"recipe.{key}={OTHER[key]}", f"pairs.0.recipe.{key}={default}", teacher
               ) == ids(tmp_path)  # fmt: skip


@pytest.mark.parametrize("name", ["quickstart", "small_ensemble", "small_cross_modal"])
def test_ids_are_hashes_of_the_specifications(name: str) -> None:
    for run in api.load_plan(name, ["seeds=0-2", "teachers.seed=same"]).runs.values():
        assert run.id == run.specification.id
        assert RunSpec.model_validate(run.specification.content) == run.specification
