import pytest

from bench.report import labels
from bench.spec import DataSpec, Recipe


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("wrn_40_2", "WRN-40-2"),
        ("resnet32x4", "resnet32x4"),
        ("shufflenet_v1", "ShuffleNetV1"),
        ("mobilenet_v2", "MobileNetV2"),
        ("resnet50", "ResNet50"),
        ("vgg13", "vgg13"),
        ("WRN-40-2", "WRN-40-2"),
        ("timm:resnet18", "timm:resnet18"),
    ],
)
def test_networks_have_the_names_of_the_papers(name, label):
    assert labels.network(name) == label


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"name": "cifar100"}, "CIFAR-100"),
        ({"name": "digits", "per_class": None, "validation": 0}, "scikit-learn's digits"),
        ({"name": "mine", "per_class": 5, "test_per_class": 7, "validation": 9, "size": 32},
         "mine, only 5 training images per class, only 7 test images per class, "
         "9 training images held out for validation, images resized to 32 x 32"),
        ({"name": "folder:/home/somebody/private/birds"}, "images of birds"),
        ({"name": "cifar10", "per_class": 1, "validation": 1},
         "CIFAR-10, only 1 training image per class, 1 training image held out for validation"),
        ({}, ""),
    ],
)  # fmt: skip
def test_data_set_names_its_reductions_and_no_home_folder(selection, message):
    assert labels.data_set(DataSpec(**selection)) == message


def test_recipes_state_the_usual_value_and_the_exceptions():
    assert labels.recipes([(s, Recipe()) for s in "ABCC"]) == "240 epochs, batch 64, lr 0.05"
    light = Recipe(lr=0.01)
    students = [
        ("A", Recipe(lr=0.1)),
        ("B", Recipe(lr=0.01, epochs=30)),
        ("C", light),
        ("C", light),
    ]
    assert labels.recipes(students) == "240 epochs (30 for B), batch 64, lr 0.01 (0.1 for A)"
    assert labels.recipes([]) == ""


def test_one_epoch_is_singular():
    each, two = Recipe(epochs=1, batch_size=2), Recipe(epochs=2)
    assert labels.recipes([("A", each)]) == "1 epoch, batch 2, lr 0.05"
    message = labels.recipes([("A", two), ("B", two), ("C", each)])
    assert message == "2 epochs (1 for C), batch 64 (2 for C), lr 0.05"


@pytest.mark.parametrize(("p", "message"), [(1.0, "1"), (0.0132, "0.013"), (9e-5, "< 0.0001")])
def test_p_value_has_two_digits_and_a_lower_limit(p, message):
    assert labels.p_value(p) == message


def test_sentences_have_a_capital_and_one_full_stop():
    assert labels.sentences(["one.", "", " two: b "]) == "One. Two: b."
