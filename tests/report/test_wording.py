import pytest

from bench.report import wording


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
def test_networks_have_the_papers_names(name, label):
    assert wording.network(name) == label


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"name": "cifar100"}, "CIFAR-100"),
        ({"name": "digits", "per_class": None, "validation": 0}, "scikit-learn's digits"),
        ({"name": "mine", "per_class": 5, "test_per_class": 7, "validation": 9, "size": 32},
         "mine, only 5 training images a class, only 7 test images a class, "
         "9 training images held out for validation, images resized to 32 x 32"),
        ({"name": "folder:/home/somebody/private/birds"}, "images of birds"),
        ({"name": "cifar10", "per_class": 1, "validation": 1},
         "CIFAR-10, only 1 training image a class, 1 training image held out for validation"),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_data_set_tells_its_cuts_and_no_home_folder(selection, said):
    assert wording.data_set(selection) == said


def test_recipes_tell_what_most_share_and_who_differs():
    students = {"p": "A", "q": "B", "r": "C", "s": "C"}
    recipe = {"epochs": 240, "batch_size": 64, "lr": 5e-2}
    recipes = {pair: dict(recipe) for pair in students}
    assert wording.recipe(recipes, students) == "240 epochs, batch 64, lr 0.05"
    recipes["q"]["lr"] = recipes["r"]["lr"] = recipes["s"]["lr"] = 0.01
    recipes["p"]["lr"] = 0.1
    recipes["q"]["epochs"] = 30
    assert wording.recipe(recipes, students) == (
        "240 epochs (30 for B), batch 64, lr 0.01 (0.1 for A)"
    )
    assert wording.recipe({}, students) == ""


def test_one_epoch_is_one():
    assert wording.recipe({"p": {"epochs": 1, "lr": 1}}, {"p": "A"}) == "1 epoch, lr 1"
    two = {"p": {"epochs": 2}, "q": {"epochs": 2}, "r": {"epochs": 1}}
    assert wording.recipe(two, {"p": "A", "q": "B", "r": "C"}) == "2 epochs (1 for C)"


@pytest.mark.parametrize(("p", "said"), [(1.0, "1"), (0.0132, "0.013"), (9e-5, "< 0.0001")])
def test_a_chance_has_two_digits_and_an_end(p, said):
    assert wording.chance(p) == said


def test_sentences_begin_large_and_end_once():
    assert wording.sentences(["one.", "", " two: b "]) == "One. Two: b."
