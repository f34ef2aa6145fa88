"""Classification by the k nearest training images."""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1000  # test images that are compared at once, to limit memory


def classify(train: tuple[Tensor, Tensor], test: Tensor, classes: int, k: int) -> Tensor:
    """Return the most frequent class of the k training images with the largest cosine.

    Of classes that are equally frequent, the one with the largest sum of cosines wins.

    Args:
        train: Features (n, D) and classes (n,) of the training images.
        test: Features of the test images (m, D).
        classes: Number of classes K.
        k: Number of neighbours; at most n are used.

    Returns:
        The predicted classes (m,).
    """
    x, labels = F.normalize(train[0].double(), dim=1), train[1]
    k = min(k, len(labels))
    predicted = []
    for block in torch.split(F.normalize(test.double(), dim=1), BLOCK):
        cosines, nearest = (block @ x.T).topk(k, dim=1)
        votes = torch.zeros(len(block), classes, dtype=torch.float64, device=x.device)
        # 2k + 1 a vote: sums of k cosines differ by at most 2k, so they only break ties
        votes.scatter_add_(1, labels[nearest], 2 * k + 1 + cosines)
        predicted.append(votes.argmax(1))
    return torch.cat(predicted)
