"""A memory of one embedding for each training sample, and contrast against it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._base import Incompatible


class Bank(nn.Module):
    """A running mean of each training sample's embedding, `rows` (N, width).

    With `unit` the rows get length 1 whenever they are updated, as CRD's do; otherwise they are
    plain means. They start uniform: with `unit` in ±√(3 / width), of length about 1, not exactly
    (RepDistiller); otherwise in ±√(1 / width), of length at most 1.
    """

    rows: Tensor

    def __init__(
        self, samples: int, width: int, momentum: float, rng: torch.Generator, *, unit: bool
    ) -> None:
        super().__init__()
        self.momentum, self.unit = momentum, unit
        start = torch.rand(samples, width, generator=rng, device=rng.device).mul_(2).sub_(1)
        self.register_buffer("rows", start.mul_(((3 if unit else 1) / width) ** 0.5))

    def scores(self, anchor: Tensor, rows: Tensor) -> Tensor:
        """Inner products of anchor (B, width) with its own choice of rows (B, R): (B, R).

        One product with the whole bank, then a choice of numbers: a tenth of the time of choosing
        embeddings. The bank is copied since `update` comes before the backward pass.
        """
        return (anchor @ self.rows.clone().T).gather(1, rows)

    @torch.no_grad()
    def update(self, index: Tensor, embedding: Tensor) -> None:
        """Move the rows at index (B,) towards embedding (B, width)."""
        rows = self.rows[index].lerp(embedding, 1 - self.momentum)
        self.rows.index_copy_(0, index, F.normalize(rows, dim=1) if self.unit else rows)


class OtherClasses(nn.Module):
    """Draws training samples of other classes than a given one, without replacement.

    Each row of a draw is an exactly uniform choice, in uniform order, for any sizes of classes.
    The whole training set is shuffled once a draw; each row then walks through it from an offset
    and by a stride of its own, prime to N, so that rows have little in common, and keeps the first
    M of other classes. A walk is long enough to pass over the largest class.
    """

    train_labels: Tensor
    strides: Tensor

    def __init__(self, train_labels: Tensor, negatives: int, rng: torch.Generator) -> None:
        super().__init__()
        samples, largest = len(train_labels), int(train_labels.bincount().max())
        if negatives > samples - largest:
            raise Incompatible(
                f"{negatives} negatives are asked for, but a sample of the largest class has only "
                f"{samples - largest} of other classes in the training set"
            )
        self.rng, self.negatives, self.walk = rng, negatives, negatives + largest
        numbers = torch.arange(1, samples + 1, device=train_labels.device)
        coprime = numbers[torch.gcd(numbers, torch.tensor(samples)) == 1]
        self.register_buffer("train_labels", train_labels, persistent=False)
        self.register_buffer("strides", coprime, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Places (B, M) in the training set, none of the class labels (B,); pure in eval mode."""
        rng = self.rng if self.training else self.rng.clone_state()
        samples, device = len(self.train_labels), labels.device
        size = (len(labels), 1)
        shuffled = torch.randperm(samples, generator=rng, device=device)
        stride = self.strides[torch.randint(len(self.strides), size, generator=rng, device=device)]
        offset = torch.randint(samples, size, generator=rng, device=device)
        steps = (stride * torch.arange(self.walk, device=device) + offset) % samples  # (B, walk)
        other = self.train_labels[shuffled][steps] != labels[:, None]
        place = torch.where(other, other.cumsum(1) - 1, self.negatives).clamp(max=self.negatives)
        kept = torch.empty(len(labels), self.negatives + 1, dtype=torch.long, device=device)
        return kept.scatter_(1, place, shuffled[steps])[:, :-1]  # the last column takes the rest


def log_odds(scores: Tensor, z: Tensor, samples: int, *, learn: bool) -> Tensor:
    """log(p / (M / N)) with p = exp(scores) / Z, of scores (B, 1+M), the true pair's first.

    Its sigmoid is the critic h = p / (p + M / N) (CRD eq. 19). z is the buffer of Z: while it is 0
    the scores' mean exponential times N serves, and stays if `learn`.
    """
    with torch.no_grad():
        now = torch.where(z > 0, z, scores.exp().mean() * samples)
        if learn:
            z.copy_(now)
        shift = (now * (scores.shape[1] - 1) / samples).log()
    return scores - shift


def noise_contrast(odds: Tensor) -> Tensor:
    """-mean_i [log h_i0 + Σ_k log(1 - h_ik)] of log odds (B, 1+M), the true pair's first."""
    return (F.softplus(-odds[:, 0]) + F.softplus(odds[:, 1:]).sum(1)).mean()


def dual_gap(odds: Tensor) -> Tensor:
    """-mean_i [h_i0 - Σ_k h_ik] of log odds (B, 1+M), the true pair's first."""
    return (odds[:, 1:].sigmoid().sum(1) - odds[:, 0].sigmoid()).mean()
