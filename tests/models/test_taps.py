"""Optional fields of `Features`: read where the network declares them, or found in a dry run."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench import models
from bench.models.base import Tap, Taps
from distillers import Features, Shapes

OPTIONAL = ("stem", "preactivations", "pooled_map", "classifier", "norms")
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
AFTER_RELU = (
    "resnet8",
    "resnet50",
    "vgg8",
    "vgg13",
    "mobilenet_v1",
    "shufflenet_v1",
    "shufflenet_v2",
)


def fields_of(name: str, size: int = 32) -> tuple[torch.nn.Module, Shapes, Features]:
    torch.manual_seed(0)
    net = models.build(name, 10, size)
    shapes = models.shapes(net, size, OPTIONAL)
    missing = dict(shapes.missing)
    reads = [field for field in OPTIONAL if field not in missing]
    return net, shapes, models.reader(net, size, reads)(IMAGES)


@pytest.mark.parametrize("name", [*models.names(), "torchvision:resnet18", "timm:resnet18"])
def test_fields_fit_the_network(name: str) -> None:
    net, shapes, features = fields_of(name)
    assert [x.shape[1:] for x in features.preactivations] == list(shapes.preactivations)
    assert [x.shape for x in features.preactivations] == [x.shape for x in features.stages]
    assert features.stem.shape[1:] == shapes.stem
    torch.testing.assert_close(features.pooled_map.mean((2, 3)), features.pooled)
    weight, bias = features.classifier.weight, features.classifier.bias
    assert bias is not None
    torch.testing.assert_close(features.pooled @ weight.T + bias, features.logits)
    assert any(weight is parameter for parameter in net.parameters()), "the live weights"
    assert [len(norm.weight) for norm in features.norms] == list(shapes.norms)
    assert list(shapes.norms or [x[0] for x in shapes.stages]) == [x[0] for x in shapes.stages]


@pytest.mark.parametrize("name", [*AFTER_RELU, "torchvision:resnet18", "timm:regnety_002"])
def test_relu_of_a_preactivation_is_the_stage(name: str) -> None:
    _, _, features = fields_of(name)
    assert features.preactivations[0].min() < 0
    for before, stage in zip(features.preactivations, features.stages, strict=True):
        assert torch.equal(before.relu(), stage)


@pytest.mark.parametrize("name", ["wrn_16_1", "wrn_40_2"])
def test_preactivation_of_a_wide_resnet_is_the_next_batch_norm(name: str) -> None:
    _, _, features = fields_of(name)
    for before, stage, norm in zip(
        features.preactivations, features.stages, features.norms, strict=True
    ):
        expected = torch.nn.functional.batch_norm(
            stage, None, None, norm.weight, norm.bias, training=True
        )
        torch.testing.assert_close(before, expected)


@pytest.mark.parametrize("name", models.names())
def test_reading_changes_no_number(name: str) -> None:
    torch.manual_seed(0)
    net = models.build(name, 10)
    losses = []
    for call in (net, models.reader(net, 32, OPTIONAL[:4])):
        features = call(IMAGES)
        loss = features.logits.square().mean() + features.stages[0].square().mean()
        losses.append([features.logits, *torch.autograd.grad(loss, list(net.parameters()))])
    assert all(map(torch.equal, *losses))


@pytest.mark.parametrize(
    ("name", "field", "reason"),
    [
        ("shufflenet_v2", "norms", "half of the stage's channels"),
        ("timm:convnext_atto", "preactivations", "does not end with the output of an activation"),
        ("timm:convnext_atto", "pooled_map", "other layers than pooling precede its classifier"),
        ("torchvision:densenet121", "pooled_map", "the mean of the last map is not the input"),
        ("timm:vit_tiny_patch16_224", "stem", "no layer could be identified as the end of a stem"),
        ("torchvision:squeezenet1_0", "classifier", "its classifier is not a linear layer"),
    ],
)
def test_a_missing_field_has_a_reason(name: str, field: str, reason: str) -> None:
    shapes = models.shapes(models.build(name, 10, 64), 64, OPTIONAL)
    assert reason in dict(shapes.missing)[field]  # type: ignore[index]


DEIT = "timm:deit_tiny_distilled_patch16_224"
TINY = {"patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "options"), [(DEIT, TINY), ("timm:levit_128s", {}), ("timm:repvit_m0_9", {})]
)
def test_a_second_classifier_has_its_own_logits_in_training(
    name: str, options: dict[str, int]
) -> None:
    torch.manual_seed(0)
    net = models.build(name, 10, 32, options=options)
    shapes = models.shapes(net, 32, ("classifier", "distilled"))
    assert shapes.distilled
    assert dict(shapes.missing) == {"classifier": "its logits are the mean of two classifiers"}
    read = models.reader(net, 32, ("distilled",))
    trained, plain = read(IMAGES), net(IMAGES).logits
    assert not torch.equal(trained.logits, plain)
    torch.testing.assert_close((trained.logits + trained.distilled) / 2, plain)
    net.eval()
    assert torch.equal(read(IMAGES).logits, net(IMAGES).logits), "the mean predicts"


@pytest.mark.parametrize("name", ["resnet8", "timm:pit_ti_224", "torchvision:resnet18"])
def test_networks_with_one_classifier_have_no_distilled_logits(name: str) -> None:
    shapes = models.shapes(models.build(name, 10, 32), 32, ("distilled",))
    assert not shapes.distilled
    assert "one classifier" in dict(shapes.missing)["distilled"]


class Declared(torch.nn.Module):
    taps = Taps(
        preactivations=(Tap("conv"),), pooled_map="last stage", classifier="head", norms=("norm",)
    )

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5)
        self.head = torch.nn.Linear(5, 10)

    def forward(self, images: Tensor) -> Features:
        stage = torch.relu_(self.conv(self.norm(images.repeat(1, 2, 1, 1)[:, :5])[:, :3]))
        return Features((stage,), stage.mean((2, 3)), self.head(stage.mean((2, 3))))


@pytest.mark.parametrize("stages", [(), ("conv",)])
def test_a_plugin_declares_its_taps(stages: tuple[str, ...]) -> None:
    net = models.build("mine", 10, 32, {"mine": lambda _: Declared()}, stages)
    shapes = models.shapes(net, 32, OPTIONAL)
    assert shapes.preactivations == ((5, 30, 30),)
    assert shapes.pooled_map == (5, 30, 30)
    assert shapes.norms == (5,)
    features = models.reader(net, 32, ("preactivations", "classifier"))(IMAGES)
    assert features.preactivations[0].min() < 0, "the in-place ReLU works on a copy"
    assert features.classifier.weight is net.network.head.weight  # type: ignore[union-attr]


def test_without_taps_every_field_is_missing_with_the_way_to_declare_it() -> None:
    class Plain(Declared):
        taps = None  # type: ignore[assignment]

    net = models.build("mine", 10, 32, {"mine": lambda _: Plain()})
    missing = dict(models.shapes(net, 32, OPTIONAL).missing)
    assert missing.keys() == set(OPTIONAL)
    assert "bench.models.base" in missing["stem"]


def test_nothing_is_added_where_nothing_is_read() -> None:
    net = models.build("resnet8", 10)
    assert models.reader(net, 32, ("stages", "logits")) is net
    assert models.shapes(net, 32) == replace(models.shapes(net, 32, OPTIONAL), preactivations=(),
        stem=None, pooled_map=None, classifier=False, norms=())  # fmt: skip
