"""Inference and metrics: networks run in the recipe's precision, metrics use float32 logits."""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data import Data, Split
from bench.data.views import View, evaluation
from bench.results.record import Numbers
from bench.spec import Recipe
from distillers import Features
from distillers.base import FeatureName

EVALUATION_BATCH = {"cpu": 64, "cuda": 500}  # images; on a CPU, 64 was fastest; 500 is a guess
ECE_BINS = 15


def autocast(device: torch.device, recipe: Recipe) -> AbstractContextManager[object]:
    """Return a context in which networks run in bfloat16 if that is the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


def float32(features: Features, reads: Collection[FeatureName]) -> Features:
    """Return features in float32, without the stages' maps unless `reads` names `stages`."""
    kept = features if "stages" in reads else replace(features, stages=())
    return kept.map(Tensor.float)


def compute(
    read: Callable[[Tensor], Features],
    images: Tensor,
    strong: Tensor | None,
    reads: Collection[FeatureName],
    recipe: Recipe,
) -> Features:
    """Compute a network's features of a batch, in float32.

    Args:
        read: The network.
        images: The batch's images, (B, 3, H, W).
        strong: A second, strongly augmented view of the images; its features become the field
            `strong`. None: no such view.
        reads: The fields of `Features` that distillers read.
        recipe: The training settings; only the precision is used.
    """
    with autocast(images.device, recipe):
        views = [read(view) for view in (images, strong) if view is not None]
    features, *second = (float32(view, reads) for view in views)
    return replace(features, strong=second[0]) if second else features


@torch.no_grad()
def predict(
    net: nn.Module, data: Data, split: Split, recipe: Recipe, view: View | None = None
) -> tuple[Tensor, Tensor]:
    """Compute a network's logits on a split of the data set, in eval mode.

    Args:
        net: The network, on the data's device.
        data: The data set.
        split: The images to use, such as `test`.
        recipe: The training settings; only the precision is used.
        view: The view of the images that the network sees; None: the images themselves.

    Returns:
        Logits (n, K) in float32 and labels (n,) of n images and K classes. The order of the images
        is always the same.
    """
    net.eval()
    logits, labels = [], []
    batch_size = EVALUATION_BATCH[data.train_labels.device.type]
    for images, batch_labels in evaluation(data, split, batch_size, view):
        with autocast(images.device, recipe):
            logits.append(net(images).logits.float())
        labels.append(batch_labels)
    return torch.cat(logits), torch.cat(labels)


def measure(
    logits: Tensor, labels: Tensor | None, teacher: Tensor | None = None
) -> dict[str, float]:
    """Compute all metrics of a network on a set of images.

    Args:
        logits: The network's logits (n, K) in float32, for n images and K classes.
        labels: The true classes (n,); None if they are unknown.
        teacher: The teacher's logits (n, K); None if there is no teacher.

    Returns:
        Each metric by name: the accuracies `top1` and `top5` and the calibration error `ece` in
        percent, and the negative log-likelihood `nll` in nats; they need labels. With a teacher,
        there are two more metrics: `agreement` is the percentage of images for which teacher and
        student predict the same class, and `kl` is the mean of KL(teacher ‖ student) in nats.
    """
    log_p = F.log_softmax(logits, dim=1)
    metrics = {}
    if labels is not None:
        metrics = {
            "top1": accuracy(logits, labels, 1),
            "top5": accuracy(logits, labels, 5),
            "nll": F.nll_loss(log_p, labels),
            "ece": calibration_error(log_p, labels),
        }
    if teacher is not None:
        log_q = F.log_softmax(teacher, dim=1)
        same = logits.argmax(1) == teacher.argmax(1)
        metrics["agreement"] = 100 * same.float().mean()
        metrics["kl"] = F.kl_div(log_p, log_q, log_target=True, reduction="batchmean")
    values = torch.stack(list(metrics.values())).tolist()
    return dict(zip(metrics, values, strict=True))


def accuracy(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return the top-k accuracy in percent, from logits (n, K) and labels (n,)."""
    return 100 * is_in_top(logits, labels, k).float().mean()


def is_in_top(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return whether each label (n,) is among the k classes with the highest logits (n, K)."""
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (top == labels[:, None]).any(1)


def calibration_error(log_p: Tensor, labels: Tensor) -> Tensor:
    """Return the expected calibration error (ECE) in percent.

    ECE = Σ_b n_b/n |accuracy_b - confidence_b|. The n images are sorted into 15 bins by confidence,
    the highest probability; all bins have the same width. Bin b holds n_b images, and accuracy_b
    and confidence_b are means over these images. Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017.

    Args:
        log_p: Log-probabilities (n, K) for K classes.
        labels: The true classes (n,).
    """
    confidence, predicted = log_p.exp().max(1)
    bins = (confidence * ECE_BINS).long().clamp(max=ECE_BINS - 1)
    gap = (predicted == labels).float() - confidence
    per_bin = torch.zeros(ECE_BINS, device=log_p.device).index_add(0, bins, gap)
    return 100 * per_bin.abs().sum() / len(labels)


def finite_or_none(value: float) -> float | None:
    """Return a finite value; None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def is_evaluation_due(recipe: Recipe, epoch: int) -> bool:
    """Return whether networks are evaluated after an epoch; epochs of training start at 1."""
    return epoch > 0 and (epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs)


class Evaluator:
    """Evaluates the networks of a cohort, which have the same precision, view and teacher.

    The teacher's logits on a split are computed once, at the first evaluation.

    Args:
        data: The data set.
        splits: The splits on which networks are evaluated.
        recipe: The training settings; only the precision is used.
        teacher: The teacher's network; None if there is no teacher.
        views: The views of the images that the networks and the teacher see.
    """

    def __init__(
        self,
        data: Data,
        splits: Sequence[Split],
        recipe: Recipe,
        teacher: nn.Module | None,
        views: tuple[View | None, View | None] = (None, None),
    ) -> None:
        self._data, self._splits, self._recipe, self._teacher = data, splits, recipe, teacher
        self._view, self._teacher_view = views
        self._teacher_logits: dict[Split, Tensor] = {}

    def evaluate(self, net: nn.Module) -> dict[str, Numbers]:
        """Return a network's metrics for each split; a metric that is not finite becomes None."""
        results: dict[str, Numbers] = {}
        for split in self._splits:
            if self._teacher is not None and split not in self._teacher_logits:
                view = self._teacher_view
                logits, _ = predict(self._teacher, self._data, split, self._recipe, view)
                self._teacher_logits[split] = logits
            logits, labels = predict(net, self._data, split, self._recipe, self._view)
            truth = None if self._data.facts.labels == "none" else labels
            values = measure(logits, truth, self._teacher_logits.get(split))
            results[split] = {name: finite_or_none(value) for name, value in values.items()}
        return results
