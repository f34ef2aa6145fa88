"""VID, NST, AB, FT, FSP and RRD: golden values, traps of the reference code, and their limits."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from distillers import Batch, Features, Incompatible
from tests.distillers.geometry import BATCH, TEACHER, B, S, T, build_double, build_for, loss_of
from tests.distillers.golden import GEOMETRIES, RELATIVE_TOLERANCE, Case, assert_near, golden

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def maps_of(file: dict, prefix: str, *, grad: bool) -> tuple:
    """Return the maps of a golden file with this prefix, in order."""
    names = sorted(name for name in file if name.startswith(prefix))
    return tuple(file[name].clone().requires_grad_(grad) for name in names)


def features(**fields) -> Features:
    """Return features with these fields only."""
    empty = Features((), torch.zeros(1, 1), torch.zeros(1, 1))
    return replace(empty, **fields)


def batch_of(size: int) -> Batch:
    """Return a batch of samples of class 0."""
    return Batch(torch.zeros(size, dtype=torch.long), torch.arange(size))


def assert_gradients(tensors, file: dict, prefix: str) -> None:
    expected = maps_of(file, prefix, grad=False)
    for tensor, gradient in zip(tensors, expected, strict=True):
        assert_near(tensor.grad, gradient)


# VID and NST


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_vid_equals_the_reference(geometry):
    case = Case(geometry, "vid")
    stages = range(len(case.student.stages))
    for index in stages:
        scale = case.golden.pop(f"param/{index}.log_scale")
        case.golden[f"param/scales.{index}"] = scale
        torch.testing.assert_close(case.distiller.scales[index].detach(), scale)
    case.load_parameters(
        {f"{i}.regressor.{j}": f"regressors.{i}.{j}" for i in stages for j in (0, 2, 4)}
    )
    case.assert_equal()


def test_variance_of_vid_begins_at_5():
    student, teacher = (features(stages=(torch.zeros(2, 3, 4, 4),)) for _ in range(2))
    loss = build_for("vid", student, teacher)(student, teacher, BATCH)
    assert loss.item() == pytest.approx(torch.tensor(5.0).log().item() / 2)


def test_vid_is_finite_for_a_large_scale_and_can_be_negative():
    vid = build_double("vid")
    for scale in vid.scales:
        scale.data.fill_(1000.0)
    assert vid(S, T, BATCH).isfinite()
    teacher = T.map(torch.zeros_like)
    for scale in vid.scales:
        scale.data.fill_(-5.0)
    assert vid(S.map(torch.zeros_like), teacher, BATCH) < 0


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_nst_equals_the_reference(geometry):
    Case(geometry, "nst").assert_equal()


def test_nst_equals_a_computation_by_loops():
    def kernel(a, b):
        return torch.stack([(x @ y) ** 2 for x in a for y in b]).mean()

    total = 0.0
    for s, t in zip(S.stages, T.stages, strict=True):
        size = t.shape[2:]  # the smaller one in this geometry
        for a, b in zip(F.adaptive_avg_pool2d(s, size), t, strict=True):
            x, y = ([row / row.norm() for row in maps.flatten(1)] for maps in (a, b))
            total += float(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)) / B
    assert loss_of("nst", S, T).item() == pytest.approx(total)


def test_nst_is_zero_for_equal_networks_and_does_not_see_the_order_of_channels():
    assert loss_of("nst", T, T).abs() < 1e-12
    flipped = replace(S, stages=tuple(stage.flip(1) for stage in S.stages))
    torch.testing.assert_close(loss_of("nst", flipped, T), loss_of("nst", S, T), **EXACT)


def test_channel_without_activation_gets_no_gradient_from_nst():
    stages = tuple(stage.clone() for stage in S.stages)
    stages[1][:, 4] = 0
    student = replace(S, stages=tuple(stage.requires_grad_() for stage in stages))
    loss_of("nst", student, T).backward()
    assert all(stage.grad.isfinite().all() for stage in student.stages)
    assert student.stages[1].grad[:, 4].abs().max() == 0


@pytest.mark.parametrize("name", ["vid", "nst"])
def test_networks_with_different_numbers_of_stages_are_rejected(name):
    one_stage = replace(T, stages=T.stages[1:])
    with pytest.raises(Incompatible, match="the student has 3 stages, the teacher 2"):
        build_for(name, S, one_stage)


# AB


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ab_equals_the_reference_without_connectors(geometry):
    file = golden(geometry, "ab")
    student = features(preactivations=maps_of(file, "student/", grad=True))
    teacher = features(preactivations=maps_of(file, "teacher/", grad=False))
    ab = build_for("ab", student, teacher)
    assert not list(ab.parameters())
    loss = ab(student, teacher, batch_of(len(teacher.preactivations[0])))
    loss.backward()
    assert_near(loss, file["loss"])
    assert_gradients(student.preactivations, file, "grad/")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ab_equals_the_reference_with_connectors(geometry):
    file = golden(geometry, "ab_connected")
    optional = (
        {"preactivations": maps_of(file, "student/preact/", grad=True)},
        {"preactivations": maps_of(file, "teacher/preact/", grad=False)},
    )
    case = Case(geometry, "ab", "ab_connected", optional, margin=file["margin"].item())
    layers = {"conv": 0, "bn": 1}
    case.load_parameters(
        {
            f"connectors.{stage}.{name}": f"connectors.{stage}.{layer}"
            for stage in range(len(case.student.preactivations))
            for name, layer in layers.items()
        }
    )
    loss = case.loss()
    loss.backward()
    assert_near(loss, file["loss"])
    assert_gradients(case.student.preactivations, file, "grad/preact/")


def test_ab_is_zero_beyond_the_margin_on_the_teachers_side():
    teacher = torch.tensor([-0.5, 0.0, 0.5]).view(1, 3, 1, 1)
    for student, expected in (([-1.0, -3.0, 1.0], 0.0), ([0.0, 0.0, 0.0], 3.0), ([1, -1, -2], 13)):
        maps = features(preactivations=(torch.tensor(student).view(1, 3, 1, 1).float(),))
        hints = features(preactivations=(teacher,))
        loss = build_for("ab", maps, hints)(maps, hints, batch_of(1))
        assert loss.item() == pytest.approx(0.003 * expected)


def test_ab_rejects_networks_with_different_numbers_of_stages():
    teacher = replace(T, preactivations=T.preactivations[1:])
    with pytest.raises(Incompatible, match="the student has 3 stages, the teacher 2"):
        build_for("ab", S, teacher)


# FSP


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_fsp_equals_the_reference(geometry):
    file = golden(geometry, "fsp")
    maps = maps_of(file, "student/", grad=True)
    hints = maps_of(file, "teacher/", grad=False)
    student = features(stem=maps[0], stages=maps[1:])
    teacher = features(stem=hints[0], stages=hints[1:])
    loss = build_for("fsp", student, teacher)(student, teacher, BATCH)
    loss.backward()
    assert_near(loss, file["loss"])
    assert_gradients(maps, file, "grad/")


def test_fsp_accepts_maps_of_different_sizes():
    teacher = replace(S, stem=F.avg_pool2d(S.stem, 2), stages=tuple(2 * x for x in S.stages))
    assert build_for("fsp", S, teacher)(S, teacher, BATCH) > 0


@pytest.mark.parametrize("changed", ["stem", "stages"])
def test_fsp_rejects_different_channels(changed):
    teacher = replace(S, **{changed: getattr(T, changed)})
    with pytest.raises(
        Incompatible, match=r"are \[2, 3, 23, 11\] in the student, \[.*both need the same"
    ):
        build_for("fsp", S, teacher)


@pytest.mark.parametrize("name", ["ab", "fsp"])
def test_distiller_has_a_loss_in_the_stage_before_training_only(name):
    stage = build_for(name, S, S, pretraining_epochs=7).pretraining
    assert stage.epochs == 7
    assert stage.only
    assert stage.student
    assert stage.lr == 0


# FT


def ft_of(geometry: str) -> Case:
    """Return a case of FT with the reference's initial weights."""
    case = Case(geometry, "ft", rate=golden(geometry, "ft")["rate"].item())
    case.load_parameters({f"translator.encoder.{i}": f"translator.{i}" for i in range(9)})
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ft_equals_the_reference(geometry):
    case = ft_of(geometry)
    case.assert_equal()
    factor = case.distiller.paraphraser["encoder"](case.teacher.stages[-1])
    assert_near(factor, case.golden["teacher_factor"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_reconstruction_of_ft_equals_the_reference(geometry):
    case = ft_of(geometry)
    loss = case.distiller.pretrain(None, case.teacher, case.batch)
    loss.backward()
    assert_near(loss, case.golden["reconstruction"])
    first = case.distiller.get_parameter("paraphraser.encoder.0.weight")
    assert_near(first.grad, case.golden["gradient_reconstruction_first_convolution"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_distance_of_factors_equals_the_reference(geometry):
    file = golden(geometry, "ft_factor")
    student = file["student"].clone().requires_grad_()
    loss = build_for("ft", S, T).distance(student, file["teacher"])
    loss.backward()
    assert_near(loss, file["loss"])
    assert_near(student.grad, file["grad"])


def test_ft_is_zero_for_equal_factors():
    assert build_for("ft", S, T).distance(S.stages[1], S.stages[1]) == 0


def test_paraphraser_of_ft_learns_in_the_stage_only():
    ft = build_double("ft", pretraining_lr=0.3)
    assert ft.pretraining.parameters == ("paraphraser",)
    assert not ft.pretraining.student
    assert ft.pretraining.lr == 0.3
    ft(S, T, BATCH).backward()
    assert all(parameter.grad is None for parameter in ft.paraphraser.parameters())
    assert all(parameter.grad is not None for parameter in ft.translator.parameters())


@pytest.mark.parametrize(("rate", "channels"), [(0.5, 6), (2.0, 26), (0.001, 1)])
def test_rate_of_ft_sets_the_channels_of_the_factor(rate, channels):
    ft = build_double("ft", rate=rate)
    assert ft.translator(S.stages[-1]).shape == (B, channels, *TEACHER.stages[-1][1:])


# RRD


def rrd_of(geometry: str) -> Case:
    """Return a case of RRD with the reference's weights and queue."""
    file = golden(geometry, "rrd")
    case = Case(
        geometry,
        "rrd",
        queue=len(file["queue_before"]),
        temperature=file["temperature_student"].item(),
        teacher_temperature=file["temperature_teacher"].item(),
    )
    for leaf, tensor in case.distiller.embed_t.named_parameters():
        tensor.data.copy_(case.golden.pop(f"param/embed_t.{leaf}"))  # it does not learn
    case.load_parameters()
    case.distiller.queue.copy_(case.golden["queue_before"])
    return case


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_rrd_equals_the_reference(geometry):
    rrd_of(geometry).assert_equal()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_queue_of_rrd_equals_the_reference(geometry):
    case = rrd_of(geometry)
    case.loss()
    assert_near(case.distiller.queue, case.golden["queue_after"])
    second = case.loss().item()
    expected = case.golden["loss_second_step"].item()
    assert second == pytest.approx(expected, rel=RELATIVE_TOLERANCE)
    assert_near(case.distiller.queue, case.golden["queue_after_second_step"])


def test_teachers_embedding_of_rrd_does_not_learn():
    rrd = build_double("rrd")
    rrd(S, T, BATCH).backward()
    assert all(not p.requires_grad and p.grad is None for p in rrd.embed_t.parameters())
    assert "embed_t.weight" in rrd.state_dict()


def test_initial_rows_of_the_queue_have_length_1():
    lengths = build_double("rrd", queue=29).queue.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(29).double())


def test_queue_wraps_around_for_batches_of_any_size():
    rrd = build_double("rrd", queue=7)
    before = rrd.queue.clone()
    v = F.normalize(rrd.embed_t(T.pooled), dim=1)
    rrd(S, T, BATCH)
    torch.testing.assert_close(rrd.queue, torch.cat([v, before[5:]]))
    rrd(S, T, BATCH)
    torch.testing.assert_close(rrd.queue, v[[2, 3, 4, 3, 4, 0, 1]])


def test_queue_smaller_than_the_batch_holds_the_last_samples():
    rrd = build_double("rrd", queue=3)
    assert rrd(S, T, BATCH).isfinite()
    torch.testing.assert_close(rrd.queue, F.normalize(rrd.embed_t(T.pooled), dim=1)[2:])
