"""SimKD, DKD and AB as plugins of a suite: a head, labels, a stage before training, in few lines.

The plugins are in `tests/distillers/plugins`. They use only the public modules of `distillers`.
"""

import re
import shutil
from pathlib import Path

import pytest
import torch

import distillers
from bench.plugins import Registry
from distillers import Distiller, Setting, contract
from tests import toy
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    TEACHER,
    TRAIN_LABELS,
    Subject,
    build,
    random_features,
    random_student,
)
from tests.distillers.golden import GEOMETRIES, Case, assert_near, golden
from tests.lines_of_code import lines_of_code

FOLDER = Path(__file__).parent / "plugins"
FILES = sorted(FOLDER.glob("*.py"))
MAX_LINES = 60
PLUGIN = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
GEOMETRY = pytest.mark.parametrize("geometry", GEOMETRIES)


def distiller_of(path: Path) -> type[Distiller]:
    """Return the distiller of a plugin file, as a suite loads it."""
    return Registry.of([path]).distiller(f"own{path.stem}")


@PLUGIN
def test_plugin_has_less_than_60_lines_of_code(path):
    assert lines_of_code(path.read_text("utf-8")) < MAX_LINES


@PLUGIN
def test_plugin_imports_only_public_modules(path):
    modules = set(re.findall(r"^(?:from|import) (\S+)", path.read_text("utf-8"), re.M))
    assert modules <= {"torch", "torch.nn.functional", "distillers", "distillers.base"}


@PLUGIN
def test_plugin_has_no_violations(path):
    cls = distiller_of(path)

    def make() -> Distiller:
        torch.manual_seed(0)
        rng = torch.Generator().manual_seed(0)
        return cls(Setting(STUDENT, TEACHER, TRAIN_LABELS, rng))

    assert contract.violations(make, STUDENT, TEACHER, BATCH) == []
    contract.waits_for_device(make, STUDENT, TEACHER, BATCH)


@PLUGIN
@pytest.mark.parametrize("check", CHECKS)
def test_plugin_fulfils_the_contract(path, check):
    CHECKS[check](Subject(distiller_of(path)))


def test_simkd_equals_the_built_in_distiller():
    plugin, built_in = (
        build(cls, 0) for cls in (distiller_of(FOLDER / "simkd.py"), distillers.load("simkd"))
    )
    for step in range(2):
        teacher = random_features(TEACHER, step)
        loss = built_in(random_student(step), teacher, BATCH)
        assert torch.equal(plugin(random_student(step), teacher, BATCH), loss)
    plugin.eval(), built_in.eval()
    logits = built_in.predict(random_student())
    torch.testing.assert_close(plugin.predict(random_student()), logits, rtol=0, atol=0)


@GEOMETRY
def test_dkd_equals_the_reference(geometry):
    cls = distiller_of(FOLDER / "dkd.py")
    Case(geometry, cls, "dkd").assert_equal()
    parts = golden(geometry, "dkd")
    for name, options in (
        ("target_class", {"beta": 0.0}),
        ("non_target_class", {"alpha": 0.0, "beta": 1.0}),
    ):
        case = Case(geometry, cls, "dkd", **options)
        assert_near(case.loss(), parts[name])


@GEOMETRY
@pytest.mark.parametrize(
    ("file", "key"), [("ab", "{network}/{i}"), ("ab_connected", "{network}/preact/{i}")]
)
def test_ab_equals_the_reference(geometry, file, key):
    arrays, stages = golden(geometry, file), range(4 if geometry == "cross" else 3)
    maps = [
        {"preactivations": tuple(arrays[key.format(network=network, i=i)] for i in stages)}
        for network in ("student", "teacher")
    ]
    for x in maps[0]["preactivations"]:
        x.requires_grad_()
    case = Case(geometry, distiller_of(FOLDER / "ab.py"), file, tuple(maps))
    layers = {"conv": "0", "bn": "1"}
    names = {
        f"connectors.{i}.{k}": f"connectors.{i}.{v}" for i in stages for k, v in layers.items()
    }
    case.load_parameters(names)
    case.assert_equal()
    for i, x in enumerate(case.student.preactivations):
        assert_near(x.grad, arrays[key.format(network="grad", i=i)])


def test_suite_trains_the_three_plugins(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "plugins")
    methods = (
        "{a: {ownsimkd: 1}, b: {ce: 1, owndkd: {weight: 1, warmup: 20}}, c: {ce: 1, ownab: 1}}"
    )
    plan = toy.plan(
        tmp_path,
        plugins="[plugins/simkd.py, plugins/dkd.py, plugins/ab.py]",
        options="{ownab: {epochs: 1}}",
        recipe="{epochs: 1, batch_size: 40, lr: 0.05, milestones: [1], crop: 1, flip: false}",
        methods=methods,
    )
    results = toy.run(plan, tmp_path)
    records = {cell.method.name: results.record(cell.run) for cell in plan.cells}
    assert {name: record.status for name, record in records.items()} == dict.fromkeys("abc", "done")
    assert [epoch.epoch for epoch in records["c"].curves] == [0, 1]
    assert records["a"].metrics != records["b"].metrics
