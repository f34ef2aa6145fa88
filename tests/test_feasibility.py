"""What is known before the first batch: obstacles, costs, memory."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import distillers
from bench import api, data, models, seeding
from bench.errors import BenchError
from bench.planning import estimate
from bench.planning.estimate import Forecast
from bench.planning.plan import Plan
from distillers import Setting, Shapes
from tests import toy
from tests.models.golden import FACTS
from tests.suite import conftest

forgotten = conftest.forgotten  # what a plugin registers is gone after each test

NEGATIVES = "{crd: {negatives: 16, width: 8}}"


def forecasts(whole: Plan) -> dict[str, Forecast]:
    """By the names of the runs, without their seeds."""
    found, names = estimate.forecast(whole), whole.names()
    return {names[run].partition(" seed")[0]: one for run, one in found.items()}


def test_attention_between_three_and_four_stages_is_an_obstacle(tmp_path: Path) -> None:
    found = forecasts(
        toy.plan(
            tmp_path, pairs="[{teacher: resnet8, student: vgg8}]", methods="[student, kd, at, crd]"
        )
    )
    at = found.pop("resnet8/vgg8 at")
    assert at.obstacle == "the student has 4 stages, the teacher 3: they do not pair up"
    assert at.network is None
    assert all(one.obstacle is None and one.network for one in found.values())


def test_more_negatives_than_there_are_is_an_obstacle(tmp_path: Path) -> None:
    few = toy.plan(tmp_path, methods="[crd]", options="{crd: {negatives: 72}}")
    many = toy.plan(tmp_path, methods="[crd]", options="{crd: {negatives: 73}}")
    assert forecasts(few)["resnet8/resnet8 crd"].obstacle is None
    obstacle = forecasts(many)["resnet8/resnet8 crd"].obstacle
    assert obstacle is not None
    assert obstacle.startswith("73 negatives are asked for")
    assert "only 72 of other classes" in obstacle


def test_an_image_that_is_too_small_is_an_obstacle_for_a_network_and_those_it_teaches(
    tmp_path: Path,
) -> None:
    whole = toy.plan(
        tmp_path,
        dataset="{name: digits, per_class: 8, size: 4}",
        pairs="[{teacher: vgg8, student: resnet8}, {teacher: resnet8, student: resnet8}]",
    )
    found = forecasts(whole)
    for name in ("vgg8", "vgg8/resnet8 student", "vgg8/resnet8 kd"):
        assert str(found[name].obstacle).startswith("VGG cannot take images of 3 x 4 x 4"), name
    assert found["resnet8"].obstacle is found["resnet8/resnet8 kd"].obstacle is None


def test_costs_are_those_of_the_field(tmp_path: Path) -> None:
    pairs = ("resnet32x4/shufflenet_v1", "vgg13/mobilenet_v2", "wrn_40_2/wrn_16_2")
    entries = ("{{teacher: {}, student: {}}}".format(*pair.split("/")) for pair in pairs)
    whole = toy.plan(
        tmp_path, dataset="cifar100", pairs=f"[{', '.join(entries)}]", methods="[student]"
    )
    found = estimate.forecast(whole)
    for run in whole.runs.values():
        network, golden = found[run.id].network, FACTS[run.specification["network"]]
        assert network is not None
        assert network.parameters == golden["parameters"]
        assert network.multiply_adds == golden["multiply_adds"]


def test_memory_is_that_of_the_banks_and_what_belongs_to_them(tmp_path: Path) -> None:
    found = forecasts(toy.plan(tmp_path, methods="[student, kd, crd, crd+kd]", options=NEGATIVES))
    samples, width = 80, 8
    labels = samples * 8
    strides = 8 * sum(math.gcd(k, samples) == 1 for k in range(1, samples + 1))
    constants = 2 * 4
    banks = 2 * samples * width * 4
    assert found["resnet8/resnet8 crd"].memory == banks + labels + strides + constants
    assert found["resnet8/resnet8 crd+kd"].memory == found["resnet8/resnet8 crd"].memory
    assert found["resnet8/resnet8 student"].memory == found["resnet8/resnet8 kd"].memory == 0


def test_work_is_three_forward_passes_an_epoch(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="[student]")
    teacher, student = whole.runs.values()
    found = estimate.forecast(whole)[student.id]
    assert found.network is not None
    assert found.work(student, 80) == 3 * 2 * 80 * found.network.multiply_adds
    assert found.work(teacher, 80) == found.work(student, 80) / 2, "one epoch, the same network"
    assert Forecast("a reason").work(student, 80) == 0


def test_forecasts_leave_the_generator_alone_and_need_no_data(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    whole = toy.plan(tmp_path, dataset="cifar100", methods="[crd]", options=NEGATIVES)
    assert all(one.obstacle is None for one in estimate.forecast(whole, tmp_path).values())
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


def test_what_a_plugin_raises_is_a_doubt_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(PLUGIN)
    found = forecasts(
        toy.plan(
            tmp_path,
            plugins="[wrong.py]",
            pairs="[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: odd}]",
            methods="{student: papers, wrong: {ce: 1, wrong: 1}}",
        )
    )
    assert "no attribute 'width'" in str(found["resnet8/resnet8 wrong"].doubt)
    assert found["resnet8/odd student"].doubt == "KeyError: 'what'"
    assert all(one.obstacle is None for one in found.values()), "the run will tell: failed"
    assert found["resnet8/resnet8 student"].doubt is None


def test_a_plugins_data_set_that_cannot_be_read_is_told_before_anything_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "wrong.py").write_text(PLUGIN)
    whole = toy.plan(tmp_path, plugins="[wrong.py]", dataset="{name: noise}")
    assert data.facts(whole.suite.data).train == 20
    with pytest.raises(BenchError, match="'noise' of a plugin: ZeroDivisionError"):
        toy.run(whole, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    assert api.find_data_root(tmp_path) == tmp_path


TOLD = [  # what is built, by name or class, and the images it is measured with
    ("shared", 32),
    ("resnet8x4", 32),
    ("timm:resnet18", 64),
    ("timm:vit_tiny_patch16_224", 32),
    ("timm:swin_tiny_patch4_window7_224", 32),
    ("torchvision:maxvit_t", 224),
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


def hollow(net: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


@pytest.fixture
def scant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_NUMBERS", 20_000)


@pytest.mark.parametrize(("name", "size"), TOLD)
def test_a_network_without_numbers_is_told_as_one_with_them(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> nn.Module:
        return Shared() if name == "shared" else models.build(name, 10, size)

    whole = estimate._sketched(build)
    assert not hollow(whole)
    monkeypatch.setattr(estimate, "MOST_NUMBERS", 20_000)
    sketch = estimate._sketched(build)
    assert hollow(sketch)
    assert models.cost(sketch, size) == models.cost(whole, size)
    assert models.shapes(sketch, size) == models.shapes(whole, size)


@pytest.mark.parametrize("name", ["crd", "wcord", "dcd", "cc", "fitnet"])
@pytest.mark.usefixtures("scant")
def test_a_distiller_without_numbers_takes_what_one_with_them_takes(name: str) -> None:
    shapes = Shapes(((200, 8, 8),) * 2, 300, 10)
    setting = Setting(shapes, shapes, torch.arange(40_000) % 10, torch.Generator())

    def build() -> nn.Module:
        return distillers.load(name)(setting)

    def tensors(made: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
        named = (*made.named_parameters(), *made.named_buffers())
        return {key: (x.shape, x.dtype) for key, x in named}

    sketch = estimate._sketched(build)
    assert hollow(sketch)
    assert tensors(sketch) == tensors(build())


def test_what_is_small_is_built_with_its_first_weights() -> None:
    def build() -> nn.Module:
        return models.build("resnet8", 10)

    with seeding.initialised_by("forecast"):
        expected = build().state_dict()
    found = estimate._sketched(build).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


class Reading(nn.Module):
    """Its constructor cannot do without numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(300, 300))
        self.total = self.weight.sum().item()


@pytest.mark.usefixtures("scant")
def test_what_cannot_be_built_without_numbers_gets_them() -> None:
    made = estimate._sketched(Reading)
    assert isinstance(made, Reading)
    assert made.total == 90_000
    assert not hollow(made)


def test_a_mistake_of_what_is_small_is_raised_at_once() -> None:
    tries: list[int] = []

    def build() -> nn.Module:
        tries.append(1)
        raise KeyError("what")

    with pytest.raises(KeyError, match="what"):
        estimate._sketched(build)
    assert tries == [1]
