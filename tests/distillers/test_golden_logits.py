"""Methods on logits: golden values of the authors' code, and the limits of their losses.

The sources are listed in `golden/README_2.md`: mdistiller, image_classification_sota, cls_KD,
logit-standardization-KD, Multi-Level-Logit-Distillation, CTKD, giakoumoglou/distillers, TTM.
"""

import inspect
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distillers import Batch, Features, Incompatible
from tests.distillers.geometry import (
    BATCH,
    STUDENT,
    build_for,
    random_student,
    random_teacher,
    to_double,
)
from tests.distillers.golden import GEOMETRIES, Case, assert_near, golden

OPTIONS = {"temperature", "alpha", "beta", "gamma", "exponent", "tikhonov"}
PLAIN = ("dkd", "dist", "nkd", "wsld", "ttm", "wttm", "skd", "ofalogit")
STANDARDISED = [("kd", {"standardise": True}), ("dkd", {"standardise": True})]
FILES = {"ofalogit": "ofa_logit"}


def build(geometry, name, file="", optional=({}, {}), **options):
    """Return a case with the options that the golden file holds."""
    case = Case(geometry, name, file, optional, **options)
    allowed = inspect.signature(type(case.distiller)).parameters.keys() & OPTIONS
    options = {key: case.golden[key].item() for key in allowed & case.golden.keys()} | options
    return Case(geometry, name, file, optional, **options)


def assert_value(case, key, gradient="", at=lambda student: student.logits):
    """Compare the loss, and its gradient at a tensor of the student, with golden values."""
    loss = case.loss()
    assert_near(loss, case.golden[key])
    if gradient:
        (actual,) = torch.autograd.grad(loss, at(case.student))
        assert_near(actual, case.golden[gradient])


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", PLAIN)
def test_loss_and_gradient_equal_the_reference(name, geometry):
    case = build(geometry, name, FILES.get(name, name))
    case.load_parameters()
    case.assert_equal()


FURTHER = [
    ("dkd", "dkd", {"beta": 0.0}, "target_class", ""),
    ("dkd", "dkd", {"alpha": 0.0, "beta": 1.0}, "non_target_class", ""),
    ("dist", "dist", {"gamma": 0.0}, "inter", ""),
    ("dist", "dist", {"beta": 0.0}, "intra", ""),
    ("dist", "dist", {"temperature": 1.0}, "loss_temperature_1", "gradient_temperature_1"),
    ("nkd", "nkd", {"gamma": 0.0}, "target", ""),
    ("nkd", "nkd", {"gamma": 1.5, "temperature": 1.0}, "loss_imagenet", "gradient_imagenet"),
    ("skd", "skd", {"direction": 0.0}, "instance", ""),
    ("skd", "skd", {"instance": 0.0}, "direction", ""),
    ("dkd", "lskd", {"standardise": True}, "loss_dkd", "gradient_dkd"),
    ("kd", "lskd", {"standardise": True}, "loss", "grad/logits"),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("name", "file", "options", "key", "gradient"), FURTHER)
def test_parts_and_other_options_equal_the_reference(name, file, options, key, gradient, geometry):
    assert_value(build(geometry, name, file, **options), key, gradient)


def two_views(geometry, **options):
    """Return a case of mlkd with the strong views that its golden file holds."""
    numbers = golden(geometry, "mlkd")
    student, teacher = (
        {"strong": Features((), torch.zeros(1), numbers[f"{network}/logits_strong"].clone())}
        for network in ("student", "teacher")
    )
    student["strong"].logits.requires_grad_()
    return build(geometry, "mlkd", optional=(student, teacher), **options)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mlkd_equals_the_reference_on_both_views(geometry):
    case = two_views(geometry)
    case.load_parameters()
    case.assert_equal()
    assert_near(case.student.strong.logits.grad, case.golden["gradient_logits_strong"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_correlations_of_mlkd_equal_the_reference(geometry):
    """They are 0.3 % of the loss, so the comparison of the loss alone would miss an error."""
    case, parts = two_views(geometry), golden(geometry, "mlkd")
    loss = case.distiller(to_double(case.student), to_double(case.teacher), case.batch)
    correlations = parts["class_correlation"] + parts["batch_correlation"]
    assert (loss - parts["kd"]).item() == pytest.approx(correlations.item(), rel=1e-3)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mlkd_of_standardised_logits_equals_the_reference(geometry):
    case = two_views(geometry, standardise=True, temperature=2.0)
    case.loss().backward()
    assert_value(case, "loss_standardised", "gradient_standardised")
    assert_near(case.student.strong.logits.grad, case.golden["gradient_standardised_strong"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mlkd_with_equal_views_equals_the_reference(geometry):
    case = two_views(geometry)
    case.student = replace(case.student, strong=case.student)
    case.teacher = replace(case.teacher, strong=case.teacher)
    assert_value(case, "loss_one_view", "gradient_one_view")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ctkd_equals_the_reference_with_the_gradient_of_its_temperature(geometry):
    case = Case(geometry, "ctkd")
    case.golden["param/g"] = case.golden.pop("param/global_T").squeeze()
    case.load_parameters()
    reversal = case.golden["reversal"].item()
    epoch = torch.tensor(10 * math.acos(1 + 2 * reversal) / math.pi)
    case.batch = replace(case.batch, epoch=epoch)
    case.assert_equal()
    actual, expected = case.distiller.g.grad, case.golden["gradient_global_T"].squeeze()
    assert actual.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)  # cancellation


def features(logits):
    """Return features with these logits (B, K) only, for both views, in double precision."""
    logits = torch.as_tensor(logits, dtype=torch.float64).clone().requires_grad_()
    view = Features((), torch.zeros(len(logits), 1).double(), logits)
    return replace(view, strong=view)


S, T = to_double(random_student()), to_double(random_teacher())


def loss(name, student=S, teacher=T, batch=BATCH, **options):
    return build_for(name, student, teacher, **options)(student, teacher, batch)


def test_kd_is_the_sum_of_both_terms_of_dkd_with_beta_the_teachers_doubt():
    student, teacher = features(S.logits[:1]), features(T.logits[:1])
    batch = Batch(BATCH.labels[:1], BATCH.index[:1])
    doubt = 1 - (teacher.logits / 4).softmax(1)[0, batch.labels].item()
    kd = loss("kd", student, teacher, batch)
    dkd = loss("dkd", student, teacher, batch, beta=doubt)
    torch.testing.assert_close(dkd, kd)


@pytest.mark.parametrize("name", ["dkd", "nkd", "ofalogit", "wsld", "wttm"])
def test_loss_and_gradient_are_finite_if_probabilities_round_to_0_and_1(name):
    certain = torch.full((2, 4), -1e4)
    certain[0, 0], certain[1, 1] = 1e4, 1e4
    batch = Batch(torch.tensor([0, 2]), torch.tensor([0, 1]))
    student = features(certain).map(lambda x: x.detach().float().requires_grad_())
    teacher = student.map(Tensor.detach)
    value = loss(name, student, teacher, batch)
    value.backward()
    assert value.isfinite()
    assert student.logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dkd", {}),
        ("nkd", {}),
        ("kd", {"standardise": True}),
        ("dkd", {"standardise": True}),
        ("mlkd", {"standardise": True}),
    ],
)
def test_two_classes_are_incompatible(name, options):
    two = features(torch.zeros(2, 2))
    with pytest.raises(Incompatible, match="has 2 classes, but 3 are needed: "):
        build_for(name, two, two, **options)


@pytest.mark.parametrize(
    ("name", "options"), [("kd", {"standardise": True}), ("dkd", {"standardise": True})]
)
def test_loss_of_standardised_logits_ignores_shift_and_scale(name, options):
    moved = features(3 * S.logits + 5)
    torch.testing.assert_close(
        loss(name, moved, **options), loss(name, **options), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("name", "options"), [("kd", {"standardise": True}), ("dkd", {"standardise": True})]
)
def test_equal_logits_have_a_finite_gradient_if_standardised(name, options):
    student = features(torch.ones_like(T.logits))
    loss(name, student, **options).backward()
    assert student.logits.grad.isfinite().all()


@pytest.mark.parametrize(("epoch", "reversal"), [(5, -0.5), (10, -1.0), (200, -1.0)])
def test_temperature_of_ctkd_climbs_the_loss(epoch, reversal):
    ctkd = build_for("ctkd", S, T)
    ctkd(S, T, replace(BATCH, epoch=torch.tensor(float(epoch)))).backward()
    g = torch.ones((), dtype=torch.float64, requires_grad=True)
    t = 1 + 20 * g.sigmoid()
    q, p = (F.log_softmax(x.logits / t, 1) for x in (T, S))
    ((q.exp() * (q - p)).sum(1).mean() * t**2).backward()
    assert t.item() == pytest.approx(15.62, abs=0.01)
    torch.testing.assert_close(ctkd.g.grad, reversal * g.grad)


def test_ttm_with_exponent_1_is_kd_with_temperature_1():
    torch.testing.assert_close(loss("ttm", exponent=1.0), loss("kd", temperature=1.0))


def test_wttm_with_exponent_1_is_ttm():
    torch.testing.assert_close(loss("wttm", exponent=1.0), loss("ttm", exponent=1.0))


def test_weight_of_wttm_grows_with_the_teachers_doubt():
    sure, unsure = (features(scale * T.logits) for scale in (1000, 0))
    ratio = [(loss("wttm", S, x) / loss("ttm", S, x)).item() for x in (sure, unsure)]
    assert ratio == pytest.approx([1.0, STUDENT.logits**0.9], rel=1e-4)


def test_weight_of_wsld_falls_with_the_students_error():
    labels = torch.tensor([0])
    teacher = features([[2.0, 0.0, 0.0]])
    fitted, wrong = features([[9.0, 0.0, 0.0]]), features([[0.0, 9.0, 0.0]])
    batch = Batch(labels, labels)

    def soft(student):
        return F.cross_entropy(student.logits / 4, (teacher.logits / 4).softmax(1)) * 16

    low, high = ((loss("wsld", x, teacher, batch) / soft(x)).item() for x in (fitted, wrong))
    assert low < 0.01
    assert high > 0.99


def test_ofa_with_power_1_is_the_cross_entropy_with_soft_targets():
    expected = F.cross_entropy(S.logits, T.logits.softmax(1))
    torch.testing.assert_close(loss("ofalogit", power=1.0), expected)


def test_dist_ignores_classes_of_constant_probability():
    student = features(S.logits[:1].repeat(len(S.logits), 1))
    value = loss("dist", student, beta=0.0, gamma=1.0, temperature=1.0)
    value.backward()
    assert value.item() == pytest.approx(1.0)
    assert student.logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["skd", "dist", "mlkd"])
def test_gradient_is_finite_if_student_and_teacher_are_equal(name):
    student = features(T.logits)
    loss(name, student, features(T.logits)).backward()
    assert student.logits.grad.isfinite().all()


def test_cross_entropy_of_the_strong_view_is_that_of_its_logits():
    torch.testing.assert_close(
        build_for("cestrong", S, T)(S, T, BATCH), F.cross_entropy(S.strong.logits, BATCH.labels)
    )
