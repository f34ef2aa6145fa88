"""Calibration: errors of the predicted probabilities, before and after temperature scaling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.training.evaluation import ECE_BINS, calibration_error

LIMITS = (1e-4, 1e4)  # smallest and largest inverse temperature
STEPS = 100  # halvings of the interval of the inverse temperature's logarithm


def adaptive_error(logits: Tensor, labels: Tensor) -> float:
    """Return the adaptive calibration error in percent: an ECE with equally many images per bin.

    The error is Σ_b n_b/n |accuracy_b - confidence_b|, where bin b holds n_b of the n images. The
    images are sorted by confidence (their highest probability) and divided into 15 bins of n/15
    images; the n_b differ by at most one. Nguyen and O'Connor, EMNLP 2015, define this error with
    squared instead of absolute differences.

    Args:
        logits: Logits (n, K).
        labels: The true classes (n,).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    order = confidence.argsort(stable=True)
    gaps = ((predicted == labels).double() - confidence)[order]
    sums = [part.sum().abs() for part in gaps.tensor_split(min(ECE_BINS, len(gaps)))]
    return 100 * float(torch.stack(sums).sum()) / len(gaps)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T > 0 that minimises the NLL of softmax(z / T).

    With β = 1/T and p = softmax(β z), the NLL is convex in β, and its derivative, the mean of
    Σ_k p_k z_k - z_y, increases with β. Bisection finds the zero of the derivative. If there is no
    zero, for example because the network makes no errors, T is 1e-4 or 1e4. Guo et al., ICML 2017,
    fit the same temperature.

    Args:
        logits: Logits z (n, K).
        labels: The true classes y (n,).
    """
    z = logits.double()
    right = z.gather(1, labels[:, None])[:, 0]
    low, high = (torch.tensor(limit, dtype=torch.float64).log() for limit in LIMITS)
    for _ in range(STEPS):
        middle = (low + high) / 2
        expected = (z * (z * middle.exp()).softmax(1)).sum(1)
        is_above = bool((expected - right).mean() > 0)
        low, high = (low, middle) if is_above else (middle, high)
    return float((-(low + high) / 2).exp())


def scaled(fitted: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Fit a temperature on held-out images; return the calibration errors of other images.

    Args:
        fitted: Logits (m, K) and classes (m,) of the images on which the temperature is fitted.
        test: Logits (n, K) and classes (n,) of the images that are measured.

    Returns:
        `temperature`, and the errors at this temperature: the ECE `ece_scaled` in percent, and the
        NLL `nll_scaled` in nats.
    """
    temperature = fit_temperature(*fitted)
    log_p = F.log_softmax(test[0].double() / temperature, dim=1)
    return {
        "temperature": temperature,
        "ece_scaled": float(calibration_error(log_p.float(), test[1])),
        "nll_scaled": float(F.nll_loss(log_p, test[1])),
    }
