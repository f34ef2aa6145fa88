"""Facts of each method: zeros, invariances, values by hand, and naive versions in Python loops."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import distillers
from distillers import Batch, Features, Incompatible, Setting, Shapes
from tests.distillers.contract import BATCH, INDEX, TRAIN_LABELS, B, K, built, student, teacher

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def pooled(*rows) -> Features:
    """Features that are nothing but these pooled rows, in double precision."""
    x = torch.as_tensor(rows, dtype=torch.float64) if len(rows) > 1 else rows[0].double()
    return Features((), x.clone().requires_grad_(), torch.zeros(len(x), 2))


def doubled(seen: Features) -> Features:
    stages = tuple(x.detach().double() for x in seen.stages)
    return Features(stages, seen.pooled.detach().double(), seen.logits.detach().double())


def made(name: str, **options):
    return built(distillers.load(name), 0, **options).double()


def value(name: str, s: Features, t: Features, **options) -> Tensor:
    return made(name, **options)(s, t, BATCH)


S, T = doubled(student()), doubled(teacher())


@pytest.mark.parametrize("name", ["kd", "at", "sp", "rkd", "pkt"])
def test_is_zero_when_the_student_is_the_teacher(name):
    assert value(name, T, T).abs() < 1e-12


@pytest.mark.parametrize(
    ("name", "tap"), [("at", "stages"), ("sp", "stages"), ("rkd", "pooled"), ("pkt", "pooled")]
)
@pytest.mark.parametrize("changed", ["student", "teacher"])
def test_scale_does_not_matter(name, tap, changed):
    def scaled(seen):
        x = getattr(seen, tap)
        return replace(seen, **{tap: tuple(3 * y for y in x) if tap == "stages" else 3 * x})

    s, t = (scaled(S), T) if changed == "student" else (S, scaled(T))
    torch.testing.assert_close(value(name, s, t), value(name, S, T), rtol=1e-6, atol=0)


def test_kd_by_hand():
    s, t = (replace(S, logits=torch.tensor([row], dtype=torch.float64)) for row in ([0, 0], [0, 1]))
    temperature, q = 2.0, 1 / (1 + math.exp(-0.5))
    divergence = q * math.log(2 * q) + (1 - q) * math.log(2 * (1 - q))
    found = value("kd", s, t, temperature=temperature)
    assert found.item() == pytest.approx(4 * divergence)


def test_ce_of_equal_logits_is_the_logarithm_of_their_number():
    assert value("ce", replace(S, logits=torch.ones(B, K)), T).item() == pytest.approx(math.log(K))


def test_pkt_times_the_batch_is_the_mean_divergence_of_rows():
    p, q = distribution(S.pooled), distribution(T.pooled)
    rows = [
        sum(b * math.log(b / a) for a, b in zip(*pair, strict=True))
        for pair in zip(p, q, strict=True)
    ]
    assert value("pkt", S, T).item() * B == pytest.approx(sum(rows) / B, rel=1e-5)


def distribution(x: Tensor) -> list[list[float]]:
    raw = [[(float(F.cosine_similarity(a, b, dim=0)) + 1) / 2 for b in x] for a in x]
    return [[y / sum(row) for y in row] for row in raw]


def test_pkt_does_not_see_the_scale_of_a_sample():
    scale = torch.tensor([0.5, 1, 2, 3, 5], dtype=torch.float64)[:, None]
    moved = replace(S, pooled=S.pooled * scale)
    torch.testing.assert_close(value("pkt", moved, T), value("pkt", S, T), **EXACT)


def test_sp_by_loops():
    def gram(stage):
        raw = [[float((a * b).sum()) for b in stage] for a in stage]
        return [[y / math.sqrt(sum(z * z for z in row)) for y in row] for row in raw]

    a, b = gram(S.stages[-1]), gram(T.stages[-1])
    total = sum((a[i][j] - b[i][j]) ** 2 for i in range(B) for j in range(B))
    assert value("sp", S, T).item() == pytest.approx(total / B**2)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_at_by_loops(power):
    def attention(stage, size):
        stage = F.adaptive_avg_pool2d(stage, size)
        maps = [(abs(sample) ** power).mean(0).flatten() for sample in stage]
        return [a / math.sqrt(sum(a * a)) for a in maps]

    total = 0.0
    for s, t in zip(S.stages, T.stages, strict=True):
        size = t.shape[2:]  # the smaller one in this geometry
        pairs = zip(attention(s, size), attention(t, size), strict=True)
        total += sum(float(((a - b) ** 2).mean()) for a, b in pairs) / B
    assert value("at", S, T, power=power).item() == pytest.approx(total)


def test_at_pools_the_larger_map_whichever_it_is():
    swapped = made_for("at", T, S)(T, S, BATCH)
    torch.testing.assert_close(swapped, value("at", S, T), **EXACT)


def made_for(name: str, s: Features, t: Features, labels: Tensor = TRAIN_LABELS, **options):
    """A distiller for two networks with these features."""

    def shapes(seen):
        stages = tuple(tuple(x.shape[1:]) for x in seen.stages)
        return Shapes(stages, seen.pooled.shape[1], seen.logits.shape[1])

    torch.manual_seed(0)
    setting = Setting(shapes(s), shapes(t), labels, torch.Generator().manual_seed(0))
    return distillers.load(name)(setting, **options).to(s.pooled.dtype)


def test_cc_by_hand():
    s, t = pooled([1, 2], [3, 4], [5, 6]), pooled([1, 1], [1, 1], [1, 1])
    cc = made_for("cc", s, t, width=2)
    for layer in (cc.embed_s, cc.embed_t):
        layer.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    deltas = ((0, 1), (2, 3), (4, 5))
    expected = (
        sum(a * b for i in range(2) for a, b in zip(deltas[i], deltas[i + 1], strict=True)) / 2
    )
    assert cc(s, t, BATCH).item() == pytest.approx(expected)


def test_rkd_by_loops():
    def huber(x):
        return x * x / 2 if abs(x) < 1 else abs(x) - 0.5

    def distances(x):
        raw = [[math.dist(a, b) for b in x] for a in x]
        mean = sum(map(sum, raw)) / (B * (B - 1))
        return [[d / mean for d in row] for row in raw]

    def unit(a, b):
        length = math.dist(a, b)
        return [(y - z) / length if length else 0.0 for y, z in zip(b, a, strict=True)]

    def angles(x):
        units = [[unit(a, b) for b in x] for a in x]
        return [
            sum(y * z for y, z in zip(a, b, strict=True)) for row in units for a in row for b in row
        ]

    s, t = S.pooled.tolist(), T.pooled.tolist()
    d = [
        huber(a - b)
        for x, y in zip(distances(s), distances(t), strict=True)
        for a, b in zip(x, y, strict=False)
    ]
    a = [huber(x - y) for x, y in zip(angles(s), angles(t), strict=True)]
    expected = 2 * sum(d) / B**2 + 3 * sum(a) / B**3
    assert value("rkd", S, T, distance=2.0, angle=3.0).item() == pytest.approx(expected)


def test_rkd_does_not_see_shifts_rotations_and_scale():
    rotation, _ = torch.linalg.qr(torch.randn(11, 11, dtype=torch.float64))
    moved = replace(S, pooled=3.7 * S.pooled @ rotation + 1.5)
    torch.testing.assert_close(value("rkd", moved, T), value("rkd", S, T), **EXACT)


def test_rkd_passes_no_gradient_between_equal_samples():
    x = S.pooled.clone()
    x[1] = x[0]
    seen = pooled(x)
    value("rkd", seen, T).backward()
    assert seen.pooled.grad.abs().max() < 100
    torch.testing.assert_close(seen.pooled.grad.sum(0), torch.zeros(11).double(), **EXACT)


def test_rkd_of_a_batch_of_equal_samples_is_finite():
    seen = pooled(torch.ones(B, 11))
    loss = value("rkd", seen, T)
    loss.backward()
    assert loss.isfinite()
    assert seen.pooled.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("s", "t", "kernel", "stride"),
    [
        ((3, 8, 8), (5, 4, 4), (3, 3), (2, 2)),
        ((3, 4, 4), (5, 8, 8), (4, 4), (2, 2)),
        ((3, 4, 4), (5, 4, 4), (1, 1), (1, 1)),
        ((3, 7, 6), (5, 4, 4), (4, 3), (1, 1)),
    ],
)
def test_fitnets_regressor_leads_to_the_teachers_shape(s, t, kernel, stride):
    maps = Features((torch.randn(2, *s),), torch.zeros(2, 1), torch.zeros(2, 1))
    hints = Features((torch.randn(2, *t),), torch.zeros(2, 1), torch.zeros(2, 1))
    fitnet = made_for("fitnet", maps, hints, stage=0)
    assert (fitnet.regress[0].kernel_size, fitnet.regress[0].stride) == (kernel, stride)
    assert fitnet.regress(maps.stages[0]).shape == hints.stages[0].shape


def test_fitnet_is_zero_for_an_identity_regressor():
    fitnet = made_for("fitnet", T, T, relu=False).eval()
    with torch.no_grad():
        fitnet.regress[0].weight.copy_(torch.eye(29)[:, :, None, None])
        fitnet.regress[0].bias.zero_()
        fitnet.regress[1].eps = 0.0
    assert fitnet(T, T, BATCH) == 0


def test_fitnets_relu_can_be_left_out():
    assert (value_of_regressor(relu=True) >= 0).all()
    assert (value_of_regressor(relu=False) < 0).any()


def value_of_regressor(**options) -> Tensor:
    return made("fitnet", **options).regress(S.stages[1])


def with_stages(*stages) -> Features:
    return Features(tuple(torch.zeros(1, *x) for x in stages), torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("stage", [-1, 2, 3])
def test_fitnet_refuses_a_stage_that_one_network_lacks(stage):
    two, three = with_stages((1, 4, 4), (1, 2, 2)), with_stages(*[(1, 4, 4)] * 3)
    with pytest.raises(Incompatible, match=f"no stage {stage}: the student has 2 stages"):
        made_for("fitnet", two, three, stage=stage)


def test_fitnet_refuses_what_no_regressor_bridges():
    with pytest.raises(Incompatible, match="4 x 4 to the teacher's of 12 x 12"):
        made_for("fitnet", with_stages((3, 4, 4)), with_stages((5, 12, 12)), stage=0)


def test_at_refuses_networks_whose_stages_do_not_pair_up():
    with pytest.raises(Incompatible, match="the student has 1 stages, the teacher 2"):
        made_for("at", with_stages((1, 4, 4)), with_stages((1, 4, 4), (1, 2, 2)))


@torch.no_grad()
def test_crd_by_loops():
    crd = made("crd", temperature=0.3)
    rows = torch.cat([INDEX[:, None], crd.others(BATCH.labels)], 1)
    u = F.normalize(crd.embed_s(S.pooled), dim=1)
    v = F.normalize(crd.embed_t(T.pooled), dim=1)
    expected = 0.0
    for anchor, bank in ((u, crd.bank_t.rows), (v, crd.bank_s.rows)):
        e = [
            [math.exp(float(a @ bank[k]) / 0.3) for k in row]
            for a, row in zip(anchor, rows, strict=True)
        ]
        z = sum(map(sum, e)) / rows.numel() * len(TRAIN_LABELS)
        c = (rows.shape[1] - 1) / len(TRAIN_LABELS)
        for first, *others in ([x / z for x in row] for row in e):
            expected -= math.log(first / (first + c)) / B
            expected -= sum(math.log(c / (x + c)) for x in others) / B
    assert crd(S, T, BATCH, rows).item() == pytest.approx(expected)


def test_crd_trains_the_student_by_its_first_term_only():
    crd = made("crd")
    seen = pooled(S.pooled)
    crd.contrast(F.normalize(crd.embed_t(T.pooled), dim=1), crd.bank_s, ROWS, crd.z_t).backward()
    assert seen.pooled.grad is None
    assert crd.embed_s.weight.grad is None
    assert crd.embed_t.weight.grad.abs().sum() > 0


ROWS = torch.arange(B)[:, None] + torch.arange(18)[None]


def test_crds_rows_have_length_1_once_they_were_seen():
    crd = made("crd")
    before = crd.bank_s.rows.clone()
    crd(S, T, BATCH)
    seen = torch.zeros(len(TRAIN_LABELS), dtype=torch.bool).index_fill(0, INDEX, value=True)
    for bank in (crd.bank_s, crd.bank_t):
        lengths = bank.rows.norm(dim=1)
        torch.testing.assert_close(lengths[seen], torch.ones(B).double())
        assert ((lengths[~seen] - 1).abs() > 1e-6).all()
    assert torch.equal(crd.bank_s.rows[~seen], before[~seen])


@pytest.mark.parametrize(("temperature", "constant"), [(0.07, 1.11e5), (0.1, 7.4e4)])
def test_crd_starts_as_the_papers_does(temperature, constant):
    samples, batch, width = 50_000, 64, 256
    labels = torch.arange(samples) % 100
    rng = torch.Generator().manual_seed(0)
    s, t = (
        Features((), torch.randn(batch, width, generator=rng).relu(), torch.zeros(batch, 100))
        for _ in range(2)
    )
    crd = made_for("crd", s, t, labels, temperature=temperature)
    index = torch.arange(batch) * 7
    loss = crd(s, t, Batch(labels[index], index))
    assert 21 < loss.item() < 24
    assert crd.z_s.item() == pytest.approx(constant, rel=0.05)
    assert crd.z_t.item() == pytest.approx(constant, rel=0.05)


def test_crds_constants_are_set_by_the_first_batch_alone():
    crd = made("crd")
    crd.eval()(S, T, BATCH)
    assert crd.z_s == 0
    crd.train()(S, T, BATCH)
    first = crd.z_s.clone()
    assert first > 0
    crd(doubled(student(5)), doubled(teacher(6)), BATCH)
    assert crd.z_s == first


def test_crd_is_finite_at_the_lowest_temperature_of_the_paper():
    assert built(distillers.load("crd"), 0, temperature=0.02)(
        student(), teacher(), BATCH
    ).isfinite()


def test_dcd_by_loops():
    dcd = made("dcd", alpha=0.7)
    u = F.normalize(dcd.embed_s(S.pooled), dim=1).tolist()
    v = F.normalize(dcd.embed_t(T.pooled), dim=1).tolist()
    score = [[math.e * sum(x * y for x, y in zip(a, b, strict=True)) for b in v] for a in u]
    expected = 0.0
    for i in range(B):
        p = [math.exp(score[i][j]) / sum(map(math.exp, score[i])) for j in range(B)]
        column = [score[a][i] for a in range(B)]
        q = [math.exp(column[j]) / sum(map(math.exp, column)) for j in range(B)]
        expected -= math.log(p[i]) / B
        expected += 0.7 * sum(y * math.log(y / x) for x, y in zip(p, q, strict=True)) / B
    assert dcd(S, T, BATCH).item() == pytest.approx(expected)


def test_dcds_bias_is_inert():
    dcd = made("dcd")
    loss = dcd(S, T, BATCH)
    loss.backward()
    assert dcd.bias.grad.abs() < 1e-12
    dcd.bias.data += 3
    torch.testing.assert_close(dcd(S, T, BATCH), loss, **EXACT)


@pytest.mark.parametrize(("log_scale", "trained"), [(2.30, True), (2.31, False)])
def test_dcds_scale_stops_at_ten(log_scale, trained):
    dcd = made("dcd")
    dcd.log_scale.data.fill_(log_scale)
    dcd(S, T, BATCH).backward()
    assert (dcd.log_scale.grad != 0) == trained


def test_dcd_is_consistent_when_scores_are_symmetric():
    embeddings = made_for("dcd", S, S, width=19)
    embeddings.embed_t.load_state_dict(embeddings.embed_s.state_dict())
    only_contrast = made_for("dcd", S, S, width=19, alpha=0.0)
    only_contrast.load_state_dict(embeddings.state_dict())
    torch.testing.assert_close(embeddings(S, S, BATCH), only_contrast(S, S, BATCH), **EXACT)


def test_dcd_starts_near_the_logarithm_of_the_batch():
    rng = torch.Generator().manual_seed(0)
    s, t = (pooled(torch.randn(64, 256, generator=rng)) for _ in range(2))
    assert made_for("dcd", s, t)(s, t, BATCH).item() == pytest.approx(math.log(64), abs=0.15)


def test_dcds_scalars_are_spared_from_decay():
    assert distillers.load("dcd").undecayed == ("log_scale", "bias")
