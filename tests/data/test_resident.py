import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bench import seeding
from bench.data import Augment, Resident
from bench.data.batches import resize
from bench.data.images import ResizedCrops, resized_parts, sampled_parts
from bench.errors import BenchError

from .toys import CPU, facts, noise

COUNT, SIZE, BATCH = 101, 7, 8
FACTS = facts(classes=4, size=SIZE, train=COUNT, test=5)
TRAIN, TEST = noise(COUNT, 3, SIZE, SIZE), noise(5, 3, SIZE, SIZE, seed=1)
LABELS = torch.arange(COUNT) % 4
TEST_LABELS = torch.arange(5) % 4


@pytest.fixture
def data():
    return Resident(FACTS, {"train": (TRAIN, LABELS), "test": (TEST, TEST_LABELS)}, CPU)


def normalised(image):
    """(3, H, W) uint8, by the definition."""
    mean, std = torch.tensor(FACTS.mean), torch.tensor(FACTS.std)
    return (image.float() / 255 - mean[:, None, None]) / std[:, None, None]


def crop_one(image, top, left, flipped, pad):
    cut = F.pad(image, [pad] * 4)[:, top : top + SIZE, left : left + SIZE]
    return normalised(cut.flip(2) if flipped else cut)


def full_epoch(data, seed=0, epoch=1, augment=Augment(), batch_size=BATCH):  # noqa: B008
    images, batches = zip(*data.epoch(seed, epoch, batch_size, augment), strict=True)
    index = torch.cat([batch.index for batch in batches])
    return torch.cat(images), torch.cat([batch.labels for batch in batches]), index


@pytest.mark.parametrize("pad", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_batch_equals_a_loop_over_images(data, pad, flip):
    images, labels, index = full_epoch(data, seed=3, epoch=5, augment=Augment(crop=pad, flip=flip))
    rng = seeding.generator(CPU, 3, "augment", 5)
    top, left = (torch.randint(2 * pad + 1, (COUNT,), generator=rng) for _ in range(2))
    flipped = (torch.rand(COUNT, generator=rng) < 0.5) & flip
    for place, (image, key) in enumerate(zip(images, index, strict=True)):
        expected = crop_one(TRAIN[key], top[place], left[place], flipped[place], pad)
        assert torch.equal(image, expected)
    assert torch.equal(labels, LABELS[index])
    assert flipped.any() == flip


def test_crops_and_flips_are_equally_frequent():
    ramp = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3).expand(4000, 3, 3, 3)
    part = facts(size=3, train=4000, classes=1, test=1, mean=(0, 0, 0), std=(1, 1, 1))
    data = Resident(part, {"train": (ramp, torch.zeros(4000, dtype=torch.int64))}, CPU)
    images, _, _ = full_epoch(data, augment=Augment(crop=1), batch_size=500)
    seen, counts = (
        (images * 255).round().to(torch.uint8).flatten(1).unique(dim=0, return_counts=True)
    )
    assert len(seen) == 3 * 3 * 2
    assert counts.min() > 4000 / 18 * 0.7


def test_images_are_float32_and_channels_last(data):
    for images, batch in data.epoch(0, 1, BATCH, Augment()):
        assert images.dtype == torch.float32
        assert images.shape == (len(batch.index), 3, SIZE, SIZE)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.dtype == batch.index.dtype == torch.int64


def test_order_is_a_permutation_and_the_last_batch_is_used(data):
    sizes = [len(images) for images, _ in data.epoch(0, 1, BATCH, Augment())]
    assert sizes == [8] * 12 + [5]
    _, _, index = full_epoch(data)
    assert sorted(index.tolist()) == list(range(COUNT)) != index.tolist()


def test_same_seed_and_epoch_give_the_same_numbers(data):
    for first, second in zip(full_epoch(data, 1, 2), full_epoch(data, 1, 2), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(("seed", "epoch"), [(1, 3), (2, 2)])
def test_different_epochs_and_seeds_differ(data, seed, epoch):
    images, _, index = full_epoch(data, 1, 2)
    images_2, _, index_2 = full_epoch(data, seed, epoch)
    assert not torch.equal(index, index_2)
    assert not torch.equal(images[index.argsort()], images_2[index_2.argsort()])


def test_batch_size_does_not_change_images(data):
    for first, second in zip(
        full_epoch(data, batch_size=3), full_epoch(data, batch_size=COUNT), strict=True
    ):
        assert torch.equal(first, second)


def test_epoch_does_not_touch_the_global_generator(data):
    before = torch.get_rng_state()
    full_epoch(data)
    assert torch.equal(before, torch.get_rng_state())


def test_evaluation_is_in_order_and_without_augmentation(data):
    images, labels = zip(*data.evaluation("test", 2), strict=True)
    assert [len(batch) for batch in images] == [2, 2, 1]
    assert torch.equal(torch.cat(labels), TEST_LABELS)
    assert torch.equal(torch.cat(images), torch.stack([normalised(image) for image in TEST]))
    train = torch.cat([images for images, _ in data.evaluation("train", 10)])
    assert torch.equal(train, torch.stack([normalised(image) for image in TRAIN]))


def test_missing_validation_split_raises(data):
    with pytest.raises(BenchError, match="toy: no validation split; hold out training images"):
        next(data.evaluation("validation", 2))


def test_grey_images_have_three_equal_channels():
    part = facts(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    data = Resident(
        part, {"train": (TRAIN[:, :1], LABELS), "test": (TEST[:, :1], TEST_LABELS)}, CPU
    )
    images, _ = next(data.evaluation("test", 5))
    assert images.shape == (5, 3, SIZE, SIZE)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], (TEST[:, 0].float() / 255 - 0.5) / 0.2)


def test_resized_parts_do_not_reach_outside_the_image():
    # Brightness grows to the right: the slope of a part is its width, the sign is its flip.
    ramp = (torch.arange(32) * 8).to(torch.uint8).expand(400, 3, 32, 32)
    part = facts(size=32, train=400, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
    data = Resident(part, {"train": (ramp, torch.zeros(400, dtype=torch.int64))}, CPU)
    images, _, _ = full_epoch(data, augment=Augment(resized=True), batch_size=64)
    assert images.shape == (400, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.min() > -1e-3
    assert images.max() < 248.01
    slope = (images[:, 0, 0, 24] - images[:, 0, 0, 8]) / (16 * 8)
    assert 0.4 < (slope < 0).float().mean() < 0.6
    assert 0.2 < slope.abs().min() < 0.4
    assert 0.9 < slope.abs().max() < 1.01
    without_flip = Augment(resized=True, flip=False)
    assert (full_epoch(data, augment=without_flip)[0][:, 0, 0].diff() >= 0).all()


@pytest.mark.parametrize("size", [5, 32, 224])
def test_parts_are_the_same_whether_cut_one_by_one_or_in_one_operation(size: int) -> None:
    images = noise(40, size, size, 3)
    drawn = ResizedCrops(Augment(resized=True), size, 40, torch.Generator().manual_seed(0))
    assert (drawn.corners >= 0).all()
    assert (drawn.corners + drawn.sides <= size).all()
    draws = drawn.corners, drawn.sides, drawn.flipped
    one_by_one, together = resized_parts(images, *draws), sampled_parts(images, *draws)
    assert one_by_one.shape == together.shape == images.shape
    assert (one_by_one.int() - together.int()).abs().max() <= 1


def test_resizing_is_antialiased():
    black, white = torch.tensor([0, 255], dtype=torch.uint8)
    board = torch.where((torch.arange(8)[:, None] + torch.arange(8)) % 2 == 0, black, white)
    small = resize(board.expand(3, 1, 8, 8), 2)
    assert small.shape == (3, 1, 2, 2)
    assert (small.int() - 128).abs().max() <= 1  # without antialiasing: 0, 128 or 255
    assert resize(board.expand(1, 1, 8, 8), 8).data_ptr() == board.data_ptr()


def test_resizing_equals_pillow():
    image = noise(3, 24, 24)
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
    pillow = pillow.resize((9, 9), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
    assert (resize(image[None], 9)[0].int() - expected).abs().max() <= 1
