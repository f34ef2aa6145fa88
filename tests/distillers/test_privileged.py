"""The four synthetic cases of generalised distillation, with this package's KD and CE.

Lopez-Paz et al., Unifying distillation and privileged information, ICLR 2016, arXiv:1511.03643:
logistic regression, 200 training samples, 50 features. The teacher sees x*, the student x. The
paper's accuracies in percent (teacher, student alone, distilled) are in `CASES`.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import distillers
from distillers import Batch, Features, Setting, Shapes

SAMPLES, TESTED, WIDTH, RELEVANT, REPETITIONS = 200, 1000, 50, 3, 40
DECAY = 5e-3  # of the weights' squares, about scikit-learn's default for 200 samples
GAIN = 2.0  # percentage points: smaller differences do not count as a gain
Draw = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor, Tensor]]


def clean_labels(x: Tensor, alpha: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """x* is the distance to the separating plane; labels are noisy."""
    distance = (x * alpha).sum(-1, keepdim=True)
    noise = torch.randn(distance.shape, generator=rng, dtype=x.dtype)
    return distance, x, (distance + noise)[..., 0] > 0


def clean_features(x: Tensor, alpha: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """x* is x without noise."""
    noise = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    return x, x + noise, (x * alpha).sum(-1) > 0


def relevant(x: Tensor, alpha: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """x* is the three relevant features, the same for each sample."""
    seen = x[..., :RELEVANT]
    return seen, x, (seen * alpha[..., :RELEVANT]).sum(-1) > 0


def relevant_per_sample(
    x: Tensor, alpha: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """x* is three relevant features, others for each sample."""
    chosen = torch.rand(x.shape, generator=rng).argsort(-1)[..., :RELEVANT]
    seen = x.gather(-1, chosen)
    return seen, x, (seen * alpha[..., :RELEVANT]).sum(-1) > 0


CASES: dict[str, tuple[Draw, tuple[int, int, int], bool]] = {
    "clean labels": (clean_labels, (96, 88, 95), True),
    "clean features": (clean_features, (90, 68, 70), False),
    "relevant features": (relevant, (98, 89, 97), True),
    "relevant features of each sample": (relevant_per_sample, (96, 55, 56), False),
}


def setting() -> Setting:
    shapes = Shapes((), pooled=WIDTH, logits=2)
    return Setting(shapes, shapes, torch.arange(SAMPLES) % 2, torch.Generator())


def logits(x: Tensor, weights: Tensor) -> Tensor:
    return x @ weights[:, :-1] + weights[:, -1:]


def features(x: Tensor) -> Features:
    return Features((), x, x.flatten(0, 1))


def fit(x: Tensor, loss: distillers.Distiller, labels: Tensor, teacher: Tensor) -> Tensor:
    """Return weights (R, D + 1, 2) of a logistic regression for each of R repetitions."""
    weights = torch.zeros(len(x), x.shape[-1] + 1, 2, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")
    batch = Batch(labels.flatten(), torch.arange(labels.numel()))

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(features(logits(x, weights)), features(teacher), batch)
        total = value + DECAY / 2 * weights[:, :-1].square().sum() / len(x)
        total.backward()
        return total

    optimizer.step(closure)
    return weights.detach()


def accuracies(draw: Draw) -> list[Tensor]:
    """Return the test accuracies (R,) of the teacher, the student alone, the distilled student."""
    rng = torch.Generator().manual_seed(0)
    count = SAMPLES + TESTED
    x = torch.randn(REPETITIONS, count, WIDTH, generator=rng, dtype=torch.float64)
    alpha = torch.randn(REPETITIONS, 1, WIDTH, generator=rng, dtype=torch.float64)
    privileged, x, labels = draw(x, alpha, rng)
    train, test = slice(None, SAMPLES), slice(SAMPLES, None)
    truth = labels.long()
    ce, kd = distillers.load("ce")(setting()), distillers.load("kd")(setting(), temperature=1.0)
    unused = torch.zeros(REPETITIONS, SAMPLES, 2, dtype=x.dtype)
    teacher = fit(privileged[:, train], ce, truth[:, train], unused)
    targets = logits(privileged[:, train], teacher)
    student = fit(x[:, train], ce, truth[:, train], unused)
    distilled = fit(x[:, train], kd, truth[:, train], targets)
    return [
        100 * (logits(seen[:, test], weights).argmax(-1) == truth[:, test]).double().mean(1)
        for seen, weights in ((privileged, teacher), (x, student), (x, distilled))
    ]


@pytest.mark.parametrize("case", CASES)
def test_privilege_helps_only_where_it_must(case: str) -> None:
    """The 99 % confidence interval of the paired gain is above, or below, `GAIN` points."""
    draw, published, helps = CASES[case]
    teacher, student, distilled = accuracies(draw)
    assert abs(float(teacher.mean()) - published[0]) < 4
    gains = distilled - student
    margin = 2.71 * gains.std() / len(gains) ** 0.5  # Student's t with 39 degrees of freedom
    low, high = float(gains.mean() - margin), float(gains.mean() + margin)
    assert low > GAIN if helps else high < GAIN, (low, high)
    assert student.mean() < teacher.mean()
