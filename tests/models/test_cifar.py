"""The 22 CIFAR networks equal the field's: in names, sizes, work and outputs."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import models, seeding
from bench.errors import BenchError
from bench.models import dry
from bench.spec import Recipe
from bench.training.evaluation import autocast
from tests.models.golden import FACTS, FOLDER, checkpoint, images

NAMES = sorted(FACTS)
SMALL = [
    "resnet8",
    "resnet50",
    "wrn_16_2",
    "vgg8",
    "mobilenet_v2",
    "shufflenet_v1",
    "shufflenet_v2",
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def hollow(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, 100)


def close(found: Tensor, expected: np.ndarray) -> None:
    limit = 1e-5 * float(np.abs(expected).max())
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=limit)


def test_there_are_exactly_the_papers_networks() -> None:
    assert models.names() == NAMES
    assert len(NAMES) == 22


def test_names_and_shapes_of_tensors_are_those_of_released_checkpoints(name: str) -> None:
    own = {key: list(tensor.shape) for key, tensor in hollow(name).state_dict().items()}
    assert own == FACTS[name]["state_dict"]


def test_cost_equals_the_fields(name: str) -> None:
    expected = models.Cost(FACTS[name]["parameters"], FACTS[name]["multiply_adds"])
    assert models.cost(hollow(name), 32) == expected


def test_shapes_are_the_features_without_stem_and_pooled_vector(name: str) -> None:
    _, *stages, pooled = FACTS[name]["features"]
    shapes = models.shapes(hollow(name), 32)
    assert [list(stage) for stage in shapes.stages] == stages
    assert [shapes.pooled, shapes.logits] == [*pooled, 100]


def test_outputs_equal_the_fields_with_the_same_weights(name: str) -> None:
    net = models.build(name, 100).eval()
    net.load_state_dict(checkpoint(name)["model"])
    with torch.no_grad():
        features = net(images())
    golden = np.load(FOLDER / f"{name}.npz")
    close(features.logits, golden["logits"])
    close(features.pooled, golden["pooled"])
    for i, stage in enumerate(features.stages, start=1):
        close(stage.mean((2, 3)), golden[f"feature_mean/{i}"])
        close(stage.std((2, 3)), golden[f"feature_std/{i}"])
    assert f"feature_mean/{len(features.stages) + 1}" not in golden


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.02)])
def test_outputs_in_each_mode_of_training(name: str, precision: str, limit: float) -> None:
    """Channels last, under autocast: so near to the field's, of the largest number of a tensor."""
    net = models.build(name, 100).eval()
    net.load_state_dict(checkpoint(name)["model"])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad(), autocast(torch.device("cpu"), Recipe(precision=precision)):
        features = net(images().contiguous(memory_format=torch.channels_last))
    golden = np.load(FOLDER / f"{name}.npz")
    found = {"logits": features.logits, "pooled": features.pooled}
    for i, stage in enumerate(features.stages, start=1):
        found |= {f"feature_mean/{i}": stage.float().mean((2, 3))}
    for key, tensor in found.items():
        error = (tensor.float() - torch.from_numpy(golden[key])).abs().max()
        assert error <= limit * np.abs(golden[key]).max(), key


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [8, 17, 64])
def test_other_image_sizes(name: str, size: int) -> None:
    net = models.build(name, 7)
    features = net(torch.randn(2, 3, size, size))
    shapes = models.shapes(net, size)
    assert tuple(tuple(stage.shape[1:]) for stage in features.stages) == shapes.stages
    assert features.logits.shape == (2, shapes.logits) == (2, 7)
    assert features.pooled.shape == (2, shapes.pooled)
    assert all(b[1] <= a[1] for a, b in pairwise(shapes.stages))


def test_vgg_halves_its_fourth_stage_from_64_on() -> None:
    net = models.build("vgg8", 10)
    assert [models.shapes(net, size).stages[-1][1] for size in (32, 64, 128)] == [4, 4, 8]


@pytest.mark.parametrize("measure", [models.shapes, models.cost])
def test_too_small_an_image_is_named(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(BenchError, match=r"VGG cannot take images of 3 x 4 x 4: "):
        measure(models.build("vgg8", 10), 4)


@pytest.mark.parametrize("name", SMALL)
def test_every_returned_tensor_can_be_trained_through(name: str) -> None:
    features = models.build(name, 10)(torch.randn(3, 3, 32, 32).requires_grad_())
    values = [stage.detach().clone() for stage in features.stages]
    everything = (*features.stages, features.pooled, features.logits)
    sum(t.square().mean() for t in everything).backward()
    for stage, value in zip(features.stages, values, strict=True):
        assert torch.equal(stage, value)
        assert stage.grad_fn is not None


@pytest.mark.parametrize("name", SMALL)
def test_all_parameters_get_a_gradient_from_the_logits(name: str) -> None:
    net = models.build(name, 10)
    net(torch.randn(3, 3, 32, 32)).logits.square().sum().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_relu_after_residual_blocks_but_not_in_raw_stages() -> None:
    for name, raw in (("resnet8", False), ("wrn_16_1", True), ("mobilenet_v2", True)):
        stages = models.build(name, 10)(torch.randn(4, 3, 32, 32)).stages
        assert all(bool((stage < 0).any()) == raw for stage in stages), name


def weights(net: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, Tensor]]:
    for layer in net.modules():
        if isinstance(layer, kind):
            assert isinstance(layer.weight, Tensor)
            yield layer, layer.weight.detach()


@pytest.mark.parametrize("name", ["resnet32", "resnet50", "wrn_40_2", "vgg13", "mobilenet_v2"])
def test_first_weights_of_convolutions_are_he_normal_by_outputs(name: str) -> None:
    torch.manual_seed(0)
    z = [
        weight.flatten() * (weight.shape[0] * weight[0, 0].numel() / 2) ** 0.5
        for _, weight in weights(models.build(name, 100), nn.Conv2d)
    ]
    assert torch.cat(z).std().item() == pytest.approx(1, rel=0.02)
    assert all(float(part.std()) == pytest.approx(1, rel=0.25) for part in z if len(part) > 100)
    assert float(torch.cat(z).abs().max()) > 3.5  # a uniform one would stop at 1.7


@pytest.mark.parametrize(
    ("name", "std", "bias"),
    [("vgg8", 0.01, 0.0), ("mobilenet_v2", 0.01, 0.0), ("wrn_16_2", 128**-0.5 / 3**0.5, 0.0)]
    + [("resnet8x4", 256**-0.5 / 3**0.5, None), ("shufflenet_v1", 960**-0.5 / 3**0.5, None)],
)
def test_first_weights_of_classifiers(name: str, std: float, bias: float | None) -> None:
    torch.manual_seed(0)
    ((layer, weight),) = weights(models.build(name, 100), nn.Linear)
    assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert isinstance(layer.bias, Tensor)
    assert bool((layer.bias == 0).all()) == (bias == 0.0)


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2"])
def test_shufflenets_keep_pytorchs_first_weights(name: str) -> None:
    torch.manual_seed(0)
    for layer, weight in weights(models.build(name, 100), nn.Conv2d):
        bound = (weight[0].numel()) ** -0.5
        assert weight.abs().max().item() <= bound, layer


def test_weights_come_from_the_global_generator() -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in models.build("resnet8", 10).parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("measure", [models.shapes, models.cost])
@pytest.mark.parametrize("name", ["resnet8", "vgg8", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_measuring_changes_nothing(name: str, measure: object) -> None:
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
def test_copies_for_large_images_hold_no_numbers(size: int, device: str) -> None:
    net = dry.copied(models.build("resnet8", 10), size)
    assert {tensor.device.type for tensor in net.state_dict().values()} == {device}
    assert not any(module.training for module in net.modules())


def test_what_is_computed_has_the_shapes_of_what_is_not(name: str) -> None:
    with seeding.initialised_by("any"):
        net = models.build(name, 100)
    assert models.shapes(net, 32) == models.shapes(hollow(name), 32)
    assert models.cost(net, 32) == models.cost(hollow(name), 32)


def test_unknown_networks_are_named_with_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"no network 'resnet8x5'. Did you mean 'resnet8x4'\?"):
        models.build("resnet8x5", 10)
    with pytest.raises(BenchError, match="timm:<name>"):
        models.build("keras:resnet18", 10)
