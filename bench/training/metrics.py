"""What is measured of a network on a set of images. All of it from logits, in float32."""

import torch
import torch.nn.functional as F
from torch import Tensor

ECE_BINS = 15


def measure(logits: Tensor, labels: Tensor, teacher: Tensor | None = None) -> dict[str, float]:
    """The metrics of logits (n, K) against labels (n,) and, if given, a teacher's logits (n, K).

    `top1`, `top5`, `ece` and `agreement` are percentages, `nll` and `kl` nats:
    agreement is how often both predict the same class, kl is mean KL(teacher ‖ student).
    """
    log_p = F.log_softmax(logits, dim=1)
    found = {
        "top1": accuracy(logits, labels, 1),
        "top5": accuracy(logits, labels, 5),
        "nll": F.nll_loss(log_p, labels),
        "ece": calibration_error(log_p, labels),
    }
    if teacher is not None:
        log_q = F.log_softmax(teacher, dim=1)
        same = logits.argmax(1) == teacher.argmax(1)
        found["agreement"] = 100 * same.float().mean()
        found["kl"] = F.kl_div(log_p, log_q, log_target=True, reduction="batchmean")
    values = torch.stack(list(found.values())).tolist()
    return dict(zip(found, values, strict=True))


def accuracy(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """How often the label is among the k highest of logits (n, K), in percent."""
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return 100 * (top == labels[:, None]).any(1).float().mean()


def calibration_error(log_p: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error over 15 equal bins of confidence, in percent.

    ECE = Σ_b n_b/n |accuracy_b - confidence_b|. Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017; log_p (n, K) are log-probabilities, labels (n,).
    """
    confidence, predicted = log_p.exp().max(1)
    bins = (confidence * ECE_BINS).long().clamp(max=ECE_BINS - 1)
    gap = (predicted == labels).float() - confidence
    per_bin = torch.zeros(ECE_BINS, device=log_p.device).index_add(0, bins, gap)
    return 100 * per_bin.abs().sum() / len(labels)
