"""Stages before training, heads, warmups and optional features keep the law of training."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from bench import api, data
from bench.planning.plan import Plan, select
from bench.report.figures import correlation
from bench.results import Results
from bench.spec import TermSpec
from bench.training.evaluation import measure, predict
from bench.training.loss import WeightedLoss
from bench.training.teacher import load_trained
from distillers import Batch, Setting, Shapes
from tests import toy
from tests.distillers.geometry import BATCH, STUDENT, TEACHER, TRAIN_LABELS, S, T
from tests.soak import some

PLUGIN = '''
"""Distillers that use every extension of the contract."""

import torch
import torch.nn.functional as F
from torch import nn

from distillers import Distiller, Incompatible
from distillers.base import Pretraining


class Boundary(Distiller):
    """L = mean (p_s - p_t)², p the preactivations."""

    paper = "Nobody. A Stage that Trains the Student. 2026"
    reads = ("preactivations",)

    def __init__(self, setting):
        super().__init__(setting)
        pairs = zip(setting.student.preactivations, setting.teacher.preactivations)
        self.connectors = nn.ModuleList(nn.Conv2d(s[0], t[0], 1) for s, t in pairs)
        self.pretraining = Pretraining(3, parameters=("connectors",), only=True)

    def forward(self, student, teacher, batch):
        rows = zip(self.connectors, student.preactivations, teacher.preactivations)
        return sum(F.mse_loss(c(s), t) for c, s, t in rows)


class Factor(Distiller):
    """L = mean (A f_s - g_t)², g_t a code of the teacher's features, learned first."""

    paper = "Nobody. A Stage that Trains Only the Distiller. 2026"
    reads = ("pooled",)

    def __init__(self, setting):
        super().__init__(setting)
        width = setting.teacher.pooled
        self.coder = nn.Sequential(nn.Linear(width, 4), nn.Linear(4, width))
        self.translator = nn.Linear(setting.student.pooled, 4)
        self.pretraining = Pretraining(2, 0.01, student=False, parameters=("coder",))

    def pretrain(self, student, teacher, batch):
        assert student is None
        return F.mse_loss(self.coder(teacher.pooled), teacher.pooled)

    def forward(self, student, teacher, batch):
        with torch.no_grad():
            code = self.coder[0](teacher.pooled)
        return F.mse_loss(self.translator(student.pooled), code)


class Head(Distiller):
    """L = mean (A m_s - m_t)², m the pooled maps."""

    paper = "Nobody. A Head that Replaces the Classifier. 2026"
    reads = ("pooled_map",)
    teacher_reads = ("pooled_map", "classifier")

    def __init__(self, setting):
        super().__init__(setting)
        self.projector = nn.Conv2d(setting.student.pooled, setting.teacher.pooled, 1)
        self.classifier = nn.Linear(setting.teacher.pooled, setting.teacher.logits)
        self.classifier.requires_grad_(False)

    def forward(self, student, teacher, batch):
        if self.training:
            with torch.no_grad():
                self.classifier.weight.copy_(teacher.classifier.weight)
                self.classifier.bias.copy_(teacher.classifier.bias)
        return F.mse_loss(self.projector(student.pooled_map), teacher.pooled_map)

    def predict(self, student):
        return self.classifier(self.projector(student.pooled_map).mean((2, 3)))


class Scheduled(Distiller):
    """L = (e / E) KL(p_t || p_s), e the epoch of E."""

    paper = "Nobody. A Loss with a Schedule. 2026"
    reads = ("logits",)

    def forward(self, student, teacher, batch):
        log_p, q = student.logits.log_softmax(1), teacher.logits.softmax(1)
        kl = F.kl_div(log_p, q, reduction="batchmean")
        return batch.epoch / batch.epochs * kl


class Everything(Distiller):
    """L = mean of all optional features' differences."""

    paper = "Nobody. A Loss that Reads Everything. 2026"
    reads = ("stem", "classifier", "norms")

    def forward(self, student, teacher, batch):
        loss = F.mse_loss(student.stem.mean((1, 2, 3)), teacher.stem.mean((1, 2, 3)))
        loss = loss + F.mse_loss(student.classifier.weight.mean(), teacher.classifier.weight.mean())
        norms = zip(student.norms, teacher.norms)
        return loss + sum(F.mse_loss(s.weight.mean(), t.weight.mean()) for s, t in norms)
'''
METHODS = (
    "{student: papers, boundary: {ce: 1, boundary: 1}, factor: {ce: 1, factor: 1}, "
    "head: {head: 1}, scheduled: {ce: 1, scheduled: 1}, everything: {ce: 1, everything: 1}, "
    "ramp: {ce: 1, kd: {weight: 1, warmup: 4}}}"
)
NAMES = ("student", "boundary", "factor", "head", "scheduled", "everything", "ramp")


def make_plan(folder: Path, **lines: str) -> Plan:
    (folder / "extensions.py").write_text(PLUGIN)
    return toy.plan(folder, **{"methods": METHODS, "plugins": "[extensions.py]", **lines})


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, str], Results]:
    folder = tmp_path_factory.mktemp("together")
    plan = make_plan(folder)
    return plan, toy.outcome(plan, folder), Results(folder / "results")


def record_of(together: tuple[Plan, dict[str, str], Results], method: str):  # type: ignore[no-untyped-def]
    plan, _, results = together
    run = next(cell.run for cell in plan.cells if cell.method.name == method)
    record = results.record(run)
    assert record is not None
    assert record.status == "done", record.reason
    return record


def test_all_extensions_train_together(together: tuple[Plan, dict[str, str], Results]) -> None:
    assert list(together[1]) == list(NAMES)
    assert all('"done"' in text for text in together[1].values())


@pytest.mark.parametrize("method", NAMES)
def test_alone_and_together_give_the_same_numbers(
    together: tuple[Plan, dict[str, str], Results], method: str, tmp_path: Path
) -> None:
    plan, expected, _ = together
    assert toy.outcome(select(plan, f"method={method}"), tmp_path) == {method: expected[method]}


@pytest.mark.soak
@pytest.mark.parametrize("stop_after", some([1, 2, 3, 4, 5, 8, 12, 14], 3))
def test_interrupted_stages_give_the_same_numbers(
    together: tuple[Plan, dict[str, str], Results],
    stop_after: int,
    tmp_path: Path,
) -> None:
    plan, expected, _ = together
    toy.run_interrupted(plan, tmp_path, stop_after)
    assert toy.outcome(plan, tmp_path) == expected


def test_epochs_of_a_stage_are_numbered_up_to_zero(
    together: tuple[Plan, dict[str, str], Results],
) -> None:
    curves = record_of(together, "boundary").curves
    assert [epoch.epoch for epoch in curves] == [-2, -1, 0, 1, 2]
    assert [set(epoch.terms) for epoch in curves] == [{"boundary"}] * 3 + [{"ce"}] * 2
    assert [bool(epoch.test) for epoch in curves] == [False] * 3 + [True] * 2
    assert curves[0].loss > curves[2].loss
    curves = record_of(together, "factor").curves
    assert [epoch.epoch for epoch in curves] == [-1, 0, 1, 2]
    assert [epoch.lr for epoch in curves[:3]] == [0.01, 0.01, 0.05]
    record = record_of(together, "factor")
    assert record.seconds == pytest.approx(sum(epoch.seconds for epoch in curves))


def test_a_head_is_evaluated_saved_and_counted(
    together: tuple[Plan, dict[str, str], Results],
) -> None:
    plan, _, results = together
    record, plain = record_of(together, "head"), record_of(together, "student")
    state = safetensors.torch.load_file(results.weights(record.id))
    head = {name: x for name, x in state.items() if name.startswith("head.")}
    assert set(head) == {f"head.{n}.{leaf}" for n in ("projector", "classifier")
                         for leaf in ("weight", "bias")}  # fmt: skip
    assert record.network.parameters == plain.network.parameters + sum(
        x.numel() for x in head.values()
    )
    assert record.network.multiply_adds > plain.network.multiply_adds
    digits = data.load(plan.suite.data, None, torch.device("cpu"))
    net = load_trained(record, digits.facts, results.weights(record.id), plan.suite.registry)
    metrics = measure(*predict(net, digits, "test", plan.suite.recipe))
    assert metrics["top1"] == record.metrics["last"]["top1"]
    assert metrics["nll"] == pytest.approx(record.metrics["last"]["nll"], rel=1e-6)


def test_a_plan_counts_the_head(tmp_path: Path) -> None:
    from bench.planning.estimate import estimate

    plan = make_plan(tmp_path)
    cost = {c.method.name: estimate(plan)[c.run].network for c in plan.cells}
    assert cost["head"].parameters > cost["student"].parameters  # type: ignore[union-attr]


def test_figures_read_students_with_heads(
    together: tuple[Plan, dict[str, str], Results],
) -> None:
    from bench.report import build

    plan, _, results = together
    entries = build.entries(plan, results)
    matrices = correlation.differences(
        entries, results, "resnet8/resnet8", registry=plan.suite.registry
    )
    assert "head" in matrices


def test_two_heads_and_two_stages_are_impossible(tmp_path: Path) -> None:
    methods = "{a: {head: 1, head2: 1}, b: {ce: 1, boundary: 1, factor: 1}}"
    text = PLUGIN + "\n\nclass Head2(Head):\n    '''L = 1'''\n"
    plan = make_plan(tmp_path)
    (tmp_path / "extensions.py").write_text(text)
    plan = api.load_plan(toy.write(tmp_path, methods=methods, plugins="[extensions.py]"))
    results = toy.run(plan, tmp_path)
    reasons = {c.method.name: results.record(c.run).reason for c in plan.cells}  # type: ignore[union-attr]
    assert "head and head2 replace the student's classifier. Allowed: one of them" in reasons["a"]
    assert "boundary and factor have a stage before training" in reasons["b"]


def test_a_network_without_a_field_is_skipped_with_the_reason(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path,
        dataset="{name: digits, size: 32, per_class: 8, test_per_class: 5}",
        pairs="[{teacher: resnet8, student: 'timm:convnext_atto'}]",
        methods="{head: {head: 1}}",
    )
    results = toy.run(plan, tmp_path)
    reason = results.record(plan.cells[0].run).reason  # type: ignore[union-attr]
    assert reason is not None
    assert "the student has no pooled_map: other layers than pooling precede" in reason


def test_a_warmup_scales_the_weight_and_changes_the_id(tmp_path: Path) -> None:
    loss = WeightedLoss(
        {"ce": TermSpec(weight=1.0), "kd": TermSpec(weight=0.9, options={}, warmup=20)},
        STUDENT, [TEACHER], TRAIN_LABELS, 0,
    ).double()  # fmt: skip
    for epoch, factor in ((1, 0.05), (10, 0.5), (20, 1.0), (40, 1.0)):
        batch = Batch(BATCH.labels, BATCH.index, torch.tensor(float(epoch)), 240)
        total, terms = loss(S, [T], batch)
        assert total == pytest.approx(float(terms["ce"] + 0.9 * factor * terms["kd"]))
    plans = [
        toy.plan(tmp_path, methods=f"{{m: {{ce: 1, kd: {kd}}}}}")
        for kd in ("1", "{weight: 1, warmup: 0}", "{weight: 1, warmup: 5}")
    ]
    ids = [plan.cells[0].run for plan in plans]
    assert ids[0] == ids[1] != ids[2]


def test_objects_of_todays_fields_still_work() -> None:
    batch = Batch(BATCH.labels, BATCH.index)
    assert (batch.epoch.shape, batch.epochs) == ((), 1)
    shapes = Shapes(((3, 4, 4),), 3, 10)
    assert (shapes.preactivations, shapes.stem, shapes.classifier) == ((), None, False)
    assert Setting(shapes, shapes, TRAIN_LABELS, torch.Generator()).student is shapes


DEIT = "timm:deit_tiny_distilled_patch16_224"
NETWORKS = f"{{'{DEIT}': {{options: {{patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2}}}}}}"
TOKEN = {
    "dataset": "{name: digits, size: 32, per_class: 4, test_per_class: 3}",
    "networks": NETWORKS,
    "pairs": f"[{{teacher: resnet8, student: '{DEIT}', recipe: {{optimizer: adamw, lr: 0.001}}}}]",
    "methods": "[student, deit, deit+token]",
}


def test_a_distillation_token_learns_the_same_together_alone_and_interrupted(
    tmp_path: Path,
) -> None:
    plan = toy.plan(tmp_path, **TOKEN)
    expected = toy.outcome(plan, tmp_path / "together")
    assert len(set(expected.values())) == 3
    assert all('"done"' in text for text in expected.values())
    alone = toy.outcome(select(plan, "method=deit+token"), tmp_path / "alone")
    assert alone == {"deit+token": expected["deit+token"]}
    toy.run_interrupted(plan, tmp_path / "interrupted", 4)
    assert toy.outcome(plan, tmp_path / "interrupted") == expected


def test_a_student_without_a_token_is_skipped_with_the_reason(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[deit+token]")
    record = toy.run(plan, tmp_path).record(plan.cells[0].run)
    assert record is not None
    assert str(record.reason).startswith("the student has no distilled: it has one classifier")
