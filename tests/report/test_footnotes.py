import pytest

from bench.report.caption import data_deviation, method_deviation, pair_deviation
from bench.spec import DataSpec, Recipe

CIFAR = DataSpec(name="cifar100", per_class=None, test_per_class=None, validation=0)


def test_papers_recipe_does_not_deviate():
    assert pair_deviation(CIFAR, Recipe(evaluate_every=5), "resnet8x4") == ""
    assert pair_deviation(CIFAR, Recipe(milestones=[150, 180, 210]), "resnet8x4") == ""
    assert pair_deviation(CIFAR, Recipe(lr=0.01), "shufflenet_v1") == ""
    assert pair_deviation(CIFAR, None, "resnet8x4") == ""


def test_light_students_with_the_usual_rate_deviate():
    message = pair_deviation(CIFAR, Recipe(), "mobilenet_v2")
    assert message == "recipe differs from the papers: lr 0.05 (papers: 0.01)"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 12, "milestones": [7, 9]},
         "epochs 12 (papers: 240) and milestones 7/9 (papers: 150/180/210)"),
        ({"flip": False, "nesterov": True}, "nesterov on (papers: off) and flip off (papers: on)"),
        ({"milestones": []}, "milestones none (papers: 150/180/210)"),
        ({"precision": "bf16"}, "precision bf16 (papers: float32)"),
    ],
)  # fmt: skip
def test_changed_recipe_is_a_deviation(changed, message):
    assert (
        pair_deviation(CIFAR, Recipe(**changed), "vgg8")
        == f"recipe differs from the papers: {message}"
    )


def test_subsets_and_resized_images_are_deviations_of_any_data_set():
    cut = DataSpec(name="digits", per_class=32, test_per_class=5, validation=7, size=16)
    assert pair_deviation(cut, Recipe(epochs=1), "resnet8") == (
        "only 32 training images per class; only 5 test images per class; "
        "7 training images held out for validation; images resized to 16 x 16"
    )
    each = DataSpec(name="digits", per_class=1)
    assert pair_deviation(each, None, "resnet8") == "only 1 training image per class"
    assert not data_deviation(CIFAR)
    assert data_deviation(cut)


def test_other_weights_and_options_are_deviations():
    papers = {"ce": {"weight": 1.0, "options": {}}, "crd": {"weight": 0.8, "options": {"n": 4096}}}
    mine = {"ce": {"weight": 1.0, "options": {}}, "crd": {"weight": 1.5, "options": {"n": 16}}}
    assert method_deviation(papers, papers) == ""
    assert method_deviation(mine, papers) == (
        "settings differ from the papers: crd 1.5 (papers: 0.8) and crd n 16 (papers: 4096)"
    )
    assert method_deviation({"ce": papers["ce"]}, papers) == "terms differ from the papers: ce"
