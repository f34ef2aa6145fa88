"""Networks that others wrote (timm, torchvision, a user's own), made to return `Features`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import isqrt
from typing import Any

from torch import Tensor, nn

from bench.errors import BenchError, nearest
from bench.models.stages import Tap, Taps, find
from distillers import Features


class Outside(nn.Module):
    """A network that returns logits, its stages and its classifier's input read by hooks.

    Its own parameters keep their names behind `network.`; a checkpoint with the bare names loads
    too. The hooks live only while `forward` runs. One that returns `Features` is left as it is.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._taps: dict[int, Taps | None] = {}  # by image size

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S); BenchError if the network cannot take that size."""
        taps = self.taps(images.shape[-1])
        if taps is None:
            features: Features = self.network(images)
            return features
        with watched(self.network, taps) as seen:
            output = self.network(images)
        logits = output if isinstance(output, Tensor) else output[0]  # auxiliary heads left out
        stages = tuple(as_map(seen[tap], tap) for tap in taps.stages)
        return Features(stages, as_vector(seen[taps.classifier], taps.classifier), logits)

    def taps(self, size: int) -> Taps | None:
        """Where the network is read for images of that size; None if it needs no reading."""
        if size not in self._taps:
            self._taps[size] = find(self.network, size)
        return self._taps[size]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights by this module's names, or by the bare names of the network inside."""
        if self.state_dict().keys() & state_dict.keys():
            return super().load_state_dict(state_dict, strict, assign)
        return self.network.load_state_dict(state_dict, strict, assign)


@contextmanager
def watched(network: nn.Module, taps: Taps) -> Iterator[dict[Tap, Tensor]]:
    """Collect the tapped tensors of all calls made inside, by tap."""
    seen: dict[Tap, Tensor] = {}
    times: Counter[str] = Counter()
    wanted = {(tap.layer, tap.nth): tap for tap in taps.stages}
    head = taps.classifier

    def note(_: nn.Module, given: tuple[Tensor, ...], output: Tensor, *, layer: str) -> None:
        call = (layer, times[layer])
        times[layer] += 1
        if call in wanted:
            seen[wanted[call]] = output
        if call == (head.layer, head.nth):
            seen[head] = given[0]

    handles = [
        network.get_submodule(layer).register_forward_hook(partial(note, layer=layer))
        for layer in {tap.layer for tap in (*taps.stages, head)}
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def as_map(x: Tensor, tap: Tap) -> Tensor:
    """A stage's output as (B, C, H, W)."""
    if tap.layout == "channels last":
        return x.permute(0, 3, 1, 2)
    if tap.layout == "tokens":
        patches = x[:, tap.prefix :].transpose(1, 2)  # (B, D, N)
        side = isqrt(patches.shape[2])
        return patches.reshape(*patches.shape[:2], side, side)
    return x


def as_vector(x: Tensor, tap: Tap) -> Tensor:
    """A classifier's input as (B, D), averaged over places if it has any."""
    if x.dim() == 2:
        return x
    return x.flatten(2).mean(2) if tap.layout == "channels first" else x.flatten(1, -2).mean(1)


def timm_network(name: str, classes: int, size: int | None) -> nn.Module:
    """A network of timm by its name there, untrained.

    Networks of a fixed image size (vision transformers) are built for `size`.
    """
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        raise BenchError(
            f"no timm network '{name}'.{nearest(name, known)} "
            f"Allowed: the {len(known)} names of timm.list_models()"
        )
    facts = timm.get_pretrained_cfg(name)
    fixed: dict[str, Any] = {"img_size": size} if size and facts and facts.fixed_input_size else {}
    build = partial(timm.create_model, name, pretrained=False, num_classes=classes, **fixed)
    return Outside(built(f"timm:{name}", build, size))


def torchvision_network(name: str, classes: int, size: int | None) -> nn.Module:
    """A classification network of torchvision by its name there, untrained.

    Vision transformers are built for images of `size`.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise BenchError(
            f"no torchvision network '{name}'.{nearest(name, known)} "
            f"Allowed: the {len(known)} names of torchvision.models.list_models()"
        )
    fixed = {"image_size": size} if size and name.startswith("vit_") else {}
    build = partial(models.get_model, name, weights=None, num_classes=classes, **fixed)
    return Outside(built(f"torchvision:{name}", build, size))


def built(name: str, build: partial[nn.Module], size: int | None) -> nn.Module:
    """Return the network; BenchError where its library refuses to build it."""
    try:
        return build()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        wanted = f" for images of 3 x {size} x {size}" if size else ""
        raise BenchError(f"'{name}' cannot be built{wanted}: {error}") from error


LIBRARIES = {"timm": timm_network, "torchvision": torchvision_network}
