"""The 22 CIFAR networks equal the reference code in names, sizes, cost and outputs."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import models, seeding
from bench.errors import BenchError
from bench.models import dry_run
from bench.spec import Recipe
from bench.training.evaluation import autocast
from tests.models.golden import FACTS, FOLDER, checkpoint, images

NAMES = sorted(FACTS)
SMALL = [
    "resnet8",
    "resnet50",
    "wrn_16_2",
    "vgg8",
    "mobilenet_v1",
    "mobilenet_v2",
    "shufflenet_v1",
    "shufflenet_v2",
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, 100)


def assert_close(actual: Tensor, expected: np.ndarray) -> None:
    limit = 1e-5 * float(np.abs(expected).max())
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-3, atol=limit)


def test_names_are_the_22_networks_of_the_papers_and_one_for_imagenet() -> None:
    assert models.names() == sorted([*NAMES, "mobilenet_v1"])
    assert len(NAMES) == 22


def test_state_dict_matches_released_checkpoints(name: str) -> None:
    shapes = {key: list(tensor.shape) for key, tensor in on_meta(name).state_dict().items()}
    assert shapes == FACTS[name]["state_dict"]


def test_cost_equals_the_reference(name: str) -> None:
    expected = models.Cost(FACTS[name]["parameters"], FACTS[name]["multiply_adds"])
    assert models.cost(on_meta(name), 32) == expected


def test_shapes_equal_the_reference_without_the_stem(name: str) -> None:
    _, *stages, pooled = FACTS[name]["features"]
    shapes = models.shapes(on_meta(name), 32)
    assert [list(stage) for stage in shapes.stages] == stages
    assert [shapes.pooled, shapes.logits] == [*pooled, 100]


def test_outputs_equal_the_reference_with_the_same_weights(name: str) -> None:
    net = models.build(name, 100).eval()
    net.load_state_dict(checkpoint(name)["model"])
    with torch.no_grad():
        features = net(images())
    golden = np.load(FOLDER / f"{name}.npz")
    assert_close(features.logits, golden["logits"])
    assert_close(features.pooled, golden["pooled"])
    for i, stage in enumerate(features.stages, start=1):
        assert_close(stage.mean((2, 3)), golden[f"feature_mean/{i}"])
        assert_close(stage.std((2, 3)), golden[f"feature_std/{i}"])
    assert f"feature_mean/{len(features.stages) + 1}" not in golden


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.02)])
def test_outputs_are_close_to_the_reference_in_each_training_mode(
    name: str, precision: str, limit: float
) -> None:
    """Channels last and autocast: errors relative to the largest element of each tensor."""
    net = models.build(name, 100).eval()
    net.load_state_dict(checkpoint(name)["model"])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad(), autocast(torch.device("cpu"), Recipe(precision=precision)):
        features = net(images().contiguous(memory_format=torch.channels_last))
    golden = np.load(FOLDER / f"{name}.npz")
    outputs = {"logits": features.logits, "pooled": features.pooled}
    for i, stage in enumerate(features.stages, start=1):
        outputs |= {f"feature_mean/{i}": stage.float().mean((2, 3))}
    for key, tensor in outputs.items():
        error = (tensor.float() - torch.from_numpy(golden[key])).abs().max()
        assert error <= limit * np.abs(golden[key]).max(), key


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [8, 17, 64])
def test_shapes_match_features_at_other_image_sizes(name: str, size: int) -> None:
    net = models.build(name, 7)
    features = net(torch.randn(2, 3, size, size))
    shapes = models.shapes(net, size)
    assert tuple(tuple(stage.shape[1:]) for stage in features.stages) == shapes.stages
    assert features.logits.shape == (2, shapes.logits) == (2, 7)
    assert features.pooled.shape == (2, shapes.pooled)
    assert all(b[1] <= a[1] for a, b in pairwise(shapes.stages))


def test_vgg_halves_its_fourth_stage_from_64_pixels_on() -> None:
    net = models.build("vgg8", 10)
    assert [models.shapes(net, size).stages[-1][1] for size in (32, 64, 128)] == [4, 4, 8]


@pytest.mark.parametrize("measure", [models.shapes, models.cost])
def test_too_small_image_raises_with_its_size(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(BenchError, match=r"VGG cannot take images of 3 x 4 x 4: "):
        measure(models.build("vgg8", 10), 4)


@pytest.mark.parametrize("name", SMALL)
def test_every_feature_has_a_gradient_and_is_not_changed_in_place(name: str) -> None:
    features = models.build(name, 10)(torch.randn(3, 3, 32, 32).requires_grad_())
    values = [stage.detach().clone() for stage in features.stages]
    tensors = (*features.stages, features.pooled, features.logits)
    sum(t.square().mean() for t in tensors).backward()
    for stage, value in zip(features.stages, values, strict=True):
        assert torch.equal(stage, value)
        assert stage.grad_fn is not None


@pytest.mark.parametrize("name", SMALL)
def test_logits_give_every_parameter_a_gradient(name: str) -> None:
    net = models.build(name, 10)
    net(torch.randn(3, 3, 32, 32)).logits.square().sum().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_only_raw_stages_have_negative_values() -> None:
    for name, raw in (("resnet8", False), ("wrn_16_1", True), ("mobilenet_v2", True)):
        stages = models.build(name, 10)(torch.randn(4, 3, 32, 32)).stages
        assert all(bool((stage < 0).any()) == raw for stage in stages), name


def weights(net: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, Tensor]]:
    for layer in net.modules():
        if isinstance(layer, kind):
            assert isinstance(layer.weight, Tensor)
            yield layer, layer.weight.detach()


@pytest.mark.parametrize("name", ["resnet32", "resnet50", "wrn_40_2", "vgg13", "mobilenet_v2"])
def test_initial_convolution_weights_are_he_normal_by_fan_out(name: str) -> None:
    torch.manual_seed(0)
    z = [
        weight.flatten() * (weight.shape[0] * weight[0, 0].numel() / 2) ** 0.5
        for _, weight in weights(models.build(name, 100), nn.Conv2d)
    ]
    assert torch.cat(z).std().item() == pytest.approx(1, rel=0.02)
    assert all(float(part.std()) == pytest.approx(1, rel=0.25) for part in z if len(part) > 100)
    assert float(torch.cat(z).abs().max()) > 3.5  # a uniform distribution ends at 1.7


@pytest.mark.parametrize(
    ("name", "std", "bias"),
    [("vgg8", 0.01, 0.0), ("mobilenet_v2", 0.01, 0.0), ("wrn_16_2", 128**-0.5 / 3**0.5, 0.0)]
    + [("resnet8x4", 256**-0.5 / 3**0.5, None), ("shufflenet_v1", 960**-0.5 / 3**0.5, None)],
)
def test_initial_classifier_weights_have_the_reference_spread(
    name: str, std: float, bias: float | None
) -> None:
    torch.manual_seed(0)
    ((layer, weight),) = weights(models.build(name, 100), nn.Linear)
    assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert isinstance(layer.bias, Tensor)
    assert bool((layer.bias == 0).all()) == (bias == 0.0)


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2"])
def test_shufflenets_keep_the_initial_weights_of_pytorch(name: str) -> None:
    torch.manual_seed(0)
    for layer, weight in weights(models.build(name, 100), nn.Conv2d):
        bound = (weight[0].numel()) ** -0.5
        assert weight.abs().max().item() <= bound, layer


def test_initial_weights_come_from_the_global_generator() -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in models.build("resnet8", 10).parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("measure", [models.shapes, models.cost])
@pytest.mark.parametrize("name", ["resnet8", "vgg8", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_measuring_does_not_change_the_network(name: str, measure: object) -> None:
    net = models.build(name, 10, 32).train()
    next(net.children()).eval()  # a mixed mode must survive too
    flags = [module.training for module in net.modules()]
    tensors = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    before = torch.get_rng_state()
    assert callable(measure)
    measure(net, 32)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(tensors[key], tensor) for key, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(("size", "device"), [(64, "cpu"), (96, "meta")])
def test_copies_for_large_images_are_on_the_meta_device(size: int, device: str) -> None:
    net = dry_run.copy_network(models.build("resnet8", 10), size)
    assert {tensor.device.type for tensor in net.state_dict().values()} == {device}
    assert not any(module.training for module in net.modules())


def test_meta_device_gives_the_same_shapes_and_cost(name: str) -> None:
    with seeding.initialised_by("any"):
        net = models.build(name, 100)
    assert models.shapes(net, 32) == models.shapes(on_meta(name), 32)
    assert models.cost(net, 32) == models.cost(on_meta(name), 32)


def test_unknown_network_raises_with_the_nearest_match() -> None:
    with pytest.raises(BenchError, match=r"no network 'resnet8x5'. Did you mean 'resnet8x4'\?"):
        models.build("resnet8x5", 10)
    with pytest.raises(BenchError, match="timm:<name>"):
        models.build("keras:resnet18", 10)
