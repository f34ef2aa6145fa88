"""Networks of timm, torchvision and plugins return features like those of this package."""

import copy
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import models
from bench.errors import BenchError
from bench.models.wrapper import FeatureExtractor
from distillers import Features

CASES = [  # name, image size, (channels, side) of the stages, pooled width
    ("timm:resnet18", 32, [(64, 8), (128, 4), (256, 2), (512, 1)], 512),
    ("timm:mobilenetv3_small_050", 64, [(8, 16), (16, 8), (24, 4), (288, 2)], 1024),
    ("timm:efficientnet_b0", 64, [(16, 32), (24, 16), (40, 8), (112, 4), (320, 2)], 1280),
    ("timm:regnetx_002", 32, [(24, 8), (56, 4), (152, 2), (368, 1)], 368),
    ("timm:convnext_atto", 32, [(40, 8), (80, 4), (160, 2), (320, 1)], 320),
    ("timm:vit_tiny_patch16_224", 64, [(192, 4)] * 4, 192),
    ("timm:swin_tiny_patch4_window7_224", 32, [(96, 8), (192, 4), (384, 2), (768, 1)], 768),
    ("torchvision:resnet18", 32, [(64, 8), (128, 4), (256, 2), (512, 1)], 512),
    ("torchvision:mobilenet_v3_small", 64, [(16, 16), (24, 8), (48, 4), (576, 2)], 1024),
    ("torchvision:efficientnet_b0", 64, [(16, 32), (24, 16), (40, 8), (112, 4), (1280, 2)], 1280),
    ("torchvision:regnet_x_400mf", 64, [(32, 16), (64, 8), (160, 4), (400, 2)], 400),
    ("torchvision:convnext_tiny", 64, [(96, 16), (192, 8), (384, 4), (768, 2)], 768),
    ("torchvision:densenet121", 32, [(256, 8), (512, 4), (1024, 2), (1024, 1)], 1024),
    ("torchvision:swin_t", 64, [(96, 16), (192, 8), (384, 4), (768, 2)], 768),
]


@pytest.mark.parametrize(("name", "size", "stages", "pooled"), CASES)
def test_stages_of_common_architectures(
    name: str, size: int, stages: list[tuple[int, int]], pooled: int
) -> None:
    net = models.build(name, 7, size).eval()
    shapes = models.shapes(net, size)
    assert shapes.stages == tuple((width, side, side) for width, side in stages)
    assert (shapes.pooled, shapes.logits) == (pooled, 7)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = net(x)
        assert isinstance(net, FeatureExtractor)
        assert torch.equal(features.logits, net.network(x))
    assert tuple(tuple(stage.shape[1:]) for stage in features.stages) == shapes.stages
    head = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    torch.testing.assert_close(head(features.pooled), features.logits)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_stages_equal_the_features_that_timm_extracts(name: str) -> None:
    import timm

    net = models.build(f"timm:{name}", 7).eval()
    assert isinstance(net, FeatureExtractor)
    reference = timm.create_model(name, pretrained=False, features_only=True).eval()
    state = net.network.state_dict()
    renamed = {
        key: state.get(key, state.get(key.replace("_", ".", 1))) for key in reference.state_dict()
    }
    reference.load_state_dict(renamed)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        stages = net(x).stages
        expected = reference(x)[-len(stages) :]
    assert all(torch.equal(a, b) for a, b in zip(stages, expected, strict=True))


def test_patch_tokens_become_the_maps_of_timm() -> None:
    net = models.build("timm:vit_tiny_patch16_224", 7, 64).eval()
    assert isinstance(net, FeatureExtractor)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        stages = net(x).stages
        reference = net.network.forward_intermediates(x, [2, 5, 8, 11], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(stages, reference, strict=True))


def test_torchvision_transformer_has_stages() -> None:
    with torch.device("meta"):
        net = models.build("torchvision:vit_b_16", 7, 64)
    assert models.shapes(net, 64).stages == ((768, 4, 4),) * 4
    assert models.cost(net, 64).multiply_adds > 17 * 12 * 12 * 768**2  # 17 tokens, 12 blocks
    with pytest.raises(BenchError, match="VisionTransformer cannot take images of 3 x 32 x 32"):
        models.shapes(net, 32)


def test_costs_of_resnet18_are_as_published() -> None:
    with torch.device("meta"):
        nets = [models.build(f"{library}:resnet18", 1000) for library in ("timm", "torchvision")]
    for net in nets:
        assert models.cost(net, 224) == models.Cost(11_689_512, 1_814_073_344)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_features_give_every_parameter_a_gradient(name: str) -> None:
    net = models.build(name, 7, 64).train()
    features = net(torch.randn(3, 3, 64, 64))
    tensors = (*features.stages, features.pooled, features.logits)
    sum(t.square().mean() for t in tensors).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_wrapper_keeps_no_tensor_of_a_batch() -> None:
    net = models.build("timm:resnet18", 7)
    gc.disable()
    try:
        for _ in range(2):
            features = net(torch.randn(2, 3, 32, 32))
            alive = [weakref.ref(tensor) for tensor in (*features.stages, features.logits)]
            del features
            assert [ref() for ref in alive] == [None] * 5
    finally:
        gc.enable()
    assert not any(module._forward_hooks for module in net.modules())


def test_hooks_are_removed_if_the_network_fails() -> None:
    net = models.build("timm:resnet18", 7)
    net(torch.randn(2, 3, 32, 32))
    with pytest.raises(RuntimeError, match="channels"):
        net(torch.randn(2, 4, 32, 32))
    assert not any(module._forward_hooks for module in net.modules())


def test_deep_copy_does_not_share_state() -> None:
    net = models.build("timm:resnet18", 7).eval()
    x = torch.randn(2, 3, 32, 32)
    before = net(x)
    clone = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.zero_()
    assert torch.equal(net(x).stages[0], before.stages[0])
    assert not torch.equal(clone(x).stages[0], before.stages[0])


def test_checkpoints_load_with_and_without_the_prefix() -> None:
    import timm

    reference = timm.create_model("resnet18", pretrained=False, num_classes=7)
    net = models.build("timm:resnet18", 7)
    assert {key.removeprefix("network.") for key in net.state_dict()} == set(reference.state_dict())
    net.load_state_dict(reference.state_dict())
    assert torch.equal(net.state_dict()["network.fc.weight"], reference.fc.weight)
    reloaded = models.build("timm:resnet18", 7)
    reloaded.load_state_dict(net.state_dict())
    assert torch.equal(reloaded.state_dict()["network.fc.weight"], reference.fc.weight)
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict({"network.fc.weight": reference.fc.weight.detach()})


class Plain(nn.Module):
    """Functional pooling, one shared ReLU, squeeze and excitation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.one = nn.Conv2d(5, 7, 3, padding=1)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(7, 7, 1), nn.Sigmoid())
        self.mix = nn.Conv2d(7, 7, 1)
        self.two = nn.Conv2d(7, 11, 3, 2, 1)
        self.three = nn.Conv2d(11, 13, 3, padding=1)
        self.head = nn.Linear(13, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = F.max_pool2d(x, 2)
        x = self.relu(self.one(x))
        x = self.relu(self.mix(x * self.squeeze(x)))
        x = self.relu(self.two(x))
        x = F.avg_pool2d(x, 2)
        x = self.relu(self.three(x))
        return self.head(x.mean((2, 3)))


class Blocks(nn.Module):
    """A stride inside a block, after a layer that keeps the resolution; a trunk with all blocks."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = Trunk()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(11, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a, self.b, self.c = Strided(4, 5, 1), Strided(5, 7, 2), Strided(7, 11, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(self.stem(x))))


class Strided(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, 3 * in_channels, 1)
        self.reduce = nn.Conv2d(3 * in_channels, out_channels, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.reduce(F.relu(self.expand(x))))


class Tokens(nn.Module):
    """A transformer with a class token, made of PyTorch's layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 12))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(12, 2, 24, batch_first=True) for _ in range(6)
        )
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0])


class WithFeatures(nn.Module):
    """A network that returns `Features`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Features:
        pooled = x.mean((2, 3))
        return Features((x,), pooled, self.head(pooled))


class Perceptron(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


PLUGINS = [
    (Plain, 16, ((7, 8, 8), (11, 4, 4), (13, 2, 2)), 13),
    (Blocks, 32, ((5, 32, 32), (7, 16, 16), (11, 8, 8)), 11),
    (Tokens, 16, ((12, 4, 4),) * 4, 12),
    (WithFeatures, 8, ((3, 8, 8),), 3),
    (Perceptron, 8, (), 9),
]


@pytest.mark.parametrize(("builder", "size", "stages", "pooled"), PLUGINS)
def test_stages_of_a_plugin_network(
    builder: Callable[[int], nn.Module], size: int, stages: tuple[tuple[int, ...], ...], pooled: int
) -> None:
    net = models.build("mine", 6, added={"mine": builder})
    shapes = models.shapes(net, size)
    assert (shapes.stages, shapes.pooled, shapes.logits) == (stages, pooled, 6)
    for mode in (True, False):
        features = net.train(mode)(torch.randn(2, 3, size, size))
        assert tuple(tuple(stage.shape[1:]) for stage in features.stages) == stages
        assert features.pooled.shape == (2, pooled)
    assert models.cost(net, size).parameters == sum(p.numel() for p in builder(6).parameters())


def test_shared_layer_is_read_at_the_right_call() -> None:
    net = FeatureExtractor(Plain(6)).eval()
    features = net(torch.randn(2, 3, 16, 16))
    assert all(bool((stage >= 0).all()) for stage in features.stages)
    torch.testing.assert_close(features.stages[-1].mean((2, 3)), features.pooled)
    torch.testing.assert_close(
        F.relu(net.network.three(F.avg_pool2d(features.stages[1], 2))), features.stages[2]
    )


def test_stages_are_found_for_each_image_size() -> None:
    net = FeatureExtractor(Blocks(6))
    for size in (32, 16, 32):
        stages = net(torch.randn(2, 3, size, size)).stages
        assert [stage.shape[-1] for stage in stages] == [size, size // 2, size // 4]


def test_cost_counts_each_layer_once() -> None:
    expected = 192 * 9 + 9 * 6
    net = FeatureExtractor(Perceptron(6))
    assert models.cost(net, 8).multiply_adds == expected
    net(torch.randn(2, 3, 8, 8))
    assert models.cost(net, 8).multiply_adds == expected


class Wrong(nn.Module):
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output if self.output is not None else x.mean((2, 3))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"logits": 1}, "Wrong returns neither logits \\(B, K\\) nor distillers.Features"),
        (None, "Wrong has no linear or convolutional layer with an output of 3 logits"),
    ],
)
def test_unreadable_network_raises_with_the_reason(output: object, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        models.shapes(FeatureExtractor(Wrong(output)), 8)


def test_network_that_cannot_be_copied_raises() -> None:
    with pytest.raises(BenchError, match="Wrong cannot be copied: "):
        models.shapes(FeatureExtractor(Wrong(torch.ones(1, requires_grad=True) * 2)), 8)


def test_stages_work_under_autocast_and_inference_mode() -> None:
    net = models.build("timm:resnet18", 7).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = net(x)
    assert features.logits.dtype == torch.bfloat16
    assert [stage.shape[-1] for stage in net.train()(x).stages] == [8, 4, 2, 1]


def test_unknown_library_network_raises_with_the_nearest_match() -> None:
    with pytest.raises(BenchError, match=r"no timm network 'resnet_18'. Did you mean 'resnet18'\?"):
        models.build("timm:resnet_18", 10)
    with pytest.raises(BenchError, match=r"no torchvision network 'resnet17'. Did you mean 'resne"):
        models.build("torchvision:resnet17", 10)


def test_impossible_image_size_raises_with_the_size() -> None:
    with pytest.raises(
        BenchError, match="'torchvision:vit_b_16' cannot be built for images of 3 x"
    ):
        models.build("torchvision:vit_b_16", 10, 40)
    with pytest.raises(BenchError, match="AlexNet cannot take images of 3 x 32 x 32"):
        models.shapes(models.build("torchvision:alexnet", 10), 32)


def test_cost_counts_linear_layers_that_are_called_as_functions() -> None:
    net = models.build("torchvision:swin_t", 10, 64)
    assert models.cost(net, 64).multiply_adds == 736_771_584  # its attention calls F.linear


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_cost_of_attention_is_that_of_its_projections(device: str) -> None:
    net = FeatureExtractor(Tokens(6).to(device))
    tokens, width, hidden = 17, 12, 24
    layer = tokens * (4 * width**2 + 2 * width * hidden)
    assert models.cost(net, 16).multiply_adds == 16 * width * 48 + 6 * layer + width * 6


def test_cost_does_not_import_the_compiler() -> None:
    code = (
        "import sys; from bench import models; models.cost(models.build('resnet8', 10), 32); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.case("wrong-stages")
@pytest.mark.parametrize(
    ("name", "layers", "stages"),
    [
        ("timm:mvitv2_tiny", "stages.{}", [(96, 16), (192, 8), (384, 4), (768, 2)]),
        ("timm:cait_xxs24_224", "blocks.{}", [(192, 4)] * 4),
        ("timm:coat_tiny", "parallel_blocks.{}", [(152, 16)] * 4),
        ("timm:twins_svt_small", "blocks.{}", [(64, 16), (128, 8), (256, 4), (512, 2)]),
        ("timm:xcit_nano_12_p16_224", "blocks.{}", [(128, 4)] * 4),
    ],
)
def test_stages_of_transformers_end_with_blocks(
    name: str, layers: str, stages: list[tuple[int, int]]
) -> None:
    net = models.build(name, 7, 64).eval()
    shapes = models.shapes(net, 64)
    assert shapes.stages == tuple((width, side, side) for width, side in stages)
    stage_layers = models.stage_layers(net, 64)
    assert stage_layers is not None
    assert len(set(stage_layers)) == len(stages)
    parent = layers.split(".")[0]
    for layer in stage_layers:
        assert layer.startswith(f"{parent}.")
        assert len(list(net.get_submodule(f"network.{layer}").modules())) > 5
    with torch.no_grad():
        features = net(torch.randn(2, 3, 64, 64))
    assert tuple(tuple(stage.shape[1:]) for stage in features.stages) == shapes.stages


class FirstBlockIsAConvolution(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 1)
        self.second = nn.Conv2d(4, 6, 3, 2, 1)
        self.third = nn.Conv2d(6, 8, 3, 2, 1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second, self.third):
            x = F.relu(layer(x))
        return self.fc(x.mean((2, 3)))


@pytest.mark.case("convolution-as-first-block")
def test_declared_stages_replace_those_that_are_found() -> None:
    added = {"mine": FirstBlockIsAConvolution}
    assert models.stage_layers(models.build("mine", 5, added=added), 32) == ("second", "third")
    net = models.build("mine", 5, added=added, stages=["third", "first", "second"])
    assert models.stage_layers(net, 32) == ("first", "second", "third")
    assert models.shapes(net, 32).stages == ((4, 16, 16), (6, 8, 8), (8, 4, 4))


@pytest.mark.case("convolution-as-first-block")
def test_stages_of_a_network_that_returns_features_can_be_declared() -> None:
    torch.manual_seed(0)
    plain = models.build("resnet8", 5).eval()
    torch.manual_seed(0)
    net = models.build("resnet8", 5, stages=["layer1", "layer3"]).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected, actual = plain(x), net(x)
    assert torch.equal(actual.logits, expected.logits)
    assert torch.equal(actual.pooled, expected.pooled)
    assert [tuple(stage.shape) for stage in actual.stages] == [
        tuple(expected.stages[i].shape) for i in (0, 2)
    ]


@pytest.mark.case("convolution-as-first-block")
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("secnd", "has no layer 'secnd'. Did you mean 'second'?"),
        ("fc", r"layer 'fc' .* returns \(2, 5\). Allowed for a stage: a square map"),
    ],
)
def test_a_declared_layer_without_a_map_is_refused(layer: str, message: str) -> None:
    added = {"mine": FirstBlockIsAConvolution}
    with pytest.raises(BenchError, match=message):
        models.shapes(models.build("mine", 5, added=added, stages=[layer]), 32)


@pytest.mark.slow
@pytest.mark.case("wrong-stages")
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("timm:convit_tiny", "blocks.2 blocks.5 blocks.8 blocks.11"),
        ("timm:volo_d1_224", "network.0 network.4"),
        ("timm:vgg11_bn", "features.6 features.13 features.20 features.27"),
        ("torchvision:vgg11_bn", "features.6 features.13 features.20 features.27"),
        ("torchvision:convnext_tiny", "features.1 features.3 features.5 features"),
    ],
)
def test_a_stage_is_the_end_of_its_resolution(name: str, layers: str) -> None:
    assert models.stage_layers(models.build(name, 7, 64), 64) == tuple(layers.split())
