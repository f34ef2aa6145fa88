"""Calibration errors and temperatures, by hand."""

import math

import pytest
import torch

from bench.measures import calibration


def logits_of(p):
    """Return logits (n, 2) whose first class has the probabilities p (n,)."""
    p = torch.tensor(p, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()], 1)


def test_adaptive_error_by_hand():
    # 15 bins of one image: |0 - 0.9|, |1 - 0.8| and 13 times |1 - 0.6|
    logits = logits_of([0.9, 0.8] + [0.6] * 13)
    labels = torch.tensor([1] + [0] * 14)
    assert calibration.adaptive_error(logits, labels) == pytest.approx(
        100 * (0.9 + 0.2 + 13 * 0.4) / 15
    )
    # 30 images: the confidences of a bin are neighbours, and errors in a bin may cancel
    logits = logits_of([0.75] * 28 + [0.6, 0.6])
    labels = torch.tensor([0, 0, 0, 1] * 7 + [0, 1])
    first = abs(1 - 1.2) + 14 * 0  # the two of 0.6 are one bin
    others = sum(abs(2 - sum(part) - 1.5) for part in torch.tensor([0, 0, 0, 1] * 7).split(2))
    expected = 100 * (first + float(others)) / 30
    assert calibration.adaptive_error(logits, labels) == pytest.approx(expected)


def test_fewer_images_than_bins_are_bins_of_one():
    assert calibration.adaptive_error(logits_of([0.9, 0.7]), torch.tensor([0, 0])) == pytest.approx(
        100 * (0.1 + 0.3) / 2
    )


def test_the_temperature_undoes_a_factor():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 10, generator=rng, dtype=torch.float64) * 2
    labels = torch.multinomial(z.softmax(1), 1, generator=rng)[:, 0]
    exact = calibration.fit_temperature(z, labels)
    assert exact == pytest.approx(1, abs=0.05)
    assert calibration.fit_temperature(3 * z, labels) == pytest.approx(3 * exact, rel=1e-9)


def test_the_temperature_of_two_logits_has_a_closed_form():
    # three of four are right at a margin of 1: sigmoid(1 / T) = 3 / 4, so 1 / T = log 3
    z = torch.tensor([[1.0, 0.0]] * 4)
    value = calibration.fit_temperature(z, torch.tensor([0, 0, 0, 1]))
    assert value == pytest.approx(1 / math.log(3))
    measured = calibration.scaled((z, torch.tensor([0, 0, 0, 1])), (z, torch.tensor([0, 0, 1, 0])))
    assert measured["ece_scaled"] == pytest.approx(0, abs=1e-4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert measured["nll_scaled"] == pytest.approx(entropy)


def test_a_network_without_errors_gets_the_smallest_temperature():
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert calibration.fit_temperature(z, torch.tensor([0, 1])) == pytest.approx(1e-4)
