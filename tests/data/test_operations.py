"""RandAugment, random erasing and further views of the same images."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import RandAugment

from bench import data
from bench.data import Augment, Resident, Selection
from bench.data.operations import ERASED_AREA, OPERATIONS_PER_IMAGE, draw_operations, operations

from .toys import CPU, facts, image_folder, noise

COUNT, SIZE = 101, 7
COUNTS = {"train": {"a": 8, "b": 9}, "val": {"a": 1, "b": 1}}
FACTS = facts(classes=4, size=SIZE, train=COUNT, test=5)
STRONG = Augment(crop=1, randaugment=9, erasing=0.5)


@pytest.fixture
def resident():
    splits = {"train": (noise(COUNT, 3, SIZE, SIZE), torch.arange(COUNT) % 4)}
    return Resident(FACTS, splits, CPU)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    folder = image_folder(tmp_path_factory.mktemp("images"), COUNTS)
    return data.load(Selection(f"folder:{folder}", size=8), None, CPU, stream=True, workers=0)


def full_epoch(dataset, augment, epoch=1, batch_size=8):
    images, batches = zip(*dataset.epoch(0, epoch, batch_size, augment), strict=True)
    return torch.cat(images), torch.cat([batch.index for batch in batches])


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("magnitude", [0, 1, 9, 16, 20, 30])
def test_operations_are_those_of_torchvision(magnitude, size):
    reference, images = RandAugment(magnitude=magnitude), noise(5, 3, size, size)
    space = RandAugment._AUGMENTATION_SPACE
    for (name, (values, is_signed)), functions in zip(
        space.items(), operations(magnitude, size, CPU), strict=True
    ):
        value = values(31, size, size)
        assert len(functions) == 1 + is_signed
        for sign, function in zip((1, -1), functions, strict=False):
            amount = 0.0 if value is None else sign * float(value[magnitude])
            expected = reference._apply_image_or_video_transform(
                images, name, amount, interpolation=reference.interpolation, fill=reference._fill
            )
            assert torch.equal(function(images), expected), (name, sign)


def test_operations_and_signs_are_equally_frequent():
    drawn = draw_operations(9, 8, 28_000, torch.Generator().manual_seed(0))
    counts = torch.from_numpy(drawn).flatten().bincount()
    assert drawn.shape == (OPERATIONS_PER_IMAGE, 28_000)
    sizes = [len(functions) for functions in operations(9, 8, CPU)]
    expected = torch.tensor([4000 / size for size in sizes for _ in range(size)])
    assert len(counts) == len(expected)
    assert ((counts - expected).abs() < 0.1 * expected).all()


@pytest.mark.parametrize("source", ["resident", "streamed"])
def test_an_image_does_not_depend_on_the_others_of_its_batch(source, request):
    dataset = request.getfixturevalue(source)
    expected, order = full_epoch(dataset, STRONG)
    for batch_size in (1, 3, COUNT):
        images, index = full_epoch(dataset, STRONG, batch_size=batch_size)
        assert torch.equal(images, expected)
        assert torch.equal(index, order)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(full_epoch(dataset, STRONG, epoch=2)[0], expected)


@pytest.mark.parametrize("source", ["resident", "streamed"])
@pytest.mark.parametrize("change", [{"randaugment": 9}, {"erasing": 0.5}])
def test_a_change_keeps_the_order_and_the_other_draws(source, change, request):
    dataset, plain = request.getfixturevalue(source), Augment(crop=1)
    expected, order = full_epoch(dataset, plain)
    images, index = full_epoch(dataset, replace(plain, **change))
    assert torch.equal(index, order)
    same = (images == expected).flatten(1).all(1)
    assert not same.all()
    assert same.any() or "randaugment" in change, "a few images are not erased"


@pytest.mark.parametrize("source", ["resident", "streamed"])
def test_another_view_has_the_same_order_and_its_own_draws(source, request):
    dataset = request.getfixturevalue(source)
    expected, order = full_epoch(dataset, Augment(crop=1))
    images, index = full_epoch(dataset, Augment(crop=1, view="strong"))
    assert torch.equal(index, order)
    assert not torch.equal(images, expected)
    centre = Augment(crop=0, flip=False)
    views = [full_epoch(dataset, replace(centre, view=view))[0] for view in ("", "strong")]
    assert torch.equal(*views), "the same images"


def test_erased_rectangles_have_the_mean_and_the_drawn_size():
    part = facts(size=32, train=4000, classes=1, test=1, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8).expand(4000, -1, -1, -1)
    dataset = Resident(part, {"train": (white, torch.zeros(4000, dtype=torch.int64))}, CPU)
    images, _ = full_epoch(dataset, Augment(crop=0, flip=False, erasing=0.25), batch_size=500)
    erased = images == 0
    assert images.unique().tolist() == [0, pytest.approx(2.5)]
    assert torch.equal(erased[:, 0], erased[:, 2])
    share = erased[:, 0].float().mean((1, 2))
    assert 0.22 < (share > 0).float().mean() < 0.28
    assert share[share > 0].min() > ERASED_AREA[0] * 0.8
    assert share.max() < ERASED_AREA[1] * 1.05
    assert share[share > 0].mean() == pytest.approx(sum(ERASED_AREA) / 2, rel=0.05)
    rows, columns = erased[:, 0].any(2), erased[:, 0].any(1)
    rectangle = rows[:, :, None] & columns[:, None]
    assert torch.equal(rectangle, erased[:, 0])
    both = rows.sum(1)[share > 0] > columns.sum(1)[share > 0]
    assert 0.4 < both.float().mean() < 0.6
    places = rows.float().mean(0)
    assert torch.allclose(places, places.flip(0), atol=0.03)
