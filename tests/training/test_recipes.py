"""Optimisers, schedules, clipping, averages and networks' options keep the law of training."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from bench import api, data, models, seeding
from bench.api import Machine
from bench.errors import BenchError, ConfigError
from bench.execution.protocol import Task
from bench.forecast import forecast
from bench.planning.estimate import estimate
from bench.planning.plan import Plan, select
from bench.results import Results
from bench.spec import Recipe
from bench.training import loop, trainer
from bench.training import optimizer as optimizers
from bench.training.evaluation import measure, predict
from bench.training.optimizer import Average, learning_rate
from bench.training.teacher import Teacher, load_trained
from bench.training.trainer import Trainer
from tests import toy
from tests.command import bench
from tests.soak import some
from tests.training import replay

VIT = "timm:vit_tiny_patch16_224"
SMALL = f"{{'{VIT}': {{options: {{patch_size: 4, embed_dim: 16, depth: 2, num_heads: 2}}}}}}"
VITS = {"networks": SMALL, "pairs": f"[{{teacher: resnet8, student: '{VIT}'}}]"}
HEAD = '''
"""A distiller with a stage before training, and one with a head."""

import torch
import torch.nn.functional as F
from torch import nn

from distillers import Distiller
from distillers.base import Pretraining


class First(Distiller):
    """L = mean (A f_s - f_t)²."""

    paper = "Nobody. A Stage that Trains the Student. 2026"
    reads = ("pooled",)

    def __init__(self, setting):
        super().__init__(setting)
        self.connector = nn.Linear(setting.student.pooled, setting.teacher.pooled)
        self.pretraining = Pretraining(2, parameters=("connector",), only=True)

    def forward(self, student, teacher, batch):
        return F.mse_loss(self.connector(student.pooled), teacher.pooled)


class Head(Distiller):
    """L = mean (A f_s - f_t)²."""

    paper = "Nobody. A Head that Replaces the Classifier. 2026"
    reads = ("pooled",)

    def __init__(self, setting):
        super().__init__(setting)
        self.projector = nn.Linear(setting.student.pooled, setting.teacher.pooled)
        self.classifier = nn.Linear(setting.teacher.pooled, setting.teacher.logits)

    def forward(self, student, teacher, batch):
        logits = self.classifier(self.projector(student.pooled))
        return F.cross_entropy(logits, batch.labels)

    def predict(self, student):
        return self.classifier(self.projector(student.pooled))
'''
METHODS = "{kd: papers, first: {ce: 1, first: 1}, head: {head: 1}, crd: papers, dcd: papers}"
NAMES = ("kd", "first", "head", "crd", "dcd")
COMMON = "epochs: 3, batch_size: 16, crop: 1, flip: false"
STEPS = f"{COMMON}, milestones: [1, 2]"
KEYS: dict[str, dict[str, str]] = {
    "adamw": {"recipe": f"{{{STEPS}, optimizer: adamw, lr: 0.001, weight_decay: 0.05}}"},
    "lamb": {"recipe": f"{{{STEPS}, optimizer: lamb, lr: 0.005}}"},
    "cosine": {"recipe": f"{{{COMMON}, schedule: cosine, warmup: 1, min_lr: 0.001}}"},
    "clip": {"recipe": f"{{{STEPS}, clip: 0.1}}"},
    "ema": {"recipe": f"{{{STEPS}, ema: 0.9}}"},
    "all": {"recipe": f"{{{COMMON}, optimizer: adamw, lr: 0.001, schedule: cosine, warmup: 1, "
                      "clip: 1, ema: 0.5}"},
    "timm": {"recipe": f"{{{STEPS}, optimizer: adamw, lr: 0.001, layer_decay: 0.5, "
                       "drop_path: 0.5}",
             "teachers": "{recipe: {epochs: 1, layer_decay: 1, drop_path: 0}}", **VITS},
}  # fmt: skip


def make_plan(folder: Path, key: str, **lines: str) -> Plan:
    (folder / "head.py").write_text(HEAD)
    added = {"methods": METHODS, "plugins": "[head.py]", **KEYS[key], **lines}
    return toy.plan(folder, **added)


@pytest.mark.parametrize(
    "key", [key if key == "all" else pytest.param(key, marks=pytest.mark.slow) for key in KEYS]
)
def test_together_alone_and_interrupted_give_the_same_numbers(key: str, tmp_path: Path) -> None:
    plan = make_plan(tmp_path, key)
    expected = toy.outcome(plan, tmp_path)
    assert list(expected) == list(NAMES)
    assert all('"done"' in text for text in expected.values())
    assert len(set(expected.values())) == len(NAMES)
    for name in ("kd", "dcd") if key != "all" else NAMES:
        alone = toy.outcome(select(plan, f"method={name}"), tmp_path / name)
        assert alone == {name: expected[name]}
    # 1 is in the stage before training, the others in epochs 1 and 2
    for stop_after in (1, 4, 7, 11) if key == "all" else (11,):
        folder = tmp_path / str(stop_after)
        toy.run_interrupted(plan, folder, stop_after)
        results = Results(folder / "results")
        assert any(results.state(cell.run).exists() for cell in plan.cells), "no checkpoint"
        assert toy.outcome(plan, folder) == expected
        assert not list(folder.rglob("*.corrupt"))


@pytest.mark.parametrize("key", KEYS)
def test_each_key_changes_the_numbers(key: str, tmp_path: Path) -> None:
    changed = toy.outcome(make_plan(tmp_path, key, methods="[kd]"), tmp_path / "changed")
    recipe = {"recipe": f"{{{STEPS}}}", "teachers": "{recipe: {epochs: 1}}"}
    plain = toy.outcome(make_plan(tmp_path, key, methods="[kd]", **recipe), tmp_path / "plain")
    assert changed != plain


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(epochs=4, lr=1.0, warmup=2, milestones=(3,)), [0.5, 1.0, 1.0, 0.1]),
        (Recipe(epochs=4, lr=1.0, schedule="cosine"), [1.0, 0.8535533905932737, 0.5, 0.146446609]),
        (Recipe(epochs=2, lr=1.0, schedule="cosine", min_lr=0.2), [1.0, 0.6]),
    ],
)
def test_learning_rates(recipe: Recipe, expected: list[float]) -> None:
    rates = [learning_rate(recipe, epoch) for epoch in range(1, recipe.epochs + 1)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [0, 5])
def test_the_cosine_is_timms(warmup: int) -> None:
    from timm.scheduler import CosineLRScheduler

    recipe = Recipe(epochs=30, lr=0.5, schedule="cosine", min_lr=0.01, warmup=warmup)
    sgd = torch.optim.SGD([nn.Parameter(torch.ones(1))], recipe.lr)
    scheduler = CosineLRScheduler(sgd, recipe.epochs, lr_min=recipe.min_lr)
    for epoch in range(warmup, recipe.epochs):  # timm counts epochs from 0
        scheduler.step(epoch)
        assert learning_rate(recipe, epoch + 1) == pytest.approx(sgd.param_groups[0]["lr"])


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    norms: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        step = optimizers.SGD.step

        def measured(sgd: torch.optim.SGD) -> None:
            owners = optimizers.parameters(sgd)
            gradients = [p.grad.norm() for p in owners if p.grad is not None]
            norms.append(float(torch.stack(gradients).norm()))
            step(sgd)

        patch.setattr(optimizers.SGD, "step", measured)
        make = make_plan(tmp_path, "clip", methods="[dcd]")
        toy.run(make, tmp_path)
    assert norms
    assert max(norms) == pytest.approx(0.1, rel=1e-3)


def test_average_follows_the_weights_and_copies_buffers() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    net[1].requires_grad_(False)
    average, weight = Average(net, 0.75), net[0].weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 1
        net[1].weight += 1
    average.step()
    with average.applied():
        assert torch.allclose(weight, before + 0.25)
        assert net[1].weight.tolist() == [2.0, 2.0], "weights that do not learn are not averaged"
    assert torch.equal(weight, before + 1)
    with pytest.raises(ValueError, match="of another network"):
        average.restore({})
    with pytest.raises(ValueError, match=r"average of 0\.weight has another shape"):
        average.restore({"0.weight": torch.ones(1)})


def test_the_average_is_evaluated_and_saved(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "ema", methods="{kd: papers, head: {head: 1}}")
    results = toy.run(plan, tmp_path)
    digits = data.load(plan.suite.data, None, torch.device("cpu"))
    for cell in plan.cells:
        record = results.record(cell.run)
        assert record is not None
        path = results.weights(record.id)
        net = load_trained(record, digits.facts, path, plan.suite.registry)
        metrics = measure(*predict(net, digits, "test", plan.suite.recipe))
        assert metrics["nll"] == pytest.approx(record.metrics["last"]["nll"], rel=1e-6)


def test_layers_have_timms_learning_rates(tmp_path: Path) -> None:
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    plan = make_plan(tmp_path, "timm", methods="[student]")
    net = plan.suite.registry.build_network(VIT, 10, 8)
    recipe = plan.suite.recipe
    head = nn.Parameter(torch.ones(3))
    built = optimizers.build(recipe, net, [head], {head}, fused=False, captured=False)
    optimizers.set_rate(built, 0.1)
    rates = {id(p): group["lr"] for group in built.param_groups for p in group["params"]}
    for group in param_groups_layer_decay(net.network, layer_decay=0.5):  # type: ignore[arg-type]
        for parameter in group["params"]:
            assert rates.pop(id(parameter)) == pytest.approx(0.1 * group["lr_scale"])
    assert rates == {id(head): 0.1}
    assert [group["weight_decay"] for group in built.param_groups][-1] == 0.0


def capture_trainers(folder: Path, key: str, capture: Any) -> list[Any]:
    """Train all methods without a worker; return everything that training changes."""
    plan = make_plan(folder, key, methods="[student, kd, dcd]")
    dataset = data.load(plan.suite.data, None, torch.device("cpu"))
    registry = plan.suite.registry
    with seeding.initialised_by("teacher"):
        net = models.build("resnet8", dataset.facts.classes, dataset.facts.size)
    teacher = Teacher([net], dataset, plan.suite.recipe)
    runs = [plan.runs[cell.run] for cell in plan.cells]
    trainers = [
        Trainer(Task(run.id, "", run.specification), dataset, teacher.shapes, capture, registry)
        for run in runs
    ]
    loop.train_cohort(trainers, teacher, dataset, lambda _: None, capture)
    content = []
    for run in trainers:
        assert run.failure is None, run.failure
        curves = [(epoch.lr, epoch.loss, epoch.terms, epoch.test) for epoch in run.curves]
        parts = [run.net.state_dict(), run.loss.state_dict(), run.weights()]
        parts += optimizers.state(run.optimizer).values()
        content.append([curves, [x.tolist() for part in parts for x in part.values()]])
    return content


@pytest.mark.soak
@pytest.mark.parametrize("key", some(["all", "cosine", "clip", "timm", "adamw", "ema"], 2))
def test_captured_steps_give_the_numbers_of_eager_steps(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "FUSED", {"cpu", "cuda"})
    expected = capture_trainers(tmp_path, key, None)
    captures = []

    def capture(call: Any, streams: Sequence[torch.Generator]) -> Any:
        captures.append(call)
        return replay.capture(call, streams)

    assert capture_trainers(tmp_path, key, capture) == expected
    assert len(captures) == 4, "the teacher and three methods"


def test_lamb_with_cuda_graphs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "devices", lambda machine: ["cpu"])
    plan = make_plan(tmp_path, "lamb", methods="[kd]")
    with pytest.raises(BenchError, match="optimizer: lamb computes in Python.*Allowed: optimizer"):
        api.execute(plan, Results(tmp_path), Machine(gpus=(), inline=True, graphs=True))


def test_lamb_clips_as_timm_does_unless_the_recipe_clips() -> None:
    weight = [nn.Parameter(torch.ones(1))]
    for clip, expected in ((0.0, 1.0), (5.0, None)):
        recipe = Recipe(optimizer="lamb", clip=clip)
        lamb = optimizers.build(recipe, None, weight, set(), fused=False, captured=False)
        assert lamb.defaults["max_grad_norm"] == expected


@pytest.mark.parametrize(
    ("recipe", "messages"),
    [
        ("{optimizer: adam}",
         ["recipe.optimizer: found the text 'adam'. Did you mean 'adamw'? "
          "Allowed: sgd, adamw, lamb"]),
        ("{schedule: cos}", ["recipe.schedule: found the text 'cos'. Did you mean 'cosine'? "
          "Allowed: step, cosine"]),
        ("{optimizer: adamw, momentum: 0.9}",
         ["recipe.momentum: found the number 0.9 with optimizer: adamw. "
          "Allowed: optimizer: sgd, or momentum: 0"]),
        ("{optimizer: lamb, nesterov: true}",
         ["recipe.nesterov: found true with optimizer: lamb. "
          "Allowed: optimizer: sgd, or nesterov: false"]),
        ("{schedule: cosine, milestones: [1]}",
         ["recipe.milestones: found a list with schedule: cosine. "
          "Allowed: schedule: step, or milestones: []"]),
        ("{min_lr: 0.01}",
         ["recipe.min_lr: found the number 0.01 with schedule: step. "
          "Allowed: schedule: cosine, or min_lr: 0"]),
        ("{schedule: cosine, lr: 0.1, min_lr: 0.2}",
         ["recipe.min_lr: min_lr 0.2 is above lr 0.1. Allowed: a min_lr from 0 to lr"]),
        ("{warmup: -1, clip: -1, ema: 1}",
         ["recipe.warmup: found the number -1. Allowed: a whole number of epochs, 0 or more",
          "recipe.clip: found the number -1. Allowed: a number, 0 or more",
          "recipe.ema: found the number 1. Allowed: a number from 0 to below 1"]),
        ("{drop_path: 0.1}",
         ["recipe.drop_path: found 0.1, and 'resnet8' is not a network of timm. "
          "Allowed: timm:<name>, or pairs.0.recipe.drop_path: 0",
          "recipe.drop_path: found 0.1, and 'resnet8' is not a network of timm. "
          "Allowed: timm:<name>, or teachers.recipe.drop_path: 0"]),
        ("{layer_decay: 0}", ["recipe.layer_decay: found the number 0. "
                              "Allowed: a number above 0 and at most 1"]),
    ],
)  # fmt: skip
def test_contradictions_are_refused(recipe: str, messages: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        toy.plan(tmp_path, recipe=recipe)
    lines = [line.partition("  ")[2] for line in str(error.value).splitlines()]
    assert lines == messages


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ("pairs.0.recipe.optimizer=adamw", {"momentum: 0.8, lr: 0.1"}),
        ("teachers.recipe.schedule=cosine", {"milestones: [1], lr: 0.1"}),
        ("recipe.optimizer=lamb", {"momentum: 0, milestones: [1]"}),
    ],
)
def test_inherited_keys_without_effect_are_not_contradictions(
    change: str, options: set[str], tmp_path: Path
) -> None:
    path = toy.write(tmp_path, recipe=f"{{epochs: 2, {', '.join(options)}}}")
    suite = api.load_plan(path, [change]).suite
    shown = tmp_path / "shown.yaml"
    shown.write_text(api.suite.render(suite))
    assert api.load_plan(shown).runs.keys() == api.load_plan(path, [change]).runs.keys()


def test_a_warmup_longer_than_the_training_gives_a_warning(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, recipe="{epochs: 2, warmup: 3}")
    warnings = api.suite.warnings(plan.suite)
    assert "recipe.warmup: training ends before epoch 3, so lr is never reached" in warnings


@pytest.mark.parametrize(
    ("network", "recipe", "message"),
    [
        ("timm:vgg11", "{drop_path: 0.1}", "unexpected keyword argument 'drop_path_rate'"),
        ("timm:poolformer_s12", "{layer_decay: 0.5}", "has no group_matcher. Allowed"),
    ],
)
def test_a_plan_says_which_networks_of_timm_lack_a_key(
    network: str, recipe: str, message: str, tmp_path: Path
) -> None:
    dataset = "{name: digits, size: 32, per_class: 8, test_per_class: 5}"
    pair = f"[{{teacher: resnet8, student: '{network}', recipe: {recipe}}}]"
    plan = toy.plan(tmp_path, pairs=pair, dataset=dataset, methods="[student]")
    assert message in str(estimate(plan)[plan.cells[0].run].error)


@pytest.mark.parametrize(
    ("recipe", "copies"),
    [("{}", 3), ("{optimizer: adamw}", 4), ("{optimizer: lamb, ema: 0.9}", 5), ("{ema: 0.9}", 4)],
)
def test_memory_counts_the_optimisers_state_and_the_average(
    recipe: str, copies: int, tmp_path: Path
) -> None:
    plan = toy.plan(tmp_path, methods="[student]", recipe=recipe)
    costs = estimate(plan)
    runs = [run for run in plan.runs.values() if run.kind == "student"]
    parameters = costs[runs[0].id].network.parameters  # type: ignore[union-attr]
    memory = forecast(plan, runs, costs, Results(tmp_path / "none"), ["cpu"]).memory
    assert memory == 4 * copies * parameters


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ("{resnet8: {options: {depth: 3}}}",
         "networks.resnet8.options: 'resnet8' is not a network of a library. "
         "Allowed: timm:<name>, torchvision:<name>"),
        ("{resnet8: {pretrained: true}}", "networks.resnet8.pretrained: 'resnet8' is not"),
        (f"{{'{VIT}': {{options: {{checkpoint_path: a.pth}}}}}}",
         "options.checkpoint_path: distillbench sets checkpoint_path itself"),
        (f"{{'{VIT}': {{options: {{pretrained_cfg: a}}}}}}", "pretrained_cfg itself"),
        (f"{{'{VIT}': {{options: {{depth: {{a: 1}}}}}}}}",
         "options.depth: found a mapping. Allowed: a text, a number, true, false, or a list"),
        (f"{{'{VIT}': {{option: 1}}}}", "no key 'option'. Did you mean 'options'?"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(networks: str, message: str, tmp_path: Path) -> None:
    pairs = f"[{{teacher: resnet8, student: '{VIT}'}}]"
    with pytest.raises(ConfigError) as error:
        toy.plan(tmp_path, networks=networks, pairs=pairs)
    assert message in str(error.value)


def test_options_are_used_shown_and_recorded(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, **VITS, methods="[kd]")
    results = toy.run(plan, tmp_path)
    record = results.record(plan.cells[0].run)
    assert record is not None
    assert record.status == "done", record.reason
    assert record.specification.options["embed_dim"] == 16
    assert record.network.parameters < 10_000
    shown = bench("show", str(tmp_path / "toy.yaml")).stdout
    assert "embed_dim: 16" in shown
    again = tmp_path / "shown.yaml"
    again.write_text("\n".join(line for line in shown.splitlines() if not line.startswith("# ")))
    assert list(api.load_plan(again).runs) == list(plan.runs)


def test_an_option_that_the_network_does_not_have_is_reported(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, **VITS | {"networks": f"{{'{VIT}': {{options: {{deepness: 2}}}}}}"})
    error = str(estimate(plan)[plan.cells[0].run].error)
    assert "cannot be built" in error
    assert "unexpected keyword argument 'deepness'" in error


def test_pretrained_weights_are_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network: the libraries' functions that read weights are replaced."""
    import timm
    from torchvision.models import ResNet18_Weights, resnet18

    create, torch_state = timm.create_model, resnet18(num_classes=1000).state_dict()

    def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        net = create(name, **options)
        if pretrained:
            nn.init.constant_(net.blocks[0].norm1.weight, 7.0)
        return net

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *_, **__: torch_state)
    net = models.build(VIT, 10, 224, options={"depth": 2}, pretrained=True)
    assert net.get_parameter("network.blocks.0.norm1.weight").unique().tolist() == [7.0]
    net = models.build("torchvision:resnet18", 10, 32, pretrained=True)
    assert torch.equal(net.get_parameter("network.conv1.weight"), torch_state["conv1.weight"])
    assert net.get_parameter("network.fc.weight").shape == (10, 512)


def test_unreachable_weights_fail_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import ResNet18_Weights

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", unreachable)
    network = "torchvision:resnet18"
    plan = toy.plan(
        tmp_path, networks=f"{{'{network}': {{pretrained: true}}}}", methods="[student]",
        dataset="{name: digits, size: 32, per_class: 8, test_per_class: 5}",
        pairs=f"[{{teacher: resnet8, student: '{network}'}}]",
    )  # fmt: skip
    results = toy.run(plan, tmp_path)
    record = results.record(plan.cells[0].run)
    assert record is not None
    assert record.status == "failed"
    assert "the weights of 'torchvision:resnet18' are not in" in str(record.reason)
    assert "OSError: no route to host" in str(record.reason)
    assert math.isfinite(record.seconds)


def test_old_checkpoints_without_an_optimizer_part_resume(tmp_path: Path) -> None:
    """Checkpoints of the first version have the parts network, loss and momentum."""
    plan = toy.plan(tmp_path, methods="[kd]")
    expected = toy.outcome(plan, tmp_path)
    folder = tmp_path / "old"
    toy.run_interrupted(plan, folder, 1)
    results = Results(folder / "results")
    content = results.read_state(plan.cells[0].run)
    assert content is not None
    parts = {name.partition("/")[0] for name in safetensors.torch.load(content)}
    assert parts == {"network", "loss", "momentum"}
    assert toy.outcome(plan, folder) == expected
