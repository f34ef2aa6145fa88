"""Multinomial logistic regression, trained to convergence, with a chosen L2 penalty."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.subset import rank
from bench.measures.accuracy import top1

PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(11))  # 1 to 1e-5, strongest first
HELD_OUT = 10  # one of 10 training images of each class is held out to choose the penalty
MAX_GRADIENT = 1e-6  # the training ends when no element of the gradient is larger
MAX_ITERATIONS = 2000
Beat = Callable[[], object]


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of standardised features: logits = ((x - mean) / scale) Wᵀ + b.

    Attributes:
        mean: Mean of each feature (D,) over the training images.
        scale: Standard deviation of each feature (D,); 1 for a constant feature.
        weight: W, (K, D).
        bias: b, (K,).
        gradient: Largest absolute element of the loss's gradient at the end of the training.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    gradient: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (n, K) in float64 of features (n, D)."""
        return F.linear((x.double() - self.mean) / self.scale, self.weight, self.bias)


def fit(
    x: Tensor,
    labels: Tensor,
    classes: int,
    penalty: float,
    start: Classifier | None = None,
    beat: Beat = _nothing,
) -> Classifier:
    """Minimise mean cross-entropy + penalty / 2 · ‖W‖², with L-BFGS in float64.

    Features are standardised first. The bias has no penalty. scikit-learn's
    `LogisticRegression(C=1 / (penalty * n))` has the same minimum.

    Args:
        x: Features (n, D).
        labels: Classes (n,).
        classes: Number of classes K.
        penalty: Factor of the L2 penalty.
        start: A classifier of the same features, whose W and b are the initial values; None: zeros.
        beat: Function that is called at each iteration.
    """
    x = x.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)
    x = (x - mean) / scale
    weight = start.weight.clone() if start else x.new_zeros(classes, x.shape[1])
    bias = start.bias.clone() if start else x.new_zeros(classes)
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    search = torch.optim.LBFGS(
        parameters,
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=MAX_GRADIENT,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), labels)
        value = value + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        beat()
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    loss()
    gradient = max(float(each.grad.abs().max()) for each in parameters if each.grad is not None)
    return Classifier(mean, scale, weight.detach(), bias.detach(), gradient)


def held_out(labels: Tensor) -> Tensor:
    """Return a mask (n,) of the images, a tenth of each class, on which penalties are compared.

    Of a class with 2 to 9 images, one image is held out; of a class with one image, none. The
    choice depends only on the labels and their order.
    """
    labels = labels.cpu()
    counts = labels.bincount()[labels]
    tenth = (counts // HELD_OUT).clamp(min=1).where(counts > 1, torch.zeros_like(counts))
    return rank(labels) >= counts - tenth


def choose_penalty(x: Tensor, labels: Tensor, classes: int, beat: Beat = _nothing) -> float:
    """Return the penalty of `PENALTIES` with the highest accuracy on held-out training images.

    Of penalties with equal accuracy, the strongest is chosen.

    Args:
        x: Features of the training images (n, D).
        labels: Their classes (n,).
        classes: Number of classes K.
        beat: Function that is called at each iteration.
    """
    choosing = held_out(labels).to(labels.device)
    kept = torch.logical_not(choosing)
    best, highest, classifier = PENALTIES[0], -1.0, None
    for penalty in PENALTIES:  # each fit starts from the one before
        classifier = fit(x[kept], labels[kept], classes, penalty, classifier, beat)
        accuracy = (
            top1(classifier(x[choosing]).argmax(1), labels[choosing])
            if bool(choosing.any())
            else 0.0
        )
        if accuracy > highest:
            best, highest = penalty, accuracy
    return best


def classify(
    train: tuple[Tensor, Tensor], test: Tensor, classes: int, beat: Beat = _nothing
) -> tuple[Tensor, dict[str, float]]:
    """Choose the penalty, train on all training images, and predict the classes of test images.

    Args:
        train: Features (n, D) and classes (n,) of the training images.
        test: Features of the test images (m, D).
        classes: Number of classes K.
        beat: Function that is called at each iteration.

    Returns:
        The predicted classes (m,), and a dictionary with the penalty (`l2`) and the attribute
        `gradient` of the classifier.
    """
    penalty = choose_penalty(*train, classes, beat)
    classifier = fit(*train, classes, penalty, beat=beat)
    return classifier(test).argmax(1), {"l2": penalty, "gradient": classifier.gradient}
