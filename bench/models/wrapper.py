"""A wrapper that lets networks of timm, torchvision and plugins return `Features`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import isqrt
from typing import Any

from torch import Tensor, nn

from bench.errors import BenchError, nearest
from bench.models.stages import HookPoint, HookPoints, find_hook_points
from distillers import Features


class FeatureExtractor(nn.Module):
    """A network that returns logits, with its stages and its classifier's input read by hooks.

    The network's parameters get the prefix `network.`; a checkpoint with the original names loads
    too. The hooks exist only while `forward` runs. A network that returns `Features` gets no hooks.

    Args:
        network: maps images (B, 3, S, S) to logits (B, K), to a tuple that starts with them, or to
            `Features`.

    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._hook_points: dict[int, HookPoints | None] = {}  # by image size

    def forward(self, images: Tensor) -> Features:
        """Return the features of images (B, 3, S, S).

        Raises:
            BenchError: the network cannot take images of that size.

        """
        points = self.hook_points(images.shape[-1])
        if points is None:
            features: Features = self.network(images)
            return features
        with read(self.network, points) as tensors:
            output = self.network(images)
        logits = output if isinstance(output, Tensor) else output[0]  # without auxiliary heads
        stages = tuple(as_map(tensors[point], point) for point in points.stages)
        pooled = as_vector(tensors[points.classifier], points.classifier)
        return Features(stages, pooled, logits)

    def hook_points(self, size: int) -> HookPoints | None:
        """Return where to read the network for images of that size; None if it needs no hooks."""
        if size not in self._hook_points:
            self._hook_points[size] = find_hook_points(self.network, size)
        return self._hook_points[size]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights by the names of this module, or by the original names of the network."""
        if self.state_dict().keys() & state_dict.keys():
            return super().load_state_dict(state_dict, strict, assign)
        return self.network.load_state_dict(state_dict, strict, assign)


@contextmanager
def read(network: nn.Module, points: HookPoints) -> Iterator[dict[HookPoint, Tensor]]:
    """Collect the tensors at the hook points from all calls of the network in the block."""
    tensors: dict[HookPoint, Tensor] = {}
    times: Counter[str] = Counter()
    stages = {(point.layer, point.call): point for point in points.stages}
    head = points.classifier

    def collect(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, *, layer: str) -> None:
        call = (layer, times[layer])
        times[layer] += 1
        if call in stages:
            tensors[stages[call]] = output
        if call == (head.layer, head.call):
            tensors[head] = inputs[0]

    handles = [
        network.get_submodule(layer).register_forward_hook(partial(collect, layer=layer))
        for layer in {point.layer for point in (*points.stages, head)}
    ]
    try:
        yield tensors
    finally:
        for handle in handles:
            handle.remove()


def as_map(x: Tensor, point: HookPoint) -> Tensor:
    """Return the output of a stage as a map (B, C, H, W)."""
    if point.layout == "channels last":
        return x.permute(0, 3, 1, 2)
    if point.layout == "tokens":
        patches = x[:, point.prefix :].transpose(1, 2)  # (B, D, N)
        side = isqrt(patches.shape[2])
        return patches.reshape(*patches.shape[:2], side, side)
    return x


def as_vector(x: Tensor, point: HookPoint) -> Tensor:
    """Return the input of a classifier as vectors (B, D), averaged over positions if it has any."""
    if x.dim() == 2:
        return x
    return x.flatten(2).mean(2) if point.layout == "channels first" else x.flatten(1, -2).mean(1)


def timm_network(name: str, classes: int, size: int | None) -> nn.Module:
    """Build an untrained network of timm.

    Args:
        name: its name in timm.
        classes: number of classes K.
        size: side S of the images; used for networks of a fixed size (vision transformers).

    Raises:
        BenchError: timm has no such network, or cannot build it for that size.

    """
    import timm

    if not timm.is_model(name):
        names = timm.list_models()
        raise BenchError(
            f"no timm network '{name}'.{nearest(name, names)} "
            f"Allowed: the {len(names)} names of timm.list_models()"
        )
    config = timm.get_pretrained_cfg(name)
    is_fixed = size and config and config.fixed_input_size
    options: dict[str, Any] = {"img_size": size} if is_fixed else {}
    build = partial(timm.create_model, name, pretrained=False, num_classes=classes, **options)
    return FeatureExtractor(_build(f"timm:{name}", build, size))


def torchvision_network(name: str, classes: int, size: int | None) -> nn.Module:
    """Build an untrained classification network of torchvision.

    Args:
        name: its name in torchvision.
        classes: number of classes K.
        size: side S of the images; used for vision transformers.

    Raises:
        BenchError: torchvision has no such network, or cannot build it for that size.

    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise BenchError(
            f"no torchvision network '{name}'.{nearest(name, names)} "
            f"Allowed: the {len(names)} names of torchvision.models.list_models()"
        )
    options = {"image_size": size} if size and name.startswith("vit_") else {}
    build = partial(models.get_model, name, weights=None, num_classes=classes, **options)
    return FeatureExtractor(_build(f"torchvision:{name}", build, size))


def _build(name: str, build: partial[nn.Module], size: int | None) -> nn.Module:
    try:
        return build()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        images = f" for images of 3 x {size} x {size}" if size else ""
        raise BenchError(f"'{name}' cannot be built{images}: {error}") from error


LIBRARIES = {"timm": timm_network, "torchvision": torchvision_network}
