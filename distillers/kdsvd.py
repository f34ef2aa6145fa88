"""Distillation of singular vectors: match how a map's singular vectors change between stages."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Count, Distiller, Features, Incompatible, Setting

EXTRA = 3  # the most similar vectors are chosen from the student's first k + EXTRA vectors
VARIANCE = 8.0  # divisor of the squared difference in R
RELATIVE_GAP = 1e-4  # eigenvalues that differ by less, relative to the largest, count as close
MIN_EIGENVALUE = 1e-12


class KDSVD(Distiller):
    """L = (1/B) Σ_l Σ_abr (R_s - R_t)²_l,abr, R_l,abr = exp(-(v_l,ar - v_{l-1},br)² / 8).

    v_l (B, W_l, k) are the first k right singular vectors of stage l's feature map, as a matrix
    (C·H, W_l) for each sample; r = 1…k is a vector, a and b are columns of the maps. Vector r of
    both networks is multiplied by the teacher's singular value r. Before this, the k singular
    values of a sample are scaled to length 1. R_l (B, W_l, W_{l-1}, k) compares all entries of the
    vectors of two consecutive stages. For each vector of the teacher, the loss uses the most
    similar of the student's first k + 3 vectors, with the sign that makes their inner product
    positive.

    Source: the distillation loss of the paper, as in the ports in RepDistiller and in mdistiller
    (the code of DKD's authors); both ports give the loss the weight 1.
    Unlike in the ports, the gradient is bounded where singular values coincide or are 0. The ports
    differentiate an SVD and replace NaN by 0.
    The solver of the SVD determines the signs of the teacher's vectors, as in the ports, and R
    depends on the signs. Where a map has negative values, the loss may therefore differ between a
    CPU and a GPU. The solver makes the CPU wait for the GPU, so a CUDA graph cannot contain this
    loss.

    Args:
        setting: The two networks' shapes.
        rank: k, at least 1; 1 by default.

    Raises:
        Incompatible: The networks have different numbers of stages or stages of different widths,
            fewer than two stages, or a map narrower than k.
    """

    paper = (
        "Lee, Kim, Song. Self-Supervised Knowledge Distillation Using Singular Value "
        "Decomposition. ECCV 2018. arXiv:1807.06819"
    )
    formula = (
        r"L = \frac{1}{B} \sum_l \sum_{a,b,r} (R_s - R_t)_{l,abr}^2, \quad R_{l,abr} = \exp "
        r"\left( -\frac{(v_{l,ar} - v_{l-1,br})^2}{8} \right)",
    )
    reads = ("stages",)

    def __init__(self, setting: Setting, *, rank: Count = 1) -> None:
        super().__init__(setting)
        self.rank = rank
        s, t = ([w for _, _, w in shapes.stages] for shapes in (setting.student, setting.teacher))
        if s != t:
            raise Incompatible(f"maps of widths {s} and {t}: both networks need the same widths")
        if len(s) < 2:
            raise Incompatible(f"the networks have {len(s)} stage: the loss compares two or more")
        if min(s) < rank:
            raise Incompatible(f"rank {rank} is above {min(s)}, the width of the narrowest map")

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over pairs of consecutive stages, averaged over samples."""
        vectors = [self.aligned(s, t) for s, t in zip(student.stages, teacher.stages, strict=True)]
        losses = [
            (_relation(*pair_s) - _relation(*pair_t)).square().sum()
            for pair_s, pair_t in (
                ((s_before, s), (t_before, t))
                for (s_before, t_before), (s, t) in zip(vectors[:-1], vectors[1:], strict=True)
            )
        ]
        return torch.stack(losses).sum() / len(student.stages[0])

    def aligned(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled singular vectors (B, W, k) of one stage of both networks.

        Args:
            student: The student's feature map, (B, C_s, H_s, W).
            teacher: The teacher's feature map, (B, C_t, H_t, W).
        """
        v_t, values = _right_vectors(teacher, self.rank)
        v_s, _ = _right_vectors(student, self.rank + EXTRA)
        cosine = (v_s.mT @ v_t).detach()  # (B, up to k+3, k)
        best = cosine.abs().argmax(1, keepdim=True)
        choice = torch.zeros_like(cosine).scatter(1, best, cosine.gather(1, best).sign())
        scale = F.normalize(values, dim=1)[:, None]  # (B, 1, k)
        return v_s @ choice * scale, v_t * scale


def _relation(before: Tensor, after: Tensor) -> Tensor:
    """Return R (B, W, W', k) for the vectors (B, W', k) of a stage and (B, W, k) of the next."""
    return (-(after[:, :, None] - before[:, None]).square() / VARIANCE).exp()


def _right_vectors(stage: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return a map's first right singular vectors (B, W, count) and singular values (B, count).

    The map is a matrix X (C·H, W) for each sample; v and λ are the eigenvectors and eigenvalues of
    G = XᵀX. The gradient follows from first-order perturbation theory: if G changes by dG, v_i
    changes by Σ_j≠i v_j (v_jᵀ dG v_i) / (λ_i - λ_j). The factor 1 / (λ_i - λ_j) is bounded here.
    """
    x = stage.flatten(1, 2)  # (B, C·H, W)
    full = x.shape[1] < x.shape[2]  # all W vectors are needed
    _, values, transposed = torch.linalg.svd(x.detach(), full_matrices=full)
    basis = transposed.mT
    first = basis[..., :count]
    eigenvalues = F.pad(values.square(), (0, x.shape[2] - values.shape[1]))  # (B, W)
    gap = eigenvalues[:, None, : first.shape[2]] - eigenvalues[:, :, None]
    bound = (RELATIVE_GAP * eigenvalues[:, :1, None]).clamp(min=MIN_EIGENVALUE)
    change = (x @ basis).mT @ (x @ first)  # (B, W, count)
    change = (change - change.detach()) * gap / (gap.square() + bound.square())
    return first + basis @ change, values[:, :count]
