"""SemCKD: each student's stage learns from all the teacher's stages, weighted by attention."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._maps import bottleneck, same_size
from distillers.base import Batch, BatchSize, Distiller, Features, Incompatible, Setting


class SemCKD(Distiller):
    """L = 1 / (B S_s) · Σ_n Σ_ij w_nij · mean (φ_ij(f_i) - f_j)²_n.

    f_i (B, C_s, H_s, W_s) is stage i = 1…S_s of the student, f_j (B, C_t, H_t, W_t) stage j = 1…S_t
    of the teacher, n a sample. The mean is over channels and positions. Both maps are
    average-pooled to the smaller height and the smaller width. The regressor φ_ij consists of
    convolutions of 1 x 1, 3 x 3 and 1 x 1 without bias, which output 2 C_t, 2 C_t and C_t channels.
    A batch norm and a ReLU follow each of the first two convolutions. The S_s · S_t regressors of
    large networks have tens of millions of parameters.

    The attention w_nij = softmax_j <q_ni, k_nj> compares a query (B, ⌊b/4⌋) of stage i with a key
    (B, ⌊b/4⌋) of stage j. Queries and keys are computed from the similarities f fᵀ (B, B) between
    the samples' flattened maps f (B, C·H·W). The steps are a linear layer to 2·⌊b/4⌋ values, a
    ReLU, a linear layer to ⌊b/4⌋ values, and scaling to length 1. The similarities f fᵀ are not
    scaled, so they grow with the size of the maps.

    The first linear layer has the input size b, the number of samples in a full batch. In a smaller
    batch, such as the last one of an epoch, the similarities to missing samples are 0. For a larger
    batch, the loss is not defined.

    Source: the code of the authors (DefangChen/SemCKD, DefangChen/SimKD), which adds the loss, with
    the weight 400, to the cross-entropy and to kd with the weight 1.
    Unlike the authors' code, this loss does not skip smaller batches. A query or key of length 0
    stays 0 instead of becoming NaN. The second embedding network in the authors' code is left out,
    because that code does not use this network.

    Args:
        setting: The two networks' shapes.
        batch_size: b, the recipe's batch size, from 4 to 65536; 64 by default.

    Raises:
        Incompatible: A network has no stages. `forward` raises this error for a batch of more than
            b samples.
    """

    paper = (
        "Chen, Mei, Zhang, Wang, Wang, Feng, Chen. Cross-Layer Distillation with Semantic "
        "Calibration. AAAI 2021. arXiv:2012.03236"
    )
    formula = (
        r"L = \frac{1}{B \, S_s} \sum_n \sum_{i,j} w_{nij} \operatorname{mean} \, ( "
        r"\varphi_{ij}(f_i) - f_j )_n^2, \quad w_{nij} = \operatorname{softmax}_j \langle "
        r"q_{ni}, k_{nj} \rangle",
    )
    reads = ("stages",)
    relational = True

    def __init__(self, setting: Setting, *, batch_size: BatchSize = 64) -> None:
        super().__init__(setting)
        s, t = setting.student.stages, setting.teacher.stages
        if not s or not t:
            raise Incompatible(
                f"the student has {len(s)} stages, the teacher {len(t)}: both need at least 1"
            )
        self.batch_size = batch_size
        self.query = nn.ModuleList(_embedding(batch_size) for _ in s)
        self.key = nn.ModuleList(_embedding(batch_size) for _ in t)
        self.regress = nn.ModuleList(
            nn.Sequential(*bottleneck(c_s, 2 * c_t, c_t)) for (c_s, *_), (c_t, *_) in product(s, t)
        )

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over pairs of stages, averaged over samples and the student's stages."""
        attention = self.attention(student, teacher)
        pairs = product(student.stages, teacher.stages)
        distances = [_distance(regress, *p) for regress, p in zip(self.regress, pairs, strict=True)]
        return (attention * torch.stack(distances, 1).view_as(attention)).sum(2).mean()

    def attention(self, student: Features, teacher: Features) -> Tensor:
        """Return the weights w (B, S_s, S_t), whose sum over the teacher's stages is 1.

        Args:
            student: The student's features.
            teacher: The teacher's features.
        """
        queries = self._embed(student, self.query)  # (B, S_s, b/4)
        keys = self._embed(teacher, self.key)
        return (queries @ keys.transpose(1, 2)).softmax(2)

    def _embed(self, features: Features, embeddings: nn.ModuleList) -> Tensor:
        rows = [stage.flatten(1) for stage in features.stages]
        absent = self.batch_size - len(rows[0])
        if absent < 0:
            raise Incompatible(
                f"a batch has {len(rows[0])} samples, the option batch_size is {self.batch_size}: "
                "set batch_size to the recipe's batch size"
            )
        similarities = [F.pad(row @ row.T, (0, absent)) for row in rows]  # (B, b)
        embedded = [embed(x) for embed, x in zip(embeddings, similarities, strict=True)]
        return F.normalize(torch.stack(embedded, 1), dim=2)


def _embedding(batch_size: int) -> nn.Module:
    width = batch_size // 4
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


def _distance(regress: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """Return each sample's mean squared error (B,) in the prediction of a teacher's stage."""
    source, target = same_size(student, teacher)
    error: Tensor = regress(source) - target
    return error.square().flatten(1).mean(1)
