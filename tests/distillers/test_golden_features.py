"""Distillers of pooled features and maps equal their reference code; their traps and limits.

The sources: ITRD @5d08c6b, torchdistill @3e4373c (SRD), SimKD @2b389c3 (SRRL), ICKD @403b8d3,
mdistiller @a08d46f (KDSVD, ReviewKD).
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import distillers
from distillers import Batch, Incompatible, Setting, Shapes
from distillers.base import Affine
from distillers.itrd import mutual_loss
from distillers.reviewkd import hierarchical_loss
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    TEACHER,
    TRAIN_LABELS,
    S,
    T,
    build,
    build_double,
    random_student,
    random_teacher,
)
from tests.distillers.golden import GEOMETRIES, Case, assert_near, golden

README = {"alpha": 1.01, "mutual": 1.0}  # ITRD's options in its README
REVIEWKD = {"conv1.0": "reduce.0", "conv1.1": "reduce.1", "conv2.0": "predict.0"}
REVIEWKD |= {"conv2.1": "predict.1", "att_conv.0": "attention"}
LAYERS = {
    "ickd": {"conv": "embed_s.0", "bn": "embed_s.1"},
    "reviewkd": {
        f"abf.{i}.{theirs}": f"levels.{i}.{ours}"
        for i in range(5)
        for theirs, ours in REVIEWKD.items()
    },
}


def optional_fields(geometry: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of the student and the teacher that golden/inputs does not hold."""
    values = golden(geometry, name)
    teacher: dict[str, Any] = {}
    if "teacher/classifier_weight" in values:
        teacher["classifier"] = Affine(
            values["teacher/classifier_weight"], values["teacher/classifier_bias"]
        )
    if name == "reviewkd":  # the reference takes the teacher's stages as they are
        inputs = golden(geometry, "inputs")
        count = sum(key.startswith("teacher/stages/") for key in inputs)
        teacher["preactivations"] = tuple(inputs[f"teacher/stages/{i}"] for i in range(count))
    return {}, teacher


def case_of(geometry: str, name: str, **options: Any) -> Case:
    case = Case(geometry, name, name, optional_fields(geometry, name), **options)
    weight = "param/transfer.0.weight"
    if weight in case.golden:  # a 1 x 1 convolution of pooled features is a linear layer
        case.golden[weight] = case.golden[weight].flatten(1)
    case.load_parameters(LAYERS.get(name, {}))
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", ["itrd", "srd", "srrl", "ickd", "reviewkd"])
def test_loss_and_gradient_equal_the_reference(name, geometry):
    case_of(geometry, name).assert_equal()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_itrd_with_the_options_of_the_readme_equals_the_reference(geometry):
    case = case_of(geometry, "itrd", **README)
    loss = case.loss()
    assert_near(loss, case.golden["loss_readme"])
    loss.backward()
    assert_near(case.student.pooled.grad, case.golden["gradient_readme"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_parts_of_itrd_equal_the_reference(geometry):
    case = case_of(geometry, "itrd", correlation=1.0, mutual=0.0)
    assert_near(case.loss(), case.golden["correlation"])
    case.distiller.alpha = README["alpha"]
    assert_near(case.loss(), case.golden["correlation_readme"])
    case.distiller.correlation, case.distiller.mutual = 0.0, 1.0
    assert_near(case.loss(), case.golden["mutual"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_feature_part_of_srd_equals_the_reference(geometry):
    case = case_of(geometry, "srd")
    assert_near(case.distiller.feature_loss(case.student, case.teacher), case.golden["feature"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_parts_of_srrl_equal_the_reference(geometry):
    case = case_of(geometry, "srrl", regression=0.0)
    feature = case.loss()
    assert_near(feature, case.golden["feature"])
    case.distiller.regression = 1.0
    assert_near(case.loss() - feature, case.golden["regression"])
    classifier = case.teacher.classifier
    logits = case.distiller.transfer(case.student.pooled) @ classifier.weight.T + classifier.bias
    assert_near(logits, case.golden["predicted_logits"])


def test_kdsvd_equals_the_reference():
    """The golden file has no gradient; a test below compares it with that of an SVD."""
    case = case_of("same", "kdsvd")
    assert_near(case.loss(), case.golden["loss"])


# ITRD


def test_constant_features_and_one_sample_do_not_make_itrd_infinite():
    student, teacher = random_student(), random_teacher()
    pooled = torch.where(torch.arange(teacher.pooled.shape[1]) < 3, 0.0, teacher.pooled)
    itrd = build(distillers.load("itrd"), 0)
    loss = itrd(student, replace(teacher, pooled=pooled), BATCH)
    loss.backward()
    assert loss.isfinite()
    assert student.pooled.grad.isfinite().all()
    with torch.no_grad():
        itrd.embed_s.weight[0] = 0  # a constant embedding has no correlation
    itrd(student, teacher, BATCH).backward()
    assert itrd.embed_s.weight.grad.isfinite().all()


def test_correlation_of_equal_features_is_less_than_one():
    """r_d = (B - 1)/B at most, so the smallest correlation loss is finite."""
    itrd, samples = build_double("itrd", alpha=1.0), len(BATCH.labels)
    loss = itrd.correlation_loss(T.pooled, T.pooled)
    expected = torch.tensor(T.pooled.shape[1] / samples**2).double().log2()
    torch.testing.assert_close(loss, expected)


def test_mutual_loss_takes_the_features_themselves_if_the_widths_are_equal():
    itrd = build(distillers.load("itrd"), 0, STUDENT, correlation=0.0, mutual=1.0)
    student, teacher = random_student(), random_student(1).map(Tensor.detach)
    expected = mutual_loss(student.pooled, teacher.pooled)
    assert torch.equal(itrd(student, teacher, BATCH), expected)


# Batch norm of single values


@pytest.mark.parametrize("name", ["srd", "srrl", "reviewkd"])
def test_one_sample_is_normalised_by_running_statistics_and_keeps_them(name):
    distiller = build(distillers.load(name), 0)
    distiller(random_student(), random_teacher(), BATCH)
    before = {key: value.clone() for key, value in distiller.named_buffers()}
    student, teacher = (f().map(lambda x: x[:1]) for f in (random_student, random_teacher))
    teacher = replace(teacher, classifier=random_teacher().classifier)
    batch = Batch(BATCH.labels[:1], BATCH.index[:1])
    assert distiller(student, teacher, batch).isfinite()
    single = ("norm_s", "norm_t", "transfer", "levels.0.")  # with one value per channel
    for key, value in distiller.named_buffers():
        if key.startswith(single):
            assert torch.equal(value, before[key]), key


def test_batch_size_only_shifts_srd():
    srd = build_double("srd", temperature=1.0)
    twice_s, twice_t = (features.map(lambda x: torch.cat([x, x])) for features in (S, T))
    shift = srd.feature_loss(twice_s, twice_t) - srd.feature_loss(S, T)
    torch.testing.assert_close(shift, torch.tensor(2.0).double().log())


def test_equal_features_do_not_make_srd_infinite():
    srd = build(distillers.load("srd"), 0, STUDENT)
    with torch.no_grad():
        srd.embed_s.weight.copy_(torch.eye(STUDENT.pooled))
        srd.embed_s.bias.zero_()
    student = random_student()
    loss = srd(student, random_student().map(Tensor.detach), BATCH)
    loss.backward()
    assert loss.isfinite()
    assert student.pooled.grad.isfinite().all()


# SRRL


def test_srrl_reads_a_classifier_without_bias_and_does_not_train_it():
    srrl, student, teacher = build(distillers.load("srrl"), 0), random_student(), random_teacher()
    weight = teacher.classifier.weight
    loss = srrl(student, replace(teacher, classifier=Affine(weight, None)), BATCH)
    zero = Affine(weight, torch.zeros(len(weight)))
    torch.testing.assert_close(loss, srrl(student, replace(teacher, classifier=zero), BATCH))
    loss.backward()
    assert weight.grad is None


# ICKD


def test_ickd_accepts_maps_of_different_sizes():
    ickd = build(distillers.load("ickd"), 0)
    student = random_student()
    teacher = random_teacher()
    small = replace(teacher, stages=tuple(stage[:, :, :1, :1] for stage in teacher.stages))
    assert ickd(student, small, BATCH).isfinite()


def test_scale_of_the_teachers_map_does_not_change_ickd():
    ickd = build_double("ickd")
    scaled = replace(T, stages=tuple(3 * stage for stage in T.stages))
    torch.testing.assert_close(ickd(S, scaled, BATCH), ickd(S, T, BATCH))


# KDSVD


def kdsvd_by_autograd(student: Any, teacher: Any) -> Tensor:
    """Return the loss of rank 1 by differentiating torch's SVD, one sample after another."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(student.pooled)):
        vectors = []
        for s, t in zip(student.stages, teacher.stages, strict=True):
            rows_s, rows_t = (torch.linalg.svd(x[i].flatten(0, 1))[2] for x in (s, t))
            cosine = rows_s[:4] @ rows_t[0]
            best = int(cosine.abs().argmax())
            vectors.append((rows_s[best] * cosine[best].sign(), rows_t[0]))
        for before, after in zip(vectors, vectors[1:], strict=False):
            r_s, r_t = (torch.exp(-((after[j][:, None] - before[j]) ** 2) / 8) for j in range(2))
            total = total + (r_s - r_t).square().sum()
    return total / len(student.pooled)


def test_gradient_of_kdsvd_equals_that_of_an_svd():
    teacher = random_student(1).map(lambda x: x.detach().double())
    students = [S.map(lambda x: x.clone().requires_grad_()) for _ in range(2)]
    setting = Setting(STUDENT, STUDENT, TRAIN_LABELS, torch.Generator())
    losses = (
        distillers.load("kdsvd")(setting)(students[0], teacher, BATCH),
        kdsvd_by_autograd(students[1], teacher),
    )
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for a, b in zip(students[0].stages, students[1].stages, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_equal_singular_values_do_not_make_kdsvd_infinite(rank):
    kdsvd = build(distillers.load("kdsvd"), 0, STUDENT, rank=rank)
    teacher = random_student(1).map(Tensor.detach)
    for scale in (0.0, 1.0):  # a dead map; a map whose singular values are all 1
        stages = tuple(
            scale
            * torch.eye(x.shape[2] * x.shape[1], x.shape[3]).expand(len(x), -1, -1).reshape(x.shape)
            for x in teacher.stages
        )
        student = replace(random_student(), stages=tuple(x.requires_grad_() for x in stages))
        loss = kdsvd(student, teacher, BATCH)
        loss.backward()
        assert loss.isfinite()
        assert all(stage.grad.isfinite().all() for stage in student.stages)


def test_kdsvd_accepts_maps_with_fewer_rows_than_columns():
    shapes = replace(STUDENT, stages=((1, 2, 8), (1, 2, 4)))
    setting = Setting(shapes, shapes, TRAIN_LABELS, torch.Generator())
    stages = tuple(torch.randn(5, *shape, requires_grad=True) for shape in shapes.stages)
    student, teacher = replace(random_student(), stages=stages), random_student()
    teacher = replace(teacher, stages=tuple(2 * stage.detach() + 1 for stage in stages))
    loss = distillers.load("kdsvd")(setting)(student, teacher, BATCH)
    loss.backward()
    assert all(stage.grad.isfinite().all() for stage in stages)


# ReviewKD


@pytest.mark.parametrize(("side", "weights"), [(8, (8, 4, 2, 1)), (4, (4, 2, 1)), (1, (1,))])
def test_scales_of_the_hierarchical_loss_are_weighted_by_halves(side, weights):
    a, b = (
        torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    maps = [a - b]
    maps += [torch.nn.functional.avg_pool2d(a - b, side // n) for n in (4, 2, 1) if n < side]
    errors = sum(w * x.square().mean() for w, x in zip(weights, maps, strict=True))
    torch.testing.assert_close(hierarchical_loss(a, b), errors / sum(weights))


@pytest.mark.parametrize(("channels", "middle"), [(512, STUDENT.pooled), (5, 5)])
def test_channels_limit_the_fused_maps_of_reviewkd(channels, middle):
    reviewkd = build(distillers.load("reviewkd"), 0, channels=channels)
    assert {level.reduce[0].out_channels for level in reviewkd.levels} == {middle}


def test_reviewkd_reads_the_teachers_maps_before_the_relu():
    reviewkd, teacher = build(distillers.load("reviewkd"), 0), random_teacher()
    other = replace(teacher, preactivations=tuple(x.relu() for x in teacher.preactivations))
    assert reviewkd(random_student(), teacher, BATCH) != reviewkd(random_student(), other, BATCH)


# Networks that do not fit


def shapes(*stages: tuple[int, int, int]) -> Shapes:
    return replace(STUDENT, stages=stages, preactivations=stages)


@pytest.mark.parametrize(
    ("name", "student", "teacher", "options", "message"),
    [
        ("reviewkd", STUDENT, shapes((3, 12, 8), (23, 6, 4)), {}, "3 stages, the teacher 2"),
        ("kdsvd", STUDENT, TEACHER, {}, r"widths \[8, 4, 2\] and \[4, 4, 2\]"),
        ("kdsvd", STUDENT, shapes((3, 12, 8)), {}, r"widths \[8, 4, 2\] and \[8\]"),
        ("kdsvd", shapes((3, 12, 8)), shapes((3, 12, 8)), {}, "1 stage"),
        ("kdsvd", STUDENT, STUDENT, {"rank": 3}, "rank 3 is above 2"),
    ],
)
def test_networks_that_do_not_fit_are_rejected(name, student, teacher, options, message):
    setting = Setting(student, teacher, TRAIN_LABELS, torch.Generator())
    with pytest.raises(Incompatible, match=message):
        distillers.load(name)(setting, **options)
