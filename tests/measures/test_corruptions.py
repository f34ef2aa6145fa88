"""Corrupted pictures, by hand and against matplotlib's HSV."""

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image

from bench.measures.corruptions import SEVERITIES, TYPES, corrupt
from tests.data.toys import noise

PICTURES = noise(6, 32, 32, 3)
EVERY = pytest.mark.parametrize("kind", TYPES)


def error(images):
    return float((images.float() - PICTURES.float()).abs().mean())


@EVERY
def test_pictures_do_not_depend_on_the_batch(kind):
    together = corrupt(PICTURES, kind, 3)
    alone = [corrupt(PICTURES[i : i + 1], kind, 3, start=i) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))
    assert together.dtype == torch.uint8
    assert together.shape == PICTURES.shape
    assert torch.equal(together, corrupt(PICTURES, kind, 3))


@EVERY
def test_a_higher_severity_changes_more(kind):
    smooth = torch.linspace(20, 200, 32).to(torch.uint8)[None, :, None, None].expand(2, 32, 32, 3)
    pictures = PICTURES[:2] if kind in ("blur", "contrast", "pixelate", "jpeg") else smooth.clone()
    if kind == "saturate":  # the first two severities remove colour, the others add it
        pictures = (PICTURES[:2] // 4) + 90
    changes = [
        float((corrupt(pictures, kind, s).float() - pictures.float()).abs().mean())
        for s in SEVERITIES
    ]
    groups = (changes[:2], changes[2:]) if kind == "saturate" else (changes,)
    for group in groups:
        assert group == sorted(group)
        assert group[0] > 0
        assert len(set(group)) == len(group)


def test_noise_of_other_pictures_differs():
    grey = torch.full((2, 32, 32, 3), 128, dtype=torch.uint8)
    for kind in ("gaussian_noise", "shot_noise", "impulse_noise"):
        first, second = corrupt(grey, kind, 5)
        assert not torch.equal(first, second)


def test_the_noise_has_the_official_strength():
    grey = torch.full((20, 32, 32, 3), 128, dtype=torch.uint8)
    assert corrupt(grey, "gaussian_noise", 5).double().std() == pytest.approx(25.5, rel=0.02)
    # a Poisson variable of mean m has the variance m: deviation sqrt(m / c), with c = 50
    expected = 255 * np.sqrt(128 / 255 / 50)
    assert corrupt(grey, "shot_noise", 5).double().std() == pytest.approx(expected, rel=0.02)
    changed = corrupt(grey, "impulse_noise", 5)
    assert set(changed.unique().tolist()) == {0, 128, 255}
    assert (changed != 128).double().mean() == pytest.approx(0.07, rel=0.05)


def through_hsv(images, change):
    hsv = rgb_to_hsv(images.numpy() / 255.0)
    return torch.from_numpy((hsv_to_rgb(change(hsv)) * 255).astype(np.uint8))


def with_greys():
    pictures = PICTURES.clone()
    pictures[0, :4] = 77
    pictures[0, 4:8] = 0
    return pictures


def test_brightness_and_saturation_equal_those_of_hsv():
    def brighter(hsv):
        hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
        return hsv

    def saturated(hsv):
        hsv[..., 1] = np.clip(hsv[..., 1] * 2.5 + 0.2, 0, 1)
        return hsv

    images = with_greys()
    for kind, change in (("brightness", brighter), ("saturate", saturated)):
        gap = corrupt(images, kind, 5).int() - through_hsv(images, change).int()
        assert gap.abs().max() <= 1  # values are rounded down
        assert (gap != 0).double().mean() < 0.05


def test_contrast_keeps_the_mean_of_each_channel():
    changed = corrupt(PICTURES, "contrast", 5).double()
    means = PICTURES.double().mean((1, 2))
    assert torch.allclose(changed.mean((1, 2)), means, atol=0.6)  # rounded down: 0.5 lower
    assert changed.std() == pytest.approx(0.15 * float(PICTURES.double().std()), rel=0.03)


def test_a_constant_picture_is_neither_blurred_nor_pixelated():
    grey = torch.full((1, 32, 32, 3), 200, dtype=torch.uint8)
    for kind in ("blur", "pixelate", "contrast", "jpeg"):
        assert (corrupt(grey, kind, 5).int() - 200).abs().max() <= 1


def test_pixelate_is_pillows_box_filter():
    image = Image.fromarray(PICTURES[2].numpy())
    expected = image.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    assert np.array_equal(corrupt(PICTURES, "pixelate", 5)[2].numpy(), np.array(expected))
