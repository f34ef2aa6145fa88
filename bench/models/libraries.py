"""Networks of timm and torchvision, with random weights or the library's pretrained weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from bench.errors import BenchError, nearest


def timm_network(
    name: str, classes: int, size: int | None, options: Mapping[str, Any], pretrained: bool
) -> nn.Module:
    """Build a network of timm.

    Args:
        name: the network's name in timm.
        classes: number of classes K.
        size: side S of the images in pixels; used for networks with a fixed input size, such as
            vision transformers.
        options: further arguments of the network's constructor.
        pretrained: whether to load timm's weights; they are downloaded if timm's cache does not
            have them.

    Raises:
        BenchError: timm does not have the network, cannot build it for that size and options, or
            cannot load its weights.

    """
    import timm

    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models(), "timm.list_models()")
    config = timm.get_pretrained_cfg(name)
    is_fixed = size and config and config.fixed_input_size
    options = {**({"img_size": size} if is_fixed else {}), **options}
    options = {"num_classes": classes, **options}
    network = _build(f"timm:{name}", partial(timm.create_model, name, **options), size)
    if pretrained:
        weights = partial(timm.create_model, name, pretrained=True, **options)
        network.load_state_dict(_download(f"timm:{name}", lambda: weights().state_dict()))
    return network


def torchvision_network(
    name: str, classes: int, size: int | None, options: Mapping[str, Any], pretrained: bool
) -> nn.Module:
    """Build a classification network of torchvision.

    Args:
        name: the network's name in torchvision.
        classes: number of classes K.
        size: side S of the images in pixels; used for vision transformers.
        options: further arguments of the network's constructor.
        pretrained: whether to load torchvision's weights; they are downloaded if torchvision's
            cache does not have them. Tensors whose shape differs keep their random numbers.

    Raises:
        BenchError: torchvision does not have the network, cannot build it for that size and
            options, or cannot load its weights.

    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise _unknown("torchvision", name, names, "torchvision.models.list_models()")
    options = {**({"image_size": size} if size and name.startswith("vit_") else {}), **options}
    options = {"num_classes": classes, **options}
    build = partial(models.get_model, name, weights=None, **options)
    network = _build(f"torchvision:{name}", build, size)
    if pretrained:
        weights = models.get_model_weights(name).DEFAULT
        load = partial(weights.get_state_dict, progress=False, check_hash=True)
        loaded, drawn = _download(f"torchvision:{name}", load), network.state_dict()
        fitting = {key: value for key, value in loaded.items() if value.shape == drawn[key].shape}
        network.load_state_dict(drawn | fitting)
    return network


def _unknown(library: str, name: str, names: list[str], listing: str) -> BenchError:
    return BenchError(
        f"no {library} network '{name}'.{nearest(name, names)} Allowed: the {len(names)} names of "
        f"{listing}"
    )


def _build(name: str, build: partial[nn.Module], size: int | None) -> nn.Module:
    try:
        return build()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        images = f" for images of 3 x {size} x {size}" if size else ""
        raise BenchError(f"'{name}' cannot be built{images}: {error}") from error


def _download(name: str, load: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return a library's pretrained weights of a network; raise BenchError if `load` fails."""
    try:
        return load()
    except Exception as error:  # the libraries' downloads raise errors of many packages
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BenchError(
            f"pretrained: the weights of '{name}' are not in the library's cache and cannot be "
            f"downloaded ({reason}). Allowed: pretrained false, or a cache that has the weights"
        ) from error


LIBRARIES = {"timm": timm_network, "torchvision": torchvision_network}
