"""A memory bank with one embedding per training sample, and contrastive losses that use it.

CRD (`crd.py`) and WCoRD (`wcord.py`) share these parts: the bank, a sampler of negatives (samples
of other classes), and two losses. The losses take the log odds that a student's and a teacher's
embedding come from the same sample (a true pair).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers.base import Batch, Incompatible, NegativesFrom


class MemoryBank(nn.Module):
    """A running mean of each training sample's embedding: the buffer `rows` (N, width).

    The initial elements are uniform random numbers in ±a, and the initial rows are not normalised.
    With `unit_length`, a is √(3 / width), so a row's length is about 1, as in RepDistiller.
    Otherwise, a is √(1 / width), so a row's length is at most 1.

    Args:
        samples: N, the number of training samples.
        width: The size of an embedding.
        momentum: The weight of a row's old value in an update, from 0 to 1.
        rng: The random generator of the initial rows, on the bank's device.
        unit_length: Whether `update` scales the updated rows to length 1, as in CRD.
    """

    def __init__(
        self, samples: int, width: int, momentum: float, rng: torch.Generator, *, unit_length: bool
    ) -> None:
        super().__init__()
        self.momentum, self.unit_length = momentum, unit_length
        start = torch.rand(samples, width, generator=rng, device=rng.device).mul_(2).sub_(1)
        self.rows = nn.Buffer(start.mul_(((3 if unit_length else 1) / width) ** 0.5))

    def scores(self, anchor: Tensor, index: Tensor) -> Tensor:
        """Return the inner products of each anchor with the bank rows chosen for this anchor.

        Args:
            anchor: Embeddings of the batch, (B, width).
            index: The indices of the chosen rows, R per anchor, (B, R) int64.

        Returns:
            The scores, (B, R).
        """
        # The anchors are multiplied by all rows, and then the chosen scores are gathered. Gathering
        # the chosen rows first takes ten times as long. The backward pass needs a copy of `rows`,
        # because `update` changes `rows` before the backward pass.
        return (anchor @ self.rows.clone().T).gather(1, index)

    @torch.no_grad()
    def update(self, index: Tensor, embedding: Tensor) -> None:
        """Move the batch's rows towards new embeddings, in place.

        Args:
            index: The position of each sample in the training set, (B,) int64.
            embedding: The new embeddings, (B, width).
        """
        rows = self.rows[index].lerp(embedding, 1 - self.momentum)
        self.rows.index_copy_(0, index, F.normalize(rows, dim=1) if self.unit_length else rows)


class NegativeSampler(nn.Module):
    """Draw training samples whose class differs from a given class, without replacement.

    A draw has one row of M samples for each label. For any class sizes, all ordered choices of M
    samples of other classes have the same probability.

    A draw shuffles the N training samples once. Each row then walks through the shuffled samples
    with a random offset and a random stride coprime to N, and keeps the first M samples of other
    classes. Different offsets and strides make rows dissimilar. The number of steps is M plus the
    size of the largest class, so each walk finds M samples of other classes.

    Args:
        train_labels: The classes of all training samples, (N,) int64.
        negatives: M, the number of samples in each row of a draw.
        rng: The random generator, on the device of `train_labels`.
        owner: The distiller's name in a suite, for messages.
        source: `classes`, or `samples`: every sample counts as a class of its own, so that a row
            has M samples other than a given one, of any class, and labels are not used.

    Raises:
        Incompatible: The training set has fewer than M samples outside its largest class.
    """

    def __init__(
        self,
        train_labels: Tensor,
        negatives: int,
        rng: torch.Generator,
        owner: str,
        source: NegativesFrom = "classes",
    ) -> None:
        super().__init__()
        self.source = source
        if source == "samples":
            train_labels = torch.arange(len(train_labels), device=train_labels.device)
        samples, largest = len(train_labels), int(train_labels.bincount().max())
        if negatives > (most := samples - largest):
            fix = f"at most {most}, for example `options: {{{owner}: {{negatives: {most}}}}}`"
            allowed = f"{fix} in the suite" if most else "at least two classes"
            raise Incompatible(
                f"found negatives {negatives}, but only {most} training samples are outside the "
                f"largest class. Allowed: {allowed}"
            )
        self.rng, self.negatives, self.steps = rng, negatives, negatives + largest
        numbers = torch.arange(1, samples + 1, device=train_labels.device)
        coprime = numbers[torch.gcd(numbers, torch.tensor(samples)) == 1]
        self.train_labels = nn.Buffer(train_labels, persistent=False)
        self.strides = nn.Buffer(coprime, persistent=False)

    def of(self, batch: Batch) -> Tensor:
        """Draw M samples for each sample of a batch; see `forward`."""
        groups = batch.index if self.source == "samples" else batch.labels
        return self.forward(groups)

    def forward(self, labels: Tensor) -> Tensor:
        """Draw M samples of other classes for each label.

        In evaluation mode the generator's state does not change, so equal calls give equal draws.

        Args:
            labels: Classes, (B,) int64; for the source `samples`, positions in the training set.

        Returns:
            Positions in the training set, (B, M) int64.
        """
        rng = self.rng if self.training else self.rng.clone_state()
        samples, device = len(self.train_labels), labels.device
        size = (len(labels), 1)
        shuffled = torch.randperm(samples, generator=rng, device=device)
        stride = self.strides[torch.randint(len(self.strides), size, generator=rng, device=device)]
        offset = torch.randint(samples, size, generator=rng, device=device)
        walk = (stride * torch.arange(self.steps, device=device) + offset) % samples  # (B, steps)
        eligible = self.train_labels[shuffled][walk] != labels[:, None]
        # The first M eligible samples of a row fill its columns in order. All other samples go to
        # an extra last column, which is dropped. No tensor's size depends on data, so the CPU does
        # not wait for the GPU.
        column = torch.where(eligible, eligible.cumsum(1) - 1, self.negatives)
        column = column.clamp(max=self.negatives)
        rows = torch.empty(len(labels), self.negatives + 1, dtype=torch.long, device=device)
        return rows.scatter_(1, column, shuffled[walk])[:, :-1]


def log_odds(scores: Tensor, z: Tensor, samples: int, *, store_z: bool) -> Tensor:
    """Return the log odds that each pair of embeddings is a true pair, i.e. of one sample.

    The log odds are log(p / (M / N)) with p = exp(scores) / Z. Z is a normalising constant, M the
    number of negatives per sample.
    Their sigmoid is the critic h in eq. 19 of the CRD paper.

    Args:
        scores: Inner products divided by the temperature, (B, 1+M). Column 0 is the true pair.
        z: The buffer of Z, a scalar. While the buffer is 0, Z is N times the mean of exp(scores).
        samples: N, the number of training samples.
        store_z: Whether to store Z in the buffer.

    Returns:
        The log odds, (B, 1+M).
    """
    with torch.no_grad():
        constant = torch.where(z > 0, z, scores.exp().mean() * samples)
        if store_z:
            z.copy_(constant)
        shift = (constant * (scores.shape[1] - 1) / samples).log()
    return scores - shift


def nce_loss(odds: Tensor) -> Tensor:
    """Return the loss of noise-contrastive estimation, -mean_i [log h_i0 + Σ_k log(1 - h_ik)].

    i is a sample, and k = 1…M one of its negatives.

    Args:
        odds: Log odds, (B, 1+M). Column 0 is the true pair; h (B, 1+M) is the sigmoid of `odds`.

    Returns:
        A scalar.
    """
    return (F.softplus(-odds[:, 0]) + F.softplus(odds[:, 1:]).sum(1)).mean()


def kr_loss(odds: Tensor) -> Tensor:
    """Return the Kantorovich-Rubinstein loss, -mean_i [h_i0 - Σ_k h_ik].

    i is a sample, and k = 1…M one of its negatives.

    Args:
        odds: Log odds, (B, 1+M). Column 0 is the true pair; h (B, 1+M) is the sigmoid of `odds`.

    Returns:
        A scalar.
    """
    return (odds[:, 1:].sigmoid().sum(1) - odds[:, 0].sigmoid()).mean()
