"""Classification by the k nearest training images."""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1000  # test images that are compared at once, to limit memory


def classify(train: tuple[Tensor, Tensor], test: Tensor, classes: int, k: int) -> Tensor:
    """Return, for each test image, the most frequent class of its k nearest training images.

    The nearest images are those with the largest cosine between their features and the test
    image's. Of equally frequent classes, the class with the largest sum of cosines is returned.

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
        # each vote counts 2k + 1; sums of k cosines differ by at most 2k, so they only break ties
        votes.scatter_add_(1, labels[nearest], 2 * k + 1 + cosines)
        predicted.append(votes.argmax(1))
    return torch.cat(predicted)
