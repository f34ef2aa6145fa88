"""Views of an image: known colours, known facts, and the same noise for the same image."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import data
from bench.data import Arrays, Facts, Resident, Selection
from bench.data.images import Normalizer
from bench.data.views import RGB, View, describe, evaluation, gaussian, lab, problem, reduced
from bench.errors import BenchError
from tests.data.toys import CPU, facts, noise

INDEX = torch.arange(5)


def images(size: int = 6) -> torch.Tensor:
    return Normalizer(facts(size=size), CPU)(noise(5, size, size, 3))


def pixels(size: int = 6) -> torch.Tensor:
    return noise(5, size, size, 3).permute(0, 3, 1, 2) / 255


def view(name: str, size: int = 6, **network: object) -> View:
    return View(name, facts(size=size), CPU, facts(size=size, **network))


def test_the_identity_returns_the_same_tensor() -> None:
    batch = images()
    assert view(RGB)(batch, INDEX) is batch


def test_another_normalisation_is_that_of_the_network() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    seen = view(RGB, mean=mean, std=std)(images(), INDEX)
    expected = (pixels() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


# L, a and b of scikit-image 0.25, `rgb2lab`
COLOURS = {
    (1.0, 0.0, 0.0): (53.2406, 80.0923, 67.2028),
    (0.0, 1.0, 0.0): (87.7351, -86.1830, 83.1797),
    (0.0, 0.0, 1.0): (32.2957, 79.1856, -107.8573),
    (1.0, 1.0, 1.0): (100.0, -0.0024, 0.0046),
    (0.5, 0.5, 0.5): (53.3890, -0.0015, 0.0028),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_lab_of_known_colours(colour: tuple[float, ...]) -> None:
    coordinates = lab(torch.tensor(colour).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(coordinates, torch.tensor(COLOURS[colour]), atol=2e-3, rtol=1e-4)


def test_lightness_and_colours_have_no_channel_in_common() -> None:
    lightness, colours = view("l")(images(), INDEX), view("ab")(images(), INDEX)
    assert not lightness[:, 1:].any()
    assert not colours[:, 0].any()
    assert lightness[:, 0].abs().max() <= 1
    assert 0.2 < colours[:, 1:].abs().max() < 1.2


def test_grey_is_the_same_in_all_channels_before_normalisation() -> None:
    seen = view("grey", mean=(0.0,) * 3, std=(1.0,) * 3)(images(), INDEX)
    assert torch.equal(seen[:, 0], seen[:, 1])
    expected = (pixels() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    torch.testing.assert_close(seen[:, 2], expected)


def test_channels_are_0_after_normalisation() -> None:
    batch = images()
    seen = view("channels:0+2")(batch, INDEX)
    torch.testing.assert_close(seen[:, [0, 2]], batch[:, [0, 2]])
    assert not seen[:, 1].any()


def test_reduced_images_keep_constants_and_lose_details() -> None:
    constant = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(reduced(constant, 4), constant)
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2.0
    assert reduced(board.expand(1, 3, 16, 16), 4).sub(0.5).abs().max() < 0.13
    torch.testing.assert_close(reduced(pixels(), 6), pixels())


def test_a_reduced_image_has_the_details_of_its_pixels_only() -> None:
    """Views of 64 pixels span 64 dimensions: images that differ by more look the same."""
    basis = torch.eye(256, dtype=torch.float64).view(256, 1, 16, 16)
    assert torch.linalg.matrix_rank(reduced(basis, 8).flatten(1)) == 64


def test_noise_is_normal() -> None:
    numbers = gaussian(12345, torch.arange(400), 1000).double()
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert abs((numbers**4).mean() - 3) < 0.1
    assert abs((numbers[:-1] * numbers[1:]).mean()) < 0.01
    assert abs((numbers[:, :-1] * numbers[:, 1:]).mean()) < 0.01


def test_noise_of_an_image_does_not_depend_on_its_batch() -> None:
    noisy, batch = view("noise:0.5"), images()
    together = noisy(batch, INDEX, 0, 1)
    order = torch.tensor([3, 0])
    assert torch.equal(noisy(batch[order], INDEX[order], 0, 1), together[order])
    assert not torch.equal(noisy(batch, INDEX, 0, 2), together), "another epoch"
    assert not torch.equal(noisy(batch, INDEX, 1, 1), together), "another seed"
    deviation = (together - batch) * torch.tensor((0.2, 0.25, 0.3)).view(3, 1, 1)
    assert 0.4 < deviation.std() < 0.6


def test_test_images_have_the_same_noise_in_every_evaluation() -> None:
    splits = {"train": (noise(6, 3, 6, 6), torch.arange(6) % 3)}
    splits["test"] = noise(9, 3, 6, 6, seed=1), torch.arange(9) % 3
    subject = Resident(facts(), splits, CPU)
    first, second = (
        torch.cat([seen for seen, _ in evaluation(subject, "test", size, view("noise:0.1"))])
        for size in (4, 9)
    )
    assert torch.equal(first, second)


MANY = facts(
    mean=(0.1,) * 5, std=(0.5,) * 5, modalities=(("visible", (0, 1, 2)), ("thermal", (4,)))
)


def test_modalities_are_groups_of_channels() -> None:
    batch = torch.randn(5, 5, 6, 6)
    visible, thermal = (View(name, MANY, CPU)(batch, INDEX) for name in ("visible", "thermal"))
    torch.testing.assert_close(visible, batch[:, :3])
    torch.testing.assert_close(thermal[:, 0], batch[:, 4])
    assert not thermal[:, 1:].any()


class Sensors:
    """Images of five channels."""

    facts = MANY

    def read(self, root: Path) -> Arrays:
        labels = torch.arange(21) % 3
        return Arrays(noise(21, 5, 6, 6), labels, noise(9, 5, 6, 6, seed=1), labels[:9])


def test_images_with_many_channels_are_loaded_and_augmented() -> None:
    subject = data.load(Selection("sensors"), None, CPU, added={"sensors": Sensors()})
    batch, _ = next(subject.epoch(0, 1, 4, data.Augment(crop=1)))
    assert batch.shape == (4, 5, 6, 6)
    assert View("thermal", MANY, CPU)(batch, INDEX[:4]).shape == (4, 3, 6, 6)


@pytest.mark.parametrize(
    ("name", "subject", "message"),
    [
        ("gray", facts(), "no view 'gray'. Did you mean 'grey'?"),
        ("low:7", facts(), "found view 'low:7'. Allowed: low:1 to low:6 (pixels of a side)"),
        ("low:0", facts(), "Allowed: low:1 to low:6"),
        ("noise:0", facts(), "Allowed: noise:<above 0, at most 10>"),
        ("noise:-1", facts(), "Allowed: noise:<above 0, at most 10>"),
        ("channels:0+3", facts(), "1 to 3 ascending numbers from 0 to 2"),
        ("channels:1+0", facts(), "1 to 3 ascending numbers from 0 to 2"),
        ("rgb", MANY, "found view 'rgb' of images with 5 channels. Allowed: visible, thermal"),
        ("thermos", MANY, "Did you mean 'thermal'?"),
    ],
)
def test_unknown_views_are_refused(name: str, subject: Facts, message: str) -> None:
    assert message in str(problem(name, subject))


@pytest.mark.parametrize("name", ["rgb", "grey", "l", "ab", "low:6", "noise:0.1", "channels:0+2"])
def test_views_have_names_in_words(name: str) -> None:
    assert problem(name, facts()) is None
    assert "modality" not in describe(name)


class Halves:
    """Labelled images, and images without labels."""

    facts = facts(unlabelled=10, unlabelled_fingerprint="others")
    shape = 10, 3, 6, 6

    def read(self, root: Path) -> Arrays:
        labels = torch.arange(21) % 3
        train, test = noise(21, 3, 6, 6), noise(9, 3, 6, 6, seed=1)
        return Arrays(train, labels, test, labels[:9], lambda: noise(*self.shape, seed=2))


def test_images_without_labels_are_a_split_for_training() -> None:
    added = {"halves": Halves()}
    selection = Selection("halves", split="unlabelled")
    subject = data.load(selection, None, CPU, added=added)
    assert (subject.facts.train, subject.facts.test, subject.facts.labels) == (10, 9, "test")
    assert subject.facts.fingerprint != Halves.facts.fingerprint
    labelled = data.facts(Selection("halves"), None, added)
    assert labelled.fingerprint == Halves.facts.fingerprint
    assert subject.facts.taught_by(labelled) is subject.facts, "the test images keep their labels"
    assert subject.facts.taught_by(facts(fingerprint="x", classes=7)).classes == 7
    assert (
        sum(
            len(index)
            for _, index in ((b, b.index) for _, b in subject.epoch(0, 1, 4, data.Augment()))
        )
        == 10
    )


def test_wrong_splits_are_refused() -> None:
    with pytest.raises(
        BenchError, match="the data set has no images without labels; allowed: split train"
    ):
        data.facts(Selection("digits", split="unlabelled"))
    with pytest.raises(BenchError, match="per_class 2 is not possible with split unlabelled"):
        data.facts(Selection("h", 2, split="unlabelled"), None, {"h": Halves()})
    wrong = Halves()
    wrong.facts = replace(Halves.facts, unlabelled=11)
    with pytest.raises(BenchError, match="unlabelled images are torch.uint8"):
        data.load(Selection("h", split="unlabelled"), None, CPU, added={"h": wrong})
