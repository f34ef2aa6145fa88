"""First weights as the field draws them; they change the accuracy after 240 epochs."""

from torch import nn


def convolutions(net: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 2 / (k k C_out)) and set its bias to 0.

    He et al. 2015, arXiv:1502.01852, equation 14 (variance kept backwards), groups ignored.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def classifier(layer: nn.Linear) -> None:
    """Draw a classifier's weights from N(0, 0.01 ** 2) and set its bias to 0."""
    nn.init.normal_(layer.weight, 0, 0.01)
    nn.init.zeros_(layer.bias)
