"""Cross-entropy with the true labels: the term to which every method adds its own."""

import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features


class CE(Distiller):
    """L = -mean_i log softmax(z_s)_i[y_i].

    z_s are the student's logits, y the labels. The teacher is not looked at.
    """

    paper = (
        "Bridle. Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum "
        "Mutual Information Estimation of Parameters. NIPS 1989"
    )
    reads = ("logits",)
    taught = False

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean cross-entropy of the student's logits."""
        return F.cross_entropy(student.logits, batch.labels)
