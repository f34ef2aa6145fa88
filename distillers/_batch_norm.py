"""Batch norm that also accepts a single value per channel."""

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of pooled features (B, C) or feature maps (B, C, H, W).

    A single value per channel, as in the pooled features of one sample, has no variance. Such a
    batch is normalised by the running mean and variance, as in evaluation mode, and does not change
    them. For all other batches, the results equal those of PyTorch's batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised features, with the shape of the input."""
        if self.training and input.numel() == self.num_features:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(input, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept an input of any number of dimensions."""
