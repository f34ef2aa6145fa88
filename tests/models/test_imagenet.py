"""Networks of ImageNet's two pairs: sizes of the papers, stages, released tensor names."""

import pytest
import torch

from bench import models
from bench.models import FeatureExtractor

# Parameters and multiply-adds of one image of 224 x 224 pixels, in millions: Table 8 of the
# MobileNet paper (4.2 and 569), and torchvision's model cards (GFLOPS there are multiply-adds).
COSTS = {
    "mobilenet_v1": (4.2, 569),
    "torchvision:resnet18": (11.689512, 1814),
    "torchvision:resnet34": (21.797672, 3664),
    "torchvision:resnet50": (25.557032, 4089),
}


def on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return models.build(name, 1000)


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_those_of_the_literature(name: str) -> None:
    parameters, multiply_adds = COSTS[name]
    cost = models.cost(on_meta(name), 224)
    assert cost.parameters / 1e6 == pytest.approx(parameters, abs=0.05)
    assert cost.multiply_adds / 1e6 == pytest.approx(multiply_adds, abs=1)


def test_mobilenet_v1_has_the_tensors_of_mdistiller() -> None:
    """Names and shapes of `mdistiller/models/imagenet/mobilenetv1.py` at a08d46f."""
    net = on_meta("mobilenet_v1")
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_231_976
    assert len(shapes) == 27 * 6 + 2
    assert shapes["model.0.0.weight"] == (32, 3, 3, 3)
    assert shapes["model.13.0.weight"] == (1024, 1, 3, 3)
    assert shapes["model.13.3.weight"] == (1024, 1024, 1, 1)
    assert shapes["model.13.4.running_var"] == (1024,)
    assert (shapes["fc.weight"], shapes["fc.bias"]) == ((1000, 1024), (1000,))


@pytest.mark.parametrize(
    ("teacher", "student", "channels"),
    [
        ("resnet34", "torchvision:resnet18", [64, 128, 256, 512]),
        ("resnet50", "mobilenet_v1", [128, 256, 512, 1024]),
    ],
)
def test_stages_of_the_pairs_have_equal_sides(
    teacher: str, student: str, channels: list[int]
) -> None:
    theirs, ours = (
        models.shapes(models.build(name, 1000, 224), 224).stages
        for name in (f"torchvision:{teacher}", student)
    )
    assert [stage[0] for stage in ours] == channels
    assert [stage[1:] for stage in ours] == [(side, side) for side in (56, 28, 14, 7)]
    assert [stage[1:] for stage in theirs] == [stage[1:] for stage in ours]


def test_stages_of_torchvisions_resnets_are_its_layers() -> None:
    net = models.build("torchvision:resnet34", 1000, 224)
    assert isinstance(net, FeatureExtractor)
    layers = models.stage_layers(net, 224)
    assert layers
    assert [layer.partition(".")[0] for layer in layers] == [f"layer{i}" for i in range(1, 5)]
