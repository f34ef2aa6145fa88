"""Distillers of feature maps: values of their authors' code, their traps, their requirements.

Sources of the golden files: SimKD, SemCKD: DefangChen/SimKD @2b389c3. CAT-KD: GzyAftermath/CAT-KD
@4467073. OFD: megvii-research/mdistiller @a08d46f, equal to its authors' code divided by B.
"""

from dataclasses import replace

import pytest
import torch

import distillers
from distillers import Batch, Features, Incompatible, Setting, Shapes
from distillers.base import Affine
from distillers.ofd import margin
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    TEACHER,
    TRAIN_LABELS,
    Subject,
    build,
    build_double,
    random_features,
    random_student,
    random_teacher,
    to_double,
)
from tests.distillers.golden import GEOMETRIES, Case, assert_near, features_of, golden


def last_stage(geometry: str, network: str) -> torch.Tensor:
    return features_of(golden(geometry, "inputs"), network).stages[-1]


class PooledMapCase(Case):
    """A case whose pooled map is the last stage, as in the reference run."""

    def __init__(self, geometry: str, name: str, **options: object) -> None:
        file = golden(geometry, name)
        fields: dict[str, dict[str, object]] = {}
        for network in ("student", "teacher"):
            fields[network] = {"pooled_map": last_stage(geometry, network)}
            if (weight := file.get(f"{network}/classifier_weight")) is not None:
                bias = file.get(f"{network}/classifier_bias")
                weight.requires_grad_(network == "student")
                fields[network]["classifier"] = Affine(weight, bias)
        super().__init__(geometry, name, "", (fields["student"], fields["teacher"]), **options)

    def student_tensors(self) -> dict[str, torch.Tensor]:
        tensors = super().student_tensors()
        return tensors | {f"stages/{len(self.student.stages) - 1}": self.student.pooled_map}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", ["simkd", "catkd", "ofd", "semckd"])
def test_no_gradient_of_a_golden_file_is_left_out(name, geometry):
    keys = {key for key in golden(geometry, name) if key.startswith("grad/")}
    stages = range(4 if geometry == "cross" else 3)
    kind = "preact" if name == "ofd" else "stages"
    assert keys <= {f"grad/{kind}/{i}" for i in stages}  # the tests below compare all of them


# SimKD


def simkd(geometry: str) -> PooledMapCase:
    case = PooledMapCase(geometry, "simkd", factor=int(golden(geometry, "simkd")["factor"]))
    case.load_parameters({})
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_simkd_equals_the_reference(geometry):
    simkd(geometry).assert_equal()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_logits_of_simkd_equal_the_reference(geometry):
    case = simkd(geometry)
    case.loss()
    assert_near(case.distiller.predict(case.student), case.golden["student_logits"])


def test_simkd_copies_the_teachers_classifier_in_place_in_training_mode_only():
    distiller, classifier = build(distillers.load("simkd"), 0), random_teacher().classifier
    address = distiller.classifier.weight.data_ptr()
    distiller.eval()(random_student(), random_teacher(), BATCH)
    assert not torch.equal(distiller.classifier.weight, classifier.weight)
    distiller.train()(random_student(), random_teacher(), BATCH)
    assert torch.equal(distiller.classifier.weight, classifier.weight)
    assert torch.equal(distiller.classifier.bias, classifier.bias)
    assert distiller.classifier.weight.data_ptr() == address
    assert not any(p.requires_grad for p in distiller.classifier.parameters())


def test_simkd_accepts_a_teachers_classifier_without_bias():
    distiller, teacher = build(distillers.load("simkd"), 0), random_teacher()
    without = replace(teacher, classifier=Affine(teacher.classifier.weight, None))
    distiller(random_student(), without, BATCH)
    assert not distiller.classifier.bias.any()


def test_logits_of_simkd_are_the_teachers_if_the_projection_equals_the_teachers_map():
    distiller = build_double("simkd")
    teacher = to_double(random_teacher())
    teacher = replace(teacher, pooled=teacher.pooled_map.mean((2, 3)))
    distiller(to_double(random_student()), teacher, BATCH)
    distiller.transfer, weight = torch.nn.Identity(), teacher.classifier
    logits = distiller.predict(replace(teacher, logits=None))
    torch.testing.assert_close(logits, teacher.pooled @ weight.weight.T + weight.bias)


def test_simkd_pools_the_larger_map_of_either_network():
    small = replace(STUDENT, pooled_map=(STUDENT.pooled, 2, 2))
    for student, teacher in ((small, TEACHER), (STUDENT, replace(TEACHER, pooled_map=(13, 2, 2)))):
        setting = Setting(student, teacher, TRAIN_LABELS, torch.Generator())
        distiller = distillers.load("simkd")(setting)
        features = random_features(student, 0), random_features(teacher, 1)
        assert distiller(*features, BATCH).isfinite()
        assert distiller.predict(features[0]).shape == (5, 7)


# CAT-KD


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    ("loss", "gradient", "options"),
    [
        ("loss", None, {"normalise": False}),
        ("loss_normalised", "gradient_normalised", {}),
        ("loss_resolution_1", "gradient_resolution_1", {"normalise": False, "resolution": 1}),
    ],
)
def test_catkd_equals_the_reference(geometry, loss, gradient, options):
    case = PooledMapCase(geometry, "catkd", **options)
    last = f"grad/stages/{len(case.student.stages) - 1}"
    case.golden |= {"loss": case.golden[loss], last: case.golden[gradient or last]}
    case.load_parameters()
    case.assert_equal()
    assert case.student.classifier.weight.grad.abs().sum() > 0


def test_catkd_ignores_the_bias_of_both_classifiers():
    distiller = build_double("catkd")
    student, teacher = to_double(random_student()), to_double(random_teacher())
    bare = [replace(x, classifier=Affine(x.classifier.weight, None)) for x in (student, teacher)]
    assert torch.equal(distiller(student, teacher, BATCH), distiller(*bare, BATCH))


def test_catkd_with_one_position_compares_logits_without_bias():
    distiller = build_double("catkd", resolution=1, normalise=False)
    student, teacher = to_double(random_student()), to_double(random_teacher())
    logits = [x.pooled_map.mean((2, 3)) @ x.classifier.weight.T for x in (student, teacher)]
    expected = torch.nn.functional.mse_loss(*logits)
    torch.testing.assert_close(distiller(student, teacher, BATCH), expected)


def test_map_smaller_than_the_resolution_is_not_enlarged():
    distiller = build_double("catkd", resolution=9)
    assert distiller.activation(to_double(random_student())).shape == (5, 7, 3, 2)


# OFD


def ofd(geometry: str) -> Case:
    file, stages = golden(geometry, "ofd"), range(4 if geometry == "cross" else 3)
    maps = {
        network: {"preactivations": tuple(file[f"{network}/preact/{i}"] for i in stages)}
        for network in ("student", "teacher")
    }
    for x in maps["student"]["preactivations"]:
        x.requires_grad_()
    norms = tuple(
        Affine(file[f"teacher/bn_weight/{i}"], file[f"teacher/bn_bias/{i}"]) for i in stages
    )
    case = Case(geometry, "ofd", "", (maps["student"], {**maps["teacher"], "norms": norms}))
    case.load_parameters({})
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ofd_equals_the_reference(geometry):
    case = ofd(geometry)
    case.assert_equal()  # neither stages nor logits have a gradient
    for i, x in enumerate(case.student.preactivations):
        assert_near(x.grad, case.golden[f"grad/preact/{i}"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_margins_of_ofd_equal_the_reference(geometry):
    case = ofd(geometry)
    for i, norm in enumerate(case.teacher.norms):
        assert_near(margin(norm), case.golden[f"margin/{i}"])
    assert_near(margin(case.teacher.norms[0])[:1], -3 * case.teacher.norms[0].weight[:1].abs())


def test_margin_is_the_mean_of_the_negative_values():
    scale, shift = torch.tensor([-0.7, 1.3]), torch.tensor([0.4, -2.0])
    normal = torch.randn(1_000_000, 1, generator=torch.Generator().manual_seed(0))
    values = normal * scale + shift
    expected = values.clamp(max=0).sum(0) / (values < 0).sum(0)
    torch.testing.assert_close(margin(Affine(scale, shift)), expected, rtol=0.01, atol=0)


def test_margin_of_a_channel_with_scale_zero_is_finite():
    zeros, shift = torch.zeros(3), torch.tensor([-0.5, 0.0, 0.5])
    expected = torch.tensor([-0.5, 0.0, 0.0])
    torch.testing.assert_close(margin(Affine(zeros, shift)), expected)


def test_ofd_is_zero_where_both_networks_are_below_the_margin():
    distiller, student, teacher = build_double("ofd"), random_student(), random_teacher()
    below = tuple(torch.full_like(x, -100) for x in teacher.preactivations)
    teacher = to_double(replace(teacher, preactivations=below))
    distiller.connectors = torch.nn.ModuleList(Constant(c, -50.0) for c in TEACHER.norms)
    assert distiller(to_double(student), teacher, BATCH) == 0
    distiller.connectors = torch.nn.ModuleList(Constant(c, 50.0) for c in TEACHER.norms)
    assert distiller(to_double(student), teacher, BATCH) > 0


class Constant(torch.nn.Module):
    """A connector to C channels with one constant value."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.channels, self.value = channels, value

    def forward(self, x):
        return x.new_full((len(x), self.channels, *x.shape[2:]), self.value)


# SemCKD


def semckd(geometry: str) -> Case:
    file = golden(geometry, "semckd")
    size, stages = file["param/query_0.linear1.weight"].shape[1], file["attention"].shape[1]
    layers = {
        f"{ours}_{i}.linear{k + 1}": f"{ours}.{i}.{2 * k}"
        for ours in ("query", "key")
        for i in range(stages)
        for k in range(2)
    }
    layers |= {
        f"regressor{i}{j}.regressor.{k}": f"regress.{i * stages + j}.{k}"
        for i in range(stages)
        for j in range(stages)
        for k in range(7)
    }
    case = Case(geometry, "semckd", batch_size=size)
    case.load_parameters(layers)
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_semckd_equals_the_reference(geometry):
    case = semckd(geometry)
    assert_near(case.distiller.attention(case.student, case.teacher), case.golden["attention"])
    case.assert_equal()


def part(features: Features, count: int) -> Features:
    return replace(features, stages=tuple(stage[:count] for stage in features.stages))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_attention_of_a_smaller_batch_is_that_of_a_batch_with_absent_samples(count):
    distiller = build_double("semckd", batch_size=5)
    student, teacher = to_double(random_student()), to_double(random_teacher())
    attention = distiller.attention(part(student, count), part(teacher, count))
    absent = [
        replace(
            x,
            stages=tuple(
                stage * (torch.arange(5) < count)[:, None, None, None] for stage in x.stages
            ),
        )
        for x in (student, teacher)
    ]
    torch.testing.assert_close(attention, distiller.attention(*absent)[:count])


def test_semckd_refuses_a_batch_that_is_larger_than_its_layers():
    distiller = build(distillers.load("semckd"), 0, batch_size=4)
    with pytest.raises(
        Incompatible, match="a batch has 5 samples, the option batch_size is 4: set"
    ):
        distiller(random_student(), random_teacher(), BATCH)


def test_layers_of_semckd_do_not_depend_on_the_batch():
    distiller = build(distillers.load("semckd"), 0, batch_size=64)
    shapes = [p.shape for p in distiller.parameters()]
    smaller = Batch(BATCH.labels[:2], BATCH.index[:2])
    for batch, count in ((BATCH, 5), (smaller, 2)):
        student = random_features(STUDENT, 0, count, grad=True)
        assert distiller(student, random_features(TEACHER, 1, count), batch).isfinite()
    assert shapes == [p.shape for p in distiller.parameters()]


def test_semckd_with_equal_similarities_of_zero_is_finite():
    distiller = build(distillers.load("semckd"), 0, batch_size=5)
    student, teacher = (x.map(torch.zeros_like) for x in (random_student(), random_teacher()))
    for p in distiller.parameters():
        torch.nn.init.zeros_(p)
    assert distiller(student, teacher, BATCH) == 0


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("semckd", {"batch_size": 5}),
        ("simkd", {"factor": 1}),
        ("catkd", {"resolution": 1}),
    ],
)
def test_distiller_fulfils_the_contract_with_other_options(name, options, check):
    CHECKS[check](Subject(distillers.load(name), **options))


@pytest.mark.parametrize("name", ["simkd", "catkd", "ofd", "semckd"])
def test_one_sample_with_maps_of_one_position_gives_a_finite_loss(name):
    student, teacher = (
        replace(
            shapes,
            **{
                field: tuple((channels, 1, 1) for channels, _, _ in shapes.stages)
                for field in ("stages", "preactivations")
            },
            pooled_map=(shapes.pooled, 1, 1),
        )
        for shapes in (STUDENT, TEACHER)
    )
    distiller = distillers.load(name)(Setting(student, teacher, TRAIN_LABELS, torch.Generator()))
    features = random_features(student, 0, 1, grad=True), random_features(teacher, 1, 1)
    loss = distiller(*features, Batch(BATCH.labels[:1], BATCH.index[:1]))
    loss.backward()
    assert loss.isfinite()
    gradients = [x.grad for x in features[0].tensors() if x.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


# Requirements

PLAIN = Shapes((), 11, 7)  # a network of which only pooled features and logits are known


@pytest.mark.parametrize(
    ("name", "student", "teacher", "options", "reason"),
    [
        ("simkd", PLAIN, TEACHER, {}, "must average-pool a map for a linear classifier"),
        ("simkd", STUDENT, PLAIN, {}, "must average-pool a map for a linear classifier"),
        ("simkd", STUDENT, replace(TEACHER, classifier=False), {}, "for a linear classifier"),
        ("simkd", STUDENT, TEACHER, {"factor": 14}, "factor is 14, above the 13 channels"),
        ("catkd", replace(STUDENT, classifier=False), TEACHER, {}, "for a linear classifier"),
        ("catkd", STUDENT, PLAIN, {}, "must average-pool a map for a linear classifier"),
        ("ofd", replace(STUDENT, preactivations=((3, 4, 4),)), TEACHER, {}, "the student has 1 st"),
        ("ofd", PLAIN, PLAIN, {}, "the student has 0 stages"),
        (
            "ofd",
            STUDENT,
            replace(TEACHER, norms=()),
            {},
            r"ReLUs have \[\] channels, the maps \[2,",
        ),
        ("semckd", PLAIN, TEACHER, {}, "the student has 0 stages, the teacher 3"),
        ("semckd", STUDENT, PLAIN, {}, "the student has 3 stages, the teacher 0"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name, student, teacher, options, reason):
    setting = Setting(student, teacher, TRAIN_LABELS, torch.Generator())
    with pytest.raises(Incompatible, match=reason):
        distillers.load(name)(setting, **options)
