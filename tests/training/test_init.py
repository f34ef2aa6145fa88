"""`networks: {NAME: {init: FILE}}`: a network begins training with the weights of a file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from bench import api, data, models, seeding, suite
from bench.data import Selection
from bench.errors import ConfigError, TeacherRefused
from bench.execution.protocol import Job, Task
from bench.planning.plan import Plan
from bench.results import Results, sha256
from bench.training import pretrained, teacher
from tests import toy
from tests.command import bench

INIT = "{resnet8: {init: start.pth}}"
FACTS = data.facts(Selection("digits"), None)
PLUGIN = """\
from torch import nn


class Mine(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.score = nn.Linear(4, classes)

    def forward(self, x):
        return self.score(self.a(x).mean((2, 3)))


NETWORKS = {"mine": Mine}
"""


def save(folder: Path, classes: int = 7, name: str = "resnet8") -> dict[str, torch.Tensor]:
    """Write the weights of a network as `start.pth`; return them."""
    torch.manual_seed(5)
    net = models.build(name, classes, 8)
    state = (net.network if isinstance(net, models.FeatureExtractor) else net).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}},
               folder / "start.pth")  # fmt: skip
    return state


def problem(folder: Path, networks: str = INIT, **lines: str) -> str:
    with pytest.raises(ConfigError) as error:
        toy.plan(folder, networks=networks, **lines)
    return str(error.value)


def weights(results: Results, run: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(results.weights(run))


def frozen(folder: Path, **lines: str) -> tuple[Plan, Results]:
    """Run a suite whose networks hardly move from their initial weights."""
    recipe = "{epochs: 1, lr: 1.0e-12, weight_decay: 0, batch_size: 16, milestones: []}"
    plan = toy.plan(folder, recipe=recipe, teachers="{}", methods="[kd]", **lines)
    return plan, toy.run(plan, folder)


@pytest.mark.parametrize("classes", [7, 10])
def test_the_head_is_loaded_if_its_number_of_classes_is_equal(classes: int, tmp_path: Path) -> None:
    start = save(tmp_path, classes)
    plan, results = frozen(tmp_path, networks=INIT)
    for run in plan.runs.values():
        assert run.specification.init == sha256(tmp_path / "start.pth")
        end = weights(results, run.id)
        role, seed = run.specification.role, run.specification.seed
        with seeding.initialised_by("weights", role, seed, "resnet8"):
            drawn = models.build("resnet8", 10).state_dict()
        expected = start if classes == 10 else drawn
        torch.testing.assert_close(end["fc.weight"], expected["fc.weight"])
        torch.testing.assert_close(end["layer3.0.conv1.weight"], start["layer3.0.conv1.weight"])


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet8", "fc"), ("vgg8", "classifier"), ("mobilenet_v2", "classifier.0"),
     ("timm:vit_tiny_patch16_224", "head"), ("timm:resnet18", "fc"),
     ("torchvision:squeezenet1_1", "classifier.1"), ("torchvision:resnet18", "fc")],
)  # fmt: skip
def test_the_layer_of_the_logits_is_found(name: str, layer: str) -> None:
    assert models.classifier_layer(models.build(name, 10, 32), 32) == layer


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:squeezenet1_1"])
def test_networks_of_libraries_keep_their_head(name: str, tmp_path: Path) -> None:
    state = save(tmp_path, 7, name)
    registry, facts = suite.Suite.registry, replace(FACTS, size=32)
    contents = pretrained.read(tmp_path / "start.pth")
    fit = teacher.fit(contents, name, facts, registry, any_classes=True)
    layer = models.classifier_layer(models.build(name, 10, 32), 32)
    assert state.keys() - fit.state.keys() == {f"{layer}.weight", f"{layer}.bias"}
    assert str(fit.note).endswith(
        f"the file has 7 classes, the data set 10: {layer} begins with random weights"
    )


def test_auxiliary_classifiers_are_left_out_too(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.body, self.head, self.aux = (nn.Linear(4, n) for n in (4, classes, classes))

    torch.save(Two(7).state_dict(), tmp_path / "two.pth")
    contents = pretrained.read(tmp_path / "two.pth")
    fit = pretrained.fit(contents, Two(10), "a two", "head")
    assert fit.state.keys() == {"body.weight", "body.bias"}
    with pytest.raises(TeacherRefused, match=r"missing head.weight \(10, 4\)"):
        pretrained.fit(contents, Two(10), "a two")


def test_a_network_of_a_plugin_begins_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    start = {"a.0.weight": torch.randn(4, 3, 3, 3), "a.0.bias": torch.randn(4)}
    norm = {f"a.1.{key}": value for key, value in nn.BatchNorm2d(4).state_dict().items()}
    head = {"score.weight": torch.randn(99, 4), "score.bias": torch.randn(99)}
    torch.save(start | norm | head, tmp_path / "start.pth")
    plan, results = frozen(
        tmp_path, networks="{mine: {init: start.pth}}", plugins="[mine.py]",
        pairs="[{teacher: resnet8, student: mine}]",
    )  # fmt: skip
    end = weights(results, plan.cells[0].run)
    torch.testing.assert_close(end["network.a.0.weight"], start["a.0.weight"])
    assert end["network.score.weight"].shape == (10, 4)


def test_ids_depend_on_the_file_and_only_of_its_network(tmp_path: Path) -> None:
    pairs = "[{teacher: resnet14, student: resnet8}]"
    before = list(toy.plan(tmp_path, pairs=pairs).runs)
    save(tmp_path)
    seven = list(toy.plan(tmp_path, pairs=pairs, networks=INIT).runs)
    save(tmp_path, 8)
    eight = list(toy.plan(tmp_path, pairs=pairs, networks=INIT).runs)
    assert before[0] == seven[0] == eight[0], "the teacher is another network"
    assert not {*before[1:]} & {*seven[1:]}
    assert not {*seven[1:]} & {*eight[1:]}


def test_files_that_do_not_fit_are_reported_with_their_lines(tmp_path: Path) -> None:
    save(tmp_path, name="resnet20")
    path = toy.write(tmp_path, pairs="[{teacher: resnet20, student: resnet8}]", networks=INIT)
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 cut")
    path.write_text(
        path.read_text().replace("start.pth}}", "start.pth}, resnet20: {init: torn.pth}}")
    )
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "init" in text)
    for verb in ("validate", "plan"):
        result = bench(verb, str(path))
        assert result.exit_code == 2
        errors = " ".join(result.stderr.split())
        assert f"toy.yaml:{line} networks.resnet8.init: " in errors
        assert "not a resnet8: unexpected layer1.1.conv1.weight (16, 16, 3, 3)" in errors
        assert "It fits another network of the suite: resnet20" in errors
        assert f"toy.yaml:{line} networks.resnet20.init: " in errors
        assert "torn.pth" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ("{resnet8: {init: none.pth}}", "networks.resnet8.init: no file '"),
        ("{resnet8: {init: [a]}}", "networks.resnet8.init: found a list. Allowed: a path, or"),
        ("{resnet8: {init: {path: start.pth, sha256: '" + 64 * "0" + "'}}}", "the SHA-256 of '"),
        ("{resnet8: {init: start.pth, pretrained: true}}",
         "networks.resnet8.init: found pretrained: true, too. Allowed: one of them"),
    ],
)  # fmt: skip
def test_contradictions_and_missing_files_are_errors(
    networks: str, message: str, tmp_path: Path
) -> None:
    save(tmp_path)
    assert message in problem(tmp_path, networks)


def test_a_teachers_checkpoint_and_init_of_one_network_are_a_contradiction(tmp_path: Path) -> None:
    save(tmp_path)
    message = problem(tmp_path, teachers="{checkpoints: {resnet8: start.pth}}")
    assert "networks.resnet8.init: teachers.checkpoints.resnet8 has all weights" in message


def test_show_prints_the_file_and_its_output_is_the_same_suite(tmp_path: Path) -> None:
    save(tmp_path)
    plan = toy.plan(tmp_path, networks=INIT)
    shown = bench("show", str(tmp_path / "toy.yaml")).stdout
    assert str(tmp_path / "start.pth") in shown
    assert sha256(tmp_path / "start.pth") in shown
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "toy.yaml").write_text(shown)
    assert list(api.load_plan(folder / "toy.yaml").runs) == list(plan.runs)
    changed = api.load_plan(tmp_path / "toy.yaml", [f"networks.resnet8.init={tmp_path}/start.pth"])
    assert list(changed.runs) == list(plan.runs)


def test_a_worker_on_another_machine_gets_an_absolute_path(tmp_path: Path) -> None:
    save(tmp_path)
    plan = toy.plan(tmp_path, networks=INIT)
    run = plan.runs[plan.cells[0].run]
    task = Task(run.id, "a run", run.specification, init=run.init)
    job = Job("a", (task,), None, "cpu", 1, "results", "digits", None).absolute()
    [sent] = Job.from_json(job.to_json()).tasks
    assert sent.init is not None
    assert sent.init.path == tmp_path / "start.pth"
    assert json.loads(job.to_json())["tasks"][0]["init"]["sha256"] == sent.init.sha256


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_a_file_that_changed_after_the_plan_fails_the_runs(change: str, tmp_path: Path) -> None:
    save(tmp_path)
    plan = toy.plan(tmp_path, networks=INIT, pairs="[{teacher: resnet14, student: resnet8}]")
    (tmp_path / "start.pth").unlink()
    if change == "edited":
        save(tmp_path, 8)
    record = toy.run(plan, tmp_path).record(plan.cells[0].run)
    assert record is not None
    assert record.status == "failed"
    message = "its sha256 is" if change == "edited" else "no such file; `networks.resnet8.init`"
    assert message in str(record.reason)


def test_runs_are_equal_alone_together_and_after_an_interruption(tmp_path: Path) -> None:
    save(tmp_path)
    plan = toy.plan(tmp_path, networks=INIT, methods="[student, kd]")
    together = toy.outcome(plan, tmp_path)
    for folder in ("alone", "interrupted"):
        (tmp_path / folder).mkdir()
    alone = toy.plan(tmp_path, networks=INIT, methods="[kd]")
    assert toy.outcome(alone, tmp_path / "alone")["kd"] == together["kd"]
    toy.run_interrupted(plan, tmp_path / "interrupted", stop_after=1)
    assert toy.outcome(plan, tmp_path / "interrupted") == together
