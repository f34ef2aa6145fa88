"""Mixup, CutMix and label smoothing, compared with timm and with their definitions."""

import pytest
import torch
from timm.data.mixup import mixup_target

from bench.data.mixing import Mixing, batch_rng
from distillers import Batch

B, K, S = 6, 5, 8
IMAGES = torch.rand(B, 3, S, S, generator=torch.Generator().manual_seed(0)).contiguous(
    memory_format=torch.channels_last
)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
BATCH = Batch(LABELS, torch.arange(B))


def mixed(mixup=0.0, cutmix=0.0, smoothing=0.0, number=0, strong=None):
    return Mixing(mixup, cutmix, smoothing, K)(IMAGES, BATCH, strong, batch_rng(0, 1, number))


def ratio_of(targets):
    """λ of a batch: image 0 has class 0, and its partner, image 5, too; image 1 has class 1."""
    return float(targets[1, 1])


def test_nothing_changes_if_all_are_off():
    images, batch, strong = mixed(strong=IMAGES)
    assert images is strong is IMAGES
    assert batch is BATCH


def test_smoothing_changes_only_the_targets():
    images, batch, _ = mixed(smoothing=0.1)
    assert images is IMAGES
    assert torch.allclose(batch.targets, mixup_target(LABELS, K, 1.0, 0.1))
    assert torch.allclose(batch.targets[2], torch.tensor([0.02, 0.02, 0.92, 0.02, 0.02]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixup_adds_the_batch_in_reverse_order(smoothing):
    ratios = set()
    for number in range(20):
        images, batch, strong = mixed(0.8, 0.0, smoothing, number, IMAGES + 1)
        _, plain, _ = mixed(0.8, 0.0, 0.0, number)
        ratio = ratio_of(plain.targets)
        assert torch.allclose(images, ratio * IMAGES + (1 - ratio) * IMAGES.flip(0))
        assert torch.allclose(strong, images + 1)
        assert torch.allclose(batch.targets, mixup_target(LABELS, K, ratio, smoothing))
        assert torch.allclose(batch.targets.sum(1), torch.ones(B))
        assert images.is_contiguous(memory_format=torch.channels_last)
        ratios.add(ratio)
    assert len(ratios) == 20


def test_cutmix_replaces_a_box_and_corrects_the_ratio():
    areas = set()
    for number in range(50):
        images, batch, strong = mixed(cutmix=1.0, number=number, strong=IMAGES + 1)
        kept = (images == IMAGES).all(1)
        assert torch.equal(images, torch.where(kept[:, None], IMAGES, IMAGES.flip(0)))
        rows, columns = (~kept).any(2), (~kept).any(1)
        assert torch.equal(rows[:, :, None] & columns[:, None], ~kept)
        assert torch.equal(kept, kept[:1].expand_as(kept)), "one box for the batch"
        assert ratio_of(batch.targets) == pytest.approx(float(kept[0].float().mean()))
        assert torch.equal(strong, images + 1)
        assert images.is_contiguous(memory_format=torch.channels_last)
        areas.add(int(kept[0].sum()))
    assert len(areas) > 8


def test_half_of_the_batches_have_cutmix_if_both_are_on():
    cut = [bool((mixed(0.8, 1.0, number=n)[0] == IMAGES).any()) for n in range(400)]
    assert 0.4 < sum(cut) / 400 < 0.6


def test_ratios_have_the_beta_distribution():
    for alpha in (0.2, 1.0):
        ratios = torch.tensor([ratio_of(mixed(alpha, number=n)[1].targets) for n in range(1000)])
        assert float(ratios.mean()) == pytest.approx(0.5, abs=0.05)
        assert float(ratios.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_draws_depend_only_on_names():
    first, again, other = (mixed(0.8, number=n)[1].targets for n in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert batch_rng(0, 1, 0).random() != batch_rng(0, 2, 0).random() != batch_rng(1, 1, 0).random()


def test_a_batch_of_one_image_and_odd_batches_are_mixed():
    batch = Batch(LABELS[:3], torch.arange(3))
    images, mixture, _ = Mixing(1.0, 0.0, 0.0, K)(IMAGES[:3], batch, None, batch_rng(0, 0, 0))
    assert torch.allclose(images[1], IMAGES[1])
    assert torch.allclose(mixture.targets[1], torch.eye(K)[1])
