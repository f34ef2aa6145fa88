import random

import numpy as np
import pytest
import torch
from PIL import Image

from bench import data
from bench.data import Augment, Resident, Selection, Streamed
from bench.data.images import CentreView, RandomView, draw_box
from bench.errors import BenchError, MissingData

from .toys import CPU, image_folder, write

COUNTS = {"train": {"cat": 5, "ant": 6}, "val": {"cat": 3, "ant": 3}}


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images"), COUNTS)


def select(top, **options):
    return Selection(f"folder:{top}", **{"size": 8, **options})


def full_epoch(data_set, seed=0, epoch=1, augment=Augment(), batch_size=4):  # noqa: B008
    images, batches = zip(*data_set.epoch(seed, epoch, batch_size, augment), strict=True)
    index = torch.cat([batch.index for batch in batches])
    return torch.cat(images), torch.cat([batch.labels for batch in batches]), index


def test_facts_are_known_without_reading(top):
    facts = data.facts(select(top), None)
    assert (facts.classes, facts.size, facts.train, facts.test) == (2, 8, 11, 6)
    assert facts.rarest == (5, 3)
    assert facts.fingerprint.startswith("sha256:")


def test_relative_path_starts_at_the_data_root(top):
    facts = data.facts(Selection(f"folder:{top.name}", size=8), top.parent)
    assert facts.fingerprint == data.facts(select(top), None).fingerprint


def test_fingerprint_depends_on_names_and_sizes(tmp_path):
    facts = [data.facts(select(image_folder(tmp_path / name, COUNTS)), None) for name in "ab"]
    assert facts[0].fingerprint == facts[1].fingerprint
    (tmp_path / "a/val/cat/0.png").rename(tmp_path / "a/val/cat/9.png")
    assert data.facts(select(tmp_path / "a"), None).fingerprint != facts[0].fingerprint
    longer = tmp_path / "b/val/cat/0.png"
    longer.write_bytes(longer.read_bytes() + b"more")
    assert data.facts(select(tmp_path / "b"), None).fingerprint != facts[1].fingerprint


@pytest.mark.parametrize("stream", [False, True])
def test_images_are_read_in_order_and_normalised(top, stream):
    loaded = data.load(select(top), None, CPU, stream=stream, workers=0)
    assert isinstance(loaded, Streamed if stream else Resident)
    images, labels = zip(*loaded.evaluation("train", 4), strict=True)
    assert [len(batch) for batch in images] == [4, 4, 3]
    assert torch.cat(labels).tolist() == [0] * 6 + [1] * 5
    mean, std = (torch.tensor(c)[:, None, None] for c in (loaded.facts.mean, loaded.facts.std))
    for place, image in enumerate(torch.cat(images)):
        name = f"ant/{place}.png" if place < 6 else f"cat/{place - 6}.png"
        pixels = torch.from_numpy(np.array(Image.open(top / "train" / name))).permute(2, 0, 1)
        assert torch.equal(image, (pixels.float() / 255 - mean) / std)


def test_streamed_part_equals_resident_part(top):
    selection = select(top, per_class=2, test_per_class=1, validation=4)
    resident, streamed = (
        data.load(selection, None, CPU, stream=s, workers=0) for s in (False, True)
    )
    assert torch.equal(resident.train_labels, streamed.train_labels)
    for split in ("train", "validation", "test"):
        pairs = zip(resident.evaluation(split, 3), streamed.evaluation(split, 3), strict=True)
        for (images, labels), (streamed_images, streamed_labels) in pairs:
            assert torch.equal(images, streamed_images)
            assert torch.equal(labels, streamed_labels)


@pytest.mark.parametrize("resized", [False, True])
def test_number_of_workers_does_not_change_numbers(top, resized):
    augment = Augment(crop=2, resized=resized)
    none, two = (data.load(select(top), None, CPU, stream=True, workers=n) for n in (0, 2))
    for first, second in zip(
        full_epoch(none, augment=augment), full_epoch(two, augment=augment), strict=True
    ):
        assert torch.equal(first, second)


def test_streamed_epochs_depend_on_seed_and_epoch_alone(top):
    loaded = data.load(select(top), None, CPU, stream=True, workers=0)
    before = torch.get_rng_state()
    images, labels, index = full_epoch(loaded)
    assert sorted(index.tolist()) == list(range(11)) != index.tolist()
    assert torch.equal(labels, loaded.train_labels[index])
    assert torch.equal(images, full_epoch(loaded)[0])
    assert torch.equal(images, full_epoch(loaded, batch_size=11)[0])
    for images_2, _, index_2 in (full_epoch(loaded, epoch=2), full_epoch(loaded, seed=1)):
        assert not torch.equal(images[index.argsort()], images_2[index_2.argsort()])
    assert torch.equal(before, torch.get_rng_state())
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_large_folders_are_streamed_by_default(top, monkeypatch):
    assert isinstance(data.load(select(top), None, CPU), Resident)
    monkeypatch.setattr(data, "STREAM_ABOVE_BYTES", 17 * 3 * 8 * 8 - 1)
    assert isinstance(data.load(select(top), None, CPU), Streamed)


def test_test_folder_has_priority_over_val_if_it_has_classes(top, tmp_path):
    both = image_folder(tmp_path, {**COUNTS, "test": {"cat": 1, "ant": 1}})
    assert data.facts(select(both), None).test == 2
    flat = image_folder(tmp_path / "flat", COUNTS)
    (flat / "test").mkdir()
    write(flat / "test" / "unlabelled.png", np.zeros((8, 8, 3), np.uint8))
    assert data.facts(select(flat), None).test == 6


def test_mistakes_in_a_folder_raise_with_the_fix(tmp_path, top):
    with pytest.raises(BenchError, match="size None is not possible; a folder of images needs"):
        data.facts(Selection(f"folder:{top}"), None)
    with pytest.raises(BenchError, match="folder:: no path; allowed: folder:/path/to/images"):
        data.facts(Selection("folder:", size=8), None)
    with pytest.raises(MissingData, match=f"{tmp_path}/train: 0 class folders were found"):
        data.facts(select(tmp_path), None)
    image_folder(tmp_path, {"train": {"cat": 1, "ant": 1}})
    with pytest.raises(MissingData, match="none of test/, val/, .* has class folders"):
        data.facts(select(tmp_path), None)
    image_folder(tmp_path, {"val": {"cat": 1, "bee": 1}})
    with pytest.raises(BenchError, match="differ from those of train/ in: ant, bee"):
        data.facts(select(tmp_path), None)
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "val" / "bee").rename(tmp_path / "val" / "ant")
    (tmp_path / "val" / "empty").mkdir()
    with pytest.raises(BenchError, match="no images for empty. Allowed endings:"):
        data.facts(select(tmp_path), None)
    with pytest.raises(BenchError, match="per_class 6 is not possible; allowed: 1 to 5"):
        data.facts(select(top, per_class=6), None)


@pytest.mark.parametrize("stream", [False, True])
def test_broken_image_raises_with_its_path(tmp_path, stream):
    broken = image_folder(tmp_path, COUNTS) / "train" / "cat" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(BenchError, match=f"{broken} cannot be read as an image"):
        full_epoch(data.load(select(tmp_path), None, CPU, stream=stream, workers=0))


def gradient(width, height):
    """Red is the column, green the row."""
    red, green = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([red, green, red * 0], 2).astype(np.uint8))


def test_centre_view_is_the_central_square():
    wide = CentreView(56)(gradient(200, 64), 0).numpy()  # 64 = 56 * 256 / 224: only cut
    assert wide.shape == (56, 56, 3)
    assert (wide[0, 0, 0], wide[0, 0, 1]) == (72, 4)
    assert CentreView(56)(gradient(100, 128), 0).shape == (56, 56, 3)
    assert np.array_equal(CentreView(56)(gradient(56, 56), 0).numpy(), np.array(gradient(56, 56)))


def test_random_crops_reach_all_of_a_picture_and_its_border():
    seen, mirrored, picture = set(), 0, gradient(12, 8)
    for epoch in range(600):
        cut = RandomView(8, Augment(crop=1), 0, epoch)(picture, 0).numpy().astype(int)
        assert cut.shape == (8, 8, 3)
        flipped = cut[4, 3, 0] > cut[4, 4, 0]
        mirrored += flipped
        row = cut[4, ::-1] if flipped else cut[4]
        seen.add((int(row[3, 0]) - 3, int(row[3, 1]) - 4))
    assert seen == {(left, top) for left in range(-1, 6) for top in range(-1, 2)}
    assert 240 < mirrored < 360


def test_random_boxes_are_inside_and_have_all_areas():
    rng, shares = random.Random(0), []
    for _ in range(2000):
        left, top, right, bottom = draw_box(100, 60, rng)
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 60
        assert 0.7 < (right - left) / (bottom - top) < 1.4
        shares.append((right - left) * (bottom - top) / 6000)
    assert min(shares) < 0.12
    assert max(shares) > 0.7
    assert draw_box(1000, 10, rng) == (493, 0, 506, 10)  # nothing fits: the middle


@pytest.mark.parametrize("stream", [False, True])
def test_images_without_labels_are_in_a_folder_of_their_own(tmp_path, stream):
    top = image_folder(tmp_path / "some", COUNTS)
    before = data.facts(select(top), None)
    image_folder(top, {"unlabelled": {"deep": 2, ".": 3}})
    assert data.facts(select(top), None).fingerprint == before.fingerprint, "old ids stay"
    selection = select(top, split="unlabelled")
    loaded = data.load(selection, None, CPU, stream=stream, workers=0)
    assert (loaded.facts.train, loaded.facts.test, loaded.facts.labels) == (5, 6, "test")
    assert loaded.facts.fingerprint != before.fingerprint
    images, labels, index = full_epoch(loaded)
    assert sorted(index.tolist()) == list(range(5))
    assert not labels.any()
    assert images.shape == (5, 3, 8, 8)
    write(top / "unlabelled" / "new.png", np.zeros((8, 8, 3), np.uint8))
    assert data.facts(selection, None).fingerprint != loaded.facts.fingerprint
