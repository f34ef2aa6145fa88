import pytest

from bench.report.deviations import of_pair, of_terms, whole
from bench.spec import Recipe

PAPERS = {
    "epochs": 240, "batch_size": 64, "lr": 0.05, "milestones": (150, 180, 210), "decay": 0.1,
    "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False, "crop": 4, "flip": True,
    "resized_crop": False, "precision": "float32", "evaluate_every": 5,
}  # fmt: skip
CIFAR = {"name": "cifar100", "per_class": None, "test_per_class": None, "validation": 0}


def test_the_papers_recipe_is_no_deviation_in_either_form_of_its_milestones():
    assert of_pair(CIFAR, PAPERS, "resnet8x4") == ""
    assert of_pair(CIFAR, {**PAPERS, "milestones": [150, 180, 210]}, "resnet8x4") == ""
    assert of_pair(CIFAR, {**PAPERS, "lr": 0.01}, "shufflenet_v1") == ""
    assert of_pair(CIFAR, {}, "resnet8x4") == ""


def test_a_suite_starts_from_the_recipe_that_deviations_are_measured_by():
    own = Recipe().model_dump()
    assert {key: own[key] for key in PAPERS if key != "evaluate_every"} == {
        key: value for key, value in PAPERS.items() if key != "evaluate_every"
    }
    assert of_pair(CIFAR, own, "resnet8x4") == ""


def test_light_students_with_the_others_rate_deviate():
    said = of_pair(CIFAR, PAPERS, "mobilenet_v2")
    assert said == "other recipe than the papers': lr 0.05 (papers: 0.01)"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 12, "milestones": [7, 9]},
         "epochs 12 (papers: 240) and milestones 7/9 (papers: 150/180/210)"),
        ({"flip": False, "nesterov": True}, "nesterov on (papers: off) and flip off (papers: on)"),
        ({"milestones": []}, "milestones none (papers: 150/180/210)"),
        ({"precision": "bf16"}, "precision bf16 (papers: float32)"),
    ],
)  # fmt: skip
def test_a_changed_recipe_is_told(changed, said):
    assert of_pair(CIFAR, {**PAPERS, **changed}, "vgg8") == f"other recipe than the papers': {said}"


def test_subsets_and_resized_images_are_told_of_any_data_set():
    cut = {"name": "digits", "per_class": 32, "test_per_class": 5, "validation": 7, "size": 16}
    assert of_pair(cut, {**PAPERS, "epochs": 1}, "resnet8") == (
        "subset: only 32 training images a class and 5 test images a class; "
        "7 training images held out; images resized to 16 x 16"
    )
    one = {"name": "digits", "per_class": 1}
    assert of_pair(one, {}, "resnet8") == "subset: only 1 training image a class"
    assert whole(CIFAR)
    assert not whole(cut)


def test_other_weights_and_options_are_told():
    papers = {"ce": {"weight": 1.0, "options": {}}, "crd": {"weight": 0.8, "options": {"n": 4096}}}
    mine = {"ce": {"weight": 1.0, "options": {}}, "crd": {"weight": 1.5, "options": {"n": 16}}}
    assert of_terms(papers, papers) == ""
    assert of_terms(mine, papers) == (
        "other weights than the papers': crd 1.5, not 0.8; crd n 16, not 4096"
    )
    assert of_terms({"ce": papers["ce"]}, papers) == "other terms than the papers': ce"
