"""Estimates of a plan before the first batch: impossible runs, costs, memory."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import distillers
from bench import api, data, models, seeding
from bench.errors import BenchError
from bench.execution.queue import work_of
from bench.planning.cohorts import cohorts
from bench.planning.estimate import Estimate, build_for_estimate, estimate
from bench.planning.plan import Plan
from distillers import Setting, Shapes
from tests import toy
from tests.models.golden import FACTS

NEGATIVES = "{crd: {negatives: 16, width: 8}}"


def estimates_by_name(plan: Plan) -> dict[str, Estimate]:
    """By the names of the runs, without their seeds."""
    names = plan.names()
    return {names[run].partition(" seed")[0]: result for run, result in estimate(plan).items()}


def test_attention_between_three_and_four_stages_is_an_error(tmp_path: Path) -> None:
    estimates = estimates_by_name(
        toy.plan(
            tmp_path, pairs="[{teacher: resnet8, student: vgg8}]", methods="[student, kd, at, crd]"
        )
    )
    at = estimates.pop("resnet8/vgg8 at")
    assert at.error == "the student has 4 stages, the teacher 3. Allowed: equal numbers"
    assert at.network is None
    assert all(result.error is None and result.network for result in estimates.values())


def test_too_many_negatives_are_an_error(tmp_path: Path) -> None:
    few = toy.plan(tmp_path, methods="[crd]", options="{crd: {negatives: 72}}")
    many = toy.plan(tmp_path, methods="[crd]", options="{crd: {negatives: 73}}")
    assert estimates_by_name(few)["resnet8/resnet8 crd"].error is None
    error = estimates_by_name(many)["resnet8/resnet8 crd"].error
    assert error is not None
    assert error.startswith("found negatives 73, but only 72 training samples")
    assert error.endswith("`options: {crd: {negatives: 72}}` in the suite")


def test_too_small_image_is_an_error_of_a_network_and_its_students(
    tmp_path: Path,
) -> None:
    plan = toy.plan(
        tmp_path,
        dataset="{name: digits, per_class: 8, size: 4}",
        pairs="[{teacher: vgg8, student: resnet8}, {teacher: resnet8, student: resnet8}]",
    )
    estimates = estimates_by_name(plan)
    for name in ("vgg8", "vgg8/resnet8 student", "vgg8/resnet8 kd"):
        assert str(estimates[name].error).startswith("VGG cannot take images of 3 x 4 x 4"), name
    assert estimates["resnet8"].error is estimates["resnet8/resnet8 kd"].error is None


def test_costs_equal_the_reference(tmp_path: Path) -> None:
    pairs = ("resnet32x4/shufflenet_v1", "vgg13/mobilenet_v2", "wrn_40_2/wrn_16_2")
    entries = ("{{teacher: {}, student: {}}}".format(*pair.split("/")) for pair in pairs)
    plan = toy.plan(
        tmp_path, dataset="cifar100", pairs=f"[{', '.join(entries)}]", methods="[student]"
    )
    estimates = estimate(plan)
    for run in plan.runs.values():
        network, golden = estimates[run.id].network, FACTS[run.specification.network]
        assert network is not None
        assert network.parameters == golden["parameters"]
        assert network.multiply_adds == golden["multiply_adds"]


def test_memory_is_that_of_all_buffers(tmp_path: Path) -> None:
    estimates = estimates_by_name(
        toy.plan(tmp_path, methods="[student, kd, crd, crd+kd]", options=NEGATIVES)
    )
    samples, width = 80, 8
    labels = samples * 8
    strides = 8 * sum(math.gcd(k, samples) == 1 for k in range(1, samples + 1))
    constants = 2 * 4
    banks = 2 * samples * width * 4
    assert estimates["resnet8/resnet8 crd"].memory == banks + labels + strides + constants
    assert estimates["resnet8/resnet8 crd+kd"].memory == estimates["resnet8/resnet8 crd"].memory
    assert (
        estimates["resnet8/resnet8 student"].memory == estimates["resnet8/resnet8 kd"].memory == 0
    )


def test_work_is_three_forward_passes_per_epoch(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student]")
    teacher, student = plan.runs.values()
    result = estimate(plan)[student.id]
    assert result.network is not None
    assert result.work(student, 80) == 3 * 2 * 80 * result.network.multiply_adds
    assert result.work(teacher, 80) == result.work(student, 80) / 2, "one epoch, the same network"
    assert Estimate("a reason").work(student, 80) == 0


def test_estimates_do_not_touch_the_generator_and_need_no_data(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    plan = toy.plan(tmp_path, dataset="cifar100", methods="[crd]", options=NEGATIVES)
    assert all(result.error is None for result in estimate(plan).values())
    assert torch.equal(before, torch.get_rng_state())


PLUGIN = """
from distillers import Distiller

class Wrong(Distiller):
    '''L = 0'''
    paper = "none"
    reads = ("logits",)

    def __init__(self, setting):
        super().__init__(setting)
        self.width = setting.width

    def forward(self, student, teacher, batch):
        return 0

def network(classes):
    raise KeyError("what")

class Noise:
    from bench.data import Facts
    facts = Facts("noise", 2, 8, 20, 10, (0.5,) * 3, (0.5,) * 3, "none")

    def read(self, root):
        return 1 / 0

NETWORKS = {"odd": network}
DATASETS = {"noise": Noise()}
"""


def test_exception_of_a_plugin_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(PLUGIN)
    estimates = estimates_by_name(
        toy.plan(
            tmp_path,
            plugins="[wrong.py]",
            pairs="[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: odd}]",
            methods="{student: papers, wrong: {ce: 1, wrong: 1}}",
        )
    )
    assert "no attribute 'width'" in str(estimates["resnet8/resnet8 wrong"].warning)
    assert estimates["resnet8/odd student"].warning == "KeyError: 'what' (wrong.py:17)"
    assert all(result.error is None for result in estimates.values()), "the run will tell: failed"
    assert estimates["resnet8/resnet8 student"].warning is None


def test_a_strong_view_needs_images_of_three_channels(tmp_path: Path) -> None:
    many = '(0.5,) * 5, (0.5,) * 5, "none", modalities=(("warm", (4,)),)'
    (tmp_path / "many.py").write_text(PLUGIN.replace('(0.5,) * 3, (0.5,) * 3, "none"', many))
    keys = {"dataset": "noise", "options": "", "views": "{teacher: warm, student: warm}"}
    recipe = "{epochs: 1, milestones: [], crop: 0}"
    made = toy.plan(
        tmp_path, plugins="[many.py]", methods="[kd, mlkd]", recipe=recipe, teachers="{}", **keys
    )
    estimates = estimates_by_name(made)
    assert estimates["resnet8/resnet8 kd"].error is None
    error = "RandAugment makes the strong view of cestrong; it needs images of 3 channels, and "
    assert estimates["resnet8/resnet8 mlkd"].error == f"{error}these have 5"


def test_unreadable_plugin_data_set_raises_before_training(
    tmp_path: Path,
) -> None:
    (tmp_path / "wrong.py").write_text(PLUGIN)
    plan = toy.plan(tmp_path, plugins="[wrong.py]", dataset="{name: noise}")
    assert data.facts(plan.suite.data, added=plan.suite.registry.datasets).train == 20
    with pytest.raises(BenchError, match="'noise' of a plugin: ZeroDivisionError"):
        toy.run(plan, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    assert api.find_data_root(tmp_path) == tmp_path


MEASURED = [  # network, image size
    ("shared", 32),
    ("resnet8x4", 32),
    ("timm:resnet18", 64),
    ("timm:vit_tiny_patch16_224", 32),
    ("timm:swin_tiny_patch4_window7_224", 32),
    pytest.param("torchvision:maxvit_t", 224, marks=pytest.mark.slow),
]


class Shared(nn.Module):
    """One matrix under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 200, 16, 16)
        self.one, self.two = nn.Linear(200, 200), nn.Linear(200, 200)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> distillers.Features:
        stage = self.stem(x)
        pooled = self.two(self.one(stage.mean((2, 3))))
        return distillers.Features((stage,), pooled, pooled)


def uses_meta(net: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.planning.estimate.MAX_ELEMENTS", 20_000)


@pytest.mark.parametrize(("name", "size"), MEASURED)
def test_network_without_memory_has_the_same_shapes_and_cost(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> nn.Module:
        return Shared() if name == "shared" else models.build(name, 10, size)

    real = build_for_estimate(build)
    assert not uses_meta(real)
    monkeypatch.setattr("bench.planning.estimate.MAX_ELEMENTS", 20_000)
    empty = build_for_estimate(build)
    assert uses_meta(empty)
    assert models.cost(empty, size) == models.cost(real, size)
    assert models.shapes(empty, size) == models.shapes(real, size)


@pytest.mark.parametrize("name", ["crd", "wcord", "dcd", "cc", "fitnet"])
@pytest.mark.usefixtures("small_budget")
def test_distiller_without_memory_has_the_same_tensors(name: str) -> None:
    shapes = Shapes(((200, 8, 8),) * 2, 300, 10)
    setting = Setting(shapes, shapes, torch.arange(40_000) % 10, torch.Generator())

    def build() -> nn.Module:
        return distillers.load(name)(setting)

    def tensors(term: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
        named = (*term.named_parameters(), *term.named_buffers())
        return {key: (x.shape, x.dtype) for key, x in named}

    empty = build_for_estimate(build)
    assert uses_meta(empty)
    assert tensors(empty) == tensors(build())


def test_small_network_is_built_with_its_initial_weights() -> None:
    def build() -> nn.Module:
        return models.build("resnet8", 10)

    with seeding.initialised_by("estimate"):
        expected = build().state_dict()
    weights = build_for_estimate(build).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


class Reading(nn.Module):
    """A network with a constructor that reads a large tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(300, 300))
        self.total = self.weight.sum().item()


@pytest.mark.usefixtures("small_budget")
def test_constructor_that_reads_a_large_tensor_gets_memory() -> None:
    net = build_for_estimate(Reading)
    assert isinstance(net, Reading)
    assert net.total == 90_000
    assert not uses_meta(net)


def test_exception_without_meta_tensors_is_raised_at_once() -> None:
    calls: list[int] = []

    def build() -> nn.Module:
        calls.append(1)
        raise KeyError("what")

    with pytest.raises(KeyError, match="what"):
        build_for_estimate(build)
    assert calls == [1]


def works(folder: Path, **lines: str) -> dict[str, float]:
    """Return the work of each method for one image, in student's steps of one epoch."""
    plan = toy.plan(folder, **lines)
    estimates = estimate(plan)
    step = 3 * next(e.network.multiply_adds for e in estimates.values() if e.network)
    return {c.method.name: estimates[c.run].work(plan.runs[c.run], 1) / step for c in plan.cells}


def test_a_strong_view_doubles_the_work(tmp_path: Path) -> None:
    assert works(tmp_path, methods="[kd, mlkd]") == {"kd": 2, "mlkd": 4}


def test_a_stage_before_training_adds_its_epochs_unless_the_student_rests(tmp_path: Path) -> None:
    methods = "[kd, fsp, ft]"
    options = "{fsp: {pretraining_epochs: 5}, ft: {pretraining_epochs: 5}}"
    assert works(tmp_path, methods=methods, options=options) == {"kd": 2, "fsp": 7, "ft": 2}


def test_a_cohorts_work_has_the_teachers_passes_for_all_views_and_stages(tmp_path: Path) -> None:
    passes = {}
    for method in ("kd", "mlkd", "ft"):
        plan = toy.plan(
            tmp_path, methods=f"[{method}]", options="{ft: {pretraining_epochs: 5}}",
            pairs="[{teacher: resnet14, student: resnet8}]",
        )  # fmt: skip
        estimates = estimate(plan)
        [cohort] = cohorts(run for run in plan.runs.values() if run.kind == "student")
        run, teacher = cohort.runs[0], estimates[str(cohort.teacher)].network
        assert teacher is not None
        shared = work_of(estimates)(cohort) - estimates[run.id].work(run, 1)
        passes[method] = shared / teacher.multiply_adds
    assert passes == {"kd": 2, "mlkd": 4, "ft": 7}
