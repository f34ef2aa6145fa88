"""The worked example for authors of networks."""

import textwrap

import torch

from bench import models
from bench.models import base, mobile, mobilenet_v1, resnet, vgg


def test_worked_example_returns_features() -> None:
    _, example = base.__doc__.split("builds the network:\n", 1)
    namespace: dict[str, object] = {}
    exec(textwrap.dedent(example.partition("\nA suite")[0]), namespace)
    net = namespace["Tiny"](5)
    shapes = models.shapes(net, 32)
    assert shapes.stages == ((16, 16, 16), (32, 8, 8))
    assert (shapes.pooled, shapes.logits) == (32, 5)
    assert net(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 5)
    assert list(namespace["NETWORKS"]) == ["tiny"]


def test_listed_names_are_those_of_the_tables() -> None:
    tables = mobile.NETWORKS, mobilenet_v1.NETWORKS, resnet.NETWORKS, vgg.NETWORKS
    assert models.names() == sorted(name for table in tables for name in table)
