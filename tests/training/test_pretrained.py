"""Files of weights as the field writes them are fitted to a network, or refused with a reason."""

import argparse
import pickle
import tarfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bench import data, models
from bench.data import Selection
from bench.errors import TeacherRefused
from bench.results import Results
from bench.training import pretrained
from bench.training.evaluation import measure, predict
from tests import toy
from tests.command import bench

NETWORKS = ["resnet8", "timm:resnet18", "torchvision:resnet18"]
PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "network.",
    "module._orig_mod.",
    "_orig_mod.module.model.",
    "backbone.encoder.",
]
State = dict[str, torch.Tensor]


def build(name: str, seed: int = 0, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return models.build(name, classes, 8)


def original(network: nn.Module) -> nn.Module:
    """The network as its library builds it."""
    return network.network if name_is_wrapped(network) else network


def name_is_wrapped(network: nn.Module) -> bool:
    return isinstance(network, models.FeatureExtractor)


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def loaded(path: Path, name: str) -> tuple[State, pretrained.Fit]:
    network = build(name, seed=1)
    fit = pretrained.fit(pretrained.read(path), network, f"a {name}")
    pretrained.load_into(network, fit.state)
    return original(network).state_dict(), fit


def assert_equal(actual: State, expected: State) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


@pytest.mark.case("bare-state-dict")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt", "bin", "safetensors"])
def test_a_bare_state_dict_loads(name: str, suffix: str, tmp_path: Path) -> None:
    state, path = original(build(name)).state_dict(), tmp_path / f"net.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    assert_equal(loaded(path, name)[0], state)


@pytest.mark.case("name-prefixes")
@pytest.mark.parametrize(
    ("name", "prefix"),
    [("resnet8", prefix) for prefix in PREFIXES] + [(name, PREFIXES[0]) for name in NETWORKS[1:]],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_common_prefix_is_removed(name: str, prefix: str, suffix: str, tmp_path: Path) -> None:
    state, path = original(build(name)).state_dict(), tmp_path / f"net.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(prefixed(state, prefix), path)
    else:
        torch.save({"state_dict": prefixed(state, prefix)}, path)
    actual, fit = loaded(path, name)
    assert_equal(actual, state)
    assert fit.prefix == prefix


@pytest.mark.case("name-prefixes")
def test_tensors_outside_the_prefix_are_left_out(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    torch.save(
        {**prefixed(state, "model."), "criterion.weight": torch.ones(3)}, tmp_path / "x.ckpt"
    )
    assert_equal(loaded(tmp_path / "x.ckpt", "resnet8")[0], state)


@pytest.mark.case("containers")
@pytest.mark.parametrize(
    "keys",
    [
        ("state_dict",), ("model",), ("net",), ("model_state_dict",), ("weights",), ("params",),
        ("model_ema",), ("state_dict_ema",), ("model", "state_dict"), ("ema", "params"), ("any",),
    ],
)  # fmt: skip
def test_a_container_of_any_name_is_found(keys: tuple[str, ...], tmp_path: Path) -> None:
    content: Any = build("resnet8").state_dict()
    state = content
    for key in reversed(keys):
        content = {key: content, "epoch": 240}
    torch.save(content, tmp_path / "x.pth")
    actual, fit = loaded(tmp_path / "x.pth", "resnet8")
    assert_equal(actual, state)
    assert fit.place == ".".join(keys)


@pytest.mark.case("containers")
@pytest.mark.parametrize("ema", ["state_dict_ema", "model_ema", "ema"])
def test_averaged_weights_are_taken_and_the_choice_is_said(ema: str, tmp_path: Path) -> None:
    plain, averaged = build("resnet8").state_dict(), build("resnet8", seed=5).state_dict()
    torch.save({"state_dict": plain, ema: averaged}, tmp_path / "x.pth")
    actual, fit = loaded(tmp_path / "x.pth", "resnet8")
    assert_equal(actual, averaged)
    assert fit.note is not None
    assert f"the averaged weights '{ema}' are used" in fit.note


@pytest.mark.case("containers")
def test_equal_weights_in_two_containers_are_no_choice(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    torch.save({"model": state, "net": state}, tmp_path / "x.pth")
    actual, fit = loaded(tmp_path / "x.pth", "resnet8")
    assert_equal(actual, state)
    assert fit.note is None


@pytest.mark.case("containers")
def test_two_different_sets_that_fit_are_refused(tmp_path: Path) -> None:
    student, teacher = build("resnet8").state_dict(), build("resnet8", seed=5).state_dict()
    torch.save(
        {**prefixed(student, "student."), **prefixed(teacher, "teacher.")}, tmp_path / "x.pt"
    )
    with pytest.raises(TeacherRefused, match=r"several sets of tensors fit: '.*student\.\*'"):
        loaded(tmp_path / "x.pt", "resnet8")


@pytest.mark.case("containers")
def test_an_averaged_model_of_swa_loads(tmp_path: Path) -> None:
    network = build("resnet8")
    averaged = AveragedModel(network)
    averaged.update_parameters(network)
    torch.save(averaged.state_dict(), tmp_path / "swa.pth")
    assert_equal(loaded(tmp_path / "swa.pth", "resnet8")[0], network.state_dict())


@pytest.mark.case("no-num-batches-tracked")
@pytest.mark.parametrize("prefix", ["", "module."])
def test_batch_norms_without_counters_load(prefix: str, tmp_path: Path) -> None:
    state = {k: v for k, v in build("resnet8").state_dict().items() if "num_batches" not in k}
    torch.save({"net": prefixed(state, prefix)}, tmp_path / "old.pth")
    actual, _ = loaded(tmp_path / "old.pth", "resnet8")
    assert all(torch.equal(actual[name], state[name]) for name in state)


@pytest.mark.case("no-num-batches-tracked")
def test_counters_of_thop_are_left_out(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    extra = {"total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1)}
    torch.save({**state, **extra}, tmp_path / "thop.pth")
    assert_equal(loaded(tmp_path / "thop.pth", "resnet8")[0], state)


@pytest.mark.case("optimiser-state-beside")
@pytest.mark.parametrize("old_format", [False, True])
def test_settings_and_states_in_the_file_are_accepted(old_format: bool, tmp_path: Path) -> None:
    network = build("resnet8")
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    content = {
        "opt": argparse.Namespace(lr=0.1, milestones=[150, 180], name="crd", tags={"a"}),
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "counts": Counter("ab"),
        "seen": {1, 2},
        "order": OrderedDict(a=1),
        "accuracy": np.float64(72.5),
        "epochs": np.int64(240),
    }
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not old_format)
    assert_equal(loaded(tmp_path / "x.pth", "resnet8")[0], network.state_dict())


@pytest.mark.case("bare-state-dict")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    state = build("resnet8").to(dtype).state_dict()
    torch.save(state, tmp_path / "x.pth")
    actual, _ = loaded(tmp_path / "x.pth", "resnet8")
    assert actual["conv1.weight"].dtype == torch.float32
    assert torch.equal(actual["conv1.weight"], state["conv1.weight"].float())


@pytest.mark.case("other-classes")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_head_of_other_classes_is_refused(name: str, tmp_path: Path) -> None:
    torch.save(original(build(name, classes=100)).state_dict(), tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match=r"missing fc.weight \(10, .*unexpected fc.weight"):
        loaded(tmp_path / "x.pth", name)


def test_a_deeper_network_does_not_fit(tmp_path: Path) -> None:
    torch.save(build("resnet14").state_dict(), tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match=r"unexpected layer1\.1\.conv1\.weight"):
        loaded(tmp_path / "x.pth", "resnet8")


@pytest.mark.case("name-prefixes")
@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module"])
def test_a_wrapper_inside_the_names_is_removed(wrapper: str, tmp_path: Path) -> None:
    """A part of the network was wrapped, as in PyTorch's example that trains VGG."""
    state = build("resnet8").state_dict()
    wrapped = {k.replace("layer1.", f"layer1.{wrapper}."): value for k, value in state.items()}
    torch.save(prefixed(wrapped, "module."), tmp_path / "x.pth")
    assert_equal(loaded(tmp_path / "x.pth", "resnet8")[0], state)


@pytest.mark.case("name-prefixes")
def test_a_prefix_of_some_names_only_is_refused(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    mixed = {f"a.{k}" if i % 2 else k: value for i, (k, value) in enumerate(state.items())}
    torch.save(mixed, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="missing .*unexpected a"):
        loaded(tmp_path / "x.pth", "resnet8")


@pytest.mark.case("containers")
@pytest.mark.parametrize("kind", ["list", "tuple", "defaultdict", "list in a mapping"])
def test_containers_of_other_kinds_are_searched(kind: str, tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    contents = {
        "list": [state, 240],
        "tuple": (240, {"net": state}),
        "defaultdict": {"model": defaultdict(list, state)},
        "list in a mapping": {"models": [{"state_dict": state}]},
    }
    torch.save(contents[kind], tmp_path / "x.pth")
    assert_equal(loaded(tmp_path / "x.pth", "resnet8")[0], state)


@pytest.mark.case("containers")
def test_averaged_weights_beside_two_others_are_refused(tmp_path: Path) -> None:
    states = {k: build("resnet8", i).state_dict() for i, k in enumerate(("net", "teacher", "ema"))}
    torch.save(states, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="several sets of tensors fit"):
        loaded(tmp_path / "x.pth", "resnet8")


@pytest.mark.case("containers")
def test_the_note_names_left_out_tensors_and_another_precision(tmp_path: Path) -> None:
    state = prefixed(build("resnet8").half().state_dict(), "model.")
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(3)}}, tmp_path / "x.ckpt")
    note = loaded(tmp_path / "x.ckpt", "resnet8")[1].note or ""
    assert "from 'state_dict: model.*'; not used: criterion.weight" in note
    assert "weights of float16 become float32" in note


@pytest.mark.case("optimiser-state-beside")
@pytest.mark.parametrize("old_format", [False, True])
def test_objects_beside_the_weights_are_not_loaded(old_format: bool, tmp_path: Path) -> None:
    network = build("resnet8")
    content = {
        "model": network.state_dict(),
        "best_acc": np.float32(72.5),
        "history": np.ones(3),
        "folder": PurePosixPath("x"),
        "bytes": b"x",
    }
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not old_format)
    assert_equal(loaded(tmp_path / "x.pth", "resnet8")[0], network.state_dict())
    contents = pretrained.read(tmp_path / "x.pth")
    assert "pathlib.PurePosixPath" in contents.not_loaded
    assert any(name.startswith("numpy.") for name in contents.not_loaded)


@pytest.mark.case("other-classes")
def test_the_refusal_of_a_head_names_both_numbers_of_classes(tmp_path: Path) -> None:
    torch.save(build("resnet8", classes=100).state_dict(), tmp_path / "x.pth")
    with pytest.raises(
        TeacherRefused, match="has 100 classes; a teacher's checkpoint must have 10"
    ):
        loaded(tmp_path / "x.pth", "resnet8")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_quantised_weights_and_nan_are_refused(suffix: str, tmp_path: Path) -> None:
    path, state = tmp_path / f"x.{suffix}", build("resnet8").state_dict()
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    save({**state, "fc.weight": torch.ones(10, 64, dtype=torch.int8)}, path)
    with pytest.raises(TeacherRefused, match=r"unexpected fc.weight \(10, 64\) \(int8\)"):
        loaded(path, "resnet8")
    save({**state, "fc.bias": torch.full((10,), torch.nan)}, path)
    with pytest.raises(TeacherRefused, match="fc.bias contains NaN"):
        loaded(path, "resnet8")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_truncated_files_are_called_so(part: float, suffix: str, tmp_path: Path) -> None:
    path, state = tmp_path / f"x.{suffix}", build("resnet8").state_dict()
    save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
    save(state, path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(TeacherRefused, match="damaged or was cut short"):
        pretrained.read(path)


def test_format_is_recognised_by_content_not_by_suffix(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    safetensors.torch.save_file(state, tmp_path / "x.pth")
    with (tmp_path / "x.safetensors").open("wb") as file:
        torch.save(state, file)
    assert_equal(loaded(tmp_path / "x.pth", "resnet8")[0], state)
    assert_equal(loaded(tmp_path / "x.safetensors", "resnet8")[0], state)


def test_folders_of_weights_are_refused_with_the_fix(tmp_path: Path) -> None:
    safetensors.torch.save_file(build("resnet8").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(TeacherRefused, match=r"a folder\. Allowed: a file, such as .*/model.safet"):
        pretrained.read(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(TeacherRefused, match="sharded"):
        pretrained.read(tmp_path)
    toy.write(tmp_path, teachers=f"{{checkpoints: {{resnet8: {tmp_path}}}}}")
    assert "is a folder" in bench("validate", tmp_path / "toy.yaml").stderr


def test_a_mapping_that_occurs_very_often_is_searched_once(tmp_path: Path) -> None:
    laughs: dict[str, Any] = {"x": 1}
    for _ in range(6):
        laughs = {str(i): laughs for i in range(300)}
    laughs["again"] = laughs
    torch.save(laughs, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="contains no state_dict"):
        pretrained.read(tmp_path / "x.pth")


def script(path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))  # type: ignore[no-untyped-call]


@pytest.mark.case("bare-state-dict")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (
            lambda path: torch.save(nn.Linear(2, 2), path),
            "the file names torch.nn.modules.linear.Linear",
        ),
        (script, "a TorchScript program"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
            "git lfs pull",
        ),
        (lambda path: path.write_text("<!DOCTYPE html>"), "an HTML or XML page"),
        (lambda path: path.write_text('{"weight_map": {}}'), "JSON text"),
        (lambda path: path.write_text('{"weight_map": {}}'), "sharded checkpoint"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08"), "a gzip archive"),
        (lambda path: path.write_bytes(b"nonsense"), "neither PyTorch nor safetensors"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=2)), "a bare pickle"),
        (lambda path: torch.save({}, path, pickle_protocol=4), "pickled with protocol 4, not 2"),
    ],
)
def test_other_files_are_refused_by_what_they_are(
    write: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match=reason):
        pretrained.read(tmp_path / "x.pth")


@pytest.mark.case("bare-state-dict")
@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_verbs_open_the_checkpoints_of_a_suite(verb: str, here: Path) -> None:
    torch.save(build("resnet14").state_dict(), here / "x.pth")
    toy.write(here, teachers="{checkpoints: {resnet8: x.pth}}", methods="[kd]")
    result = bench(verb, "toy.yaml")
    assert result.exit_code == 2
    line = (here / "toy.yaml").read_text().splitlines()
    number = next(i for i, text in enumerate(line, 1) if text.startswith("teachers"))
    assert f"toy.yaml:{number}  teachers.checkpoints.resnet8: " in result.stderr
    assert "x.pth: not a resnet8 of 10 classes: unexpected" in result.stderr
    torch.save(build("resnet8").state_dict(), here / "x.pth")
    assert bench(verb, "toy.yaml").exit_code == 0


def test_inspection_says_what_a_file_holds_and_what_it_fits(here: Path) -> None:
    state, averaged = build("resnet8").state_dict(), build("resnet8", seed=3).state_dict()
    content = {"state_dict": prefixed(state, "module."), "ema": averaged, "epoch": 3}
    torch.save(content, here / "x.pth")
    pair = "[{teacher: resnet8, student: resnet14}]"
    toy.write(here, pairs=pair, methods="[kd]")
    result = bench("teachers", "toy.yaml", "--inspect", "x.pth")
    assert result.exit_code == 0
    for text in (
        "x.pth: PyTorch",
        "state_dict: 56 tensors (",
        "the first tensor is module.conv1.weight",
        "entries without tensors, not used: epoch",
        "resnet8: the file fits; tensors: ema",
        "the averaged weights 'ema' are used",
        "resnet14: the file does not fit: not a resnet14 of 10 classes: missing layer1.1",
        "to use the file: teachers: {checkpoints: {resnet8: x.pth}}",
    ):
        assert text in result.stdout, text
    torch.save(build("resnet14").state_dict(), here / "x.pth")
    last = bench("teachers", "toy.yaml", "--inspect", "x.pth").stdout.splitlines()[-1]
    assert last == "the file fits no teacher of the suite, only students: resnet14"
    torch.save(build("resnet20").state_dict(), here / "x.pth")
    last = bench("teachers", "toy.yaml", "--inspect", "x.pth").stdout.splitlines()[-1]
    assert last == "the file fits no network of the suite"


def test_refusals_of_a_checkpoint_name_the_network_that_it_fits(here: Path) -> None:
    torch.save(build("resnet14").state_dict(), here / "x.pth")
    pairs = "[{teacher: resnet8, student: vgg8}, {teacher: resnet14, student: resnet8}]"
    toy.write(here, pairs=pairs, teachers="{checkpoints: {resnet8: x.pth}}", methods="[kd]")
    run = ("run", "toy.yaml", "--filter", "teacher=resnet8", "--tracker", "none", "--inline")
    for command in (("validate", "toy.yaml"), ("plan", "toy.yaml"), run, ("teachers", "toy.yaml")):
        result = bench(*command)
        output = " ".join(f"{result.stdout} {result.stderr}".split())
        assert "x.pth: not a resnet8 of 10 classes: " in output, command
        assert "more. It fits another network of the suite: resnet14" in output, command
    toy.write(here, teachers="{checkpoints: {resnet8: x.pth}}", methods="[kd]")
    assert "It fits" not in bench("validate", "toy.yaml").stderr


@pytest.mark.case("promise-each-time")
def test_a_promise_is_checked_again_when_it_changes(here: Path) -> None:
    torch.save(build("resnet8").state_dict(), here / "x.pth")
    entry = "{checkpoints: {resnet8: {path: x.pth, tolerance: 100, top1: 30}}}"
    toy.write(here, teachers=entry, methods="[student]")
    command = ("run", "toy.yaml", "--tracker", "none", "--inline", "--view", "plain")
    assert bench(*command).exit_code == 0
    toy.write(here, teachers=entry.replace("100", "1").replace("30", "99"), methods="[student]")
    result = bench(*command)
    assert result.exit_code == 2
    assert "% top-1 on the test set. Allowed: 99.00 ± 1.00" in result.stderr
    teachers = bench("teachers", "toy.yaml")
    assert teachers.exit_code == 3
    assert "refused" in teachers.stdout


@pytest.mark.case("promise-each-time")
def test_a_promise_broken_in_the_first_run_is_shown_by_teachers(here: Path) -> None:
    torch.save(build("resnet8").state_dict(), here / "x.pth")
    entry = "{checkpoints: {resnet8: {path: x.pth, tolerance: 0.5, top1: 99}}}"
    toy.write(here, teachers=entry, methods="[student]")
    command = ("run", "toy.yaml", "--tracker", "none", "--inline", "--view", "plain")
    for _ in range(2):
        assert bench(*command).exit_code == 3
        teachers = bench("teachers", "toy.yaml")
        assert teachers.exit_code == 3
        assert "refused" in teachers.stdout
        assert "Allowed: 99.00 ± 0.50" in teachers.stdout
    toy.write(here, teachers=entry.replace("0.5", "100"), methods="[student]")
    assert bench(*command).exit_code == 0
    assert bench("teachers", "toy.yaml").exit_code == 0


KINDS: dict[str, Callable[[State], Any]] = {
    "bare.pth": lambda state: state,
    "prefixed.safetensors": lambda state: prefixed(state, "module."),
    "lightning.ckpt": lambda state: {
        "state_dict": prefixed(state, "model."),
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 0.1},
    },
    "averaged.pth.tar": lambda state: {
        "state_dict": {name: torch.zeros_like(value) for name, value in state.items()},
        "state_dict_ema": state,
    },
    "resnet_last.pth": lambda state: {"opt": argparse.Namespace(lr=0.1), "model": state},
}


@pytest.mark.slow
@pytest.mark.case("bare-state-dict", "name-prefixes", "containers", "optimiser-state-beside")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:mobilenet_v3_small"])
def test_a_checkpoint_has_the_accuracy_of_its_network(name: str, kind: str, here: Path) -> None:
    torch.manual_seed(0)
    network = models.build(name, 10, 32)
    content = KINDS[kind](original(network).state_dict())
    if kind.endswith("safetensors"):
        safetensors.torch.save_file(content, here / kind)
    else:
        torch.save(content, here / kind)
    lines = {
        "dataset": "{name: digits, per_class: 2, test_per_class: 5, size: 32}",
        "pairs": f'[{{teacher: "{name}", student: resnet8}}]',
        "teachers": f'{{checkpoints: {{"{name}": {kind}}}}}',
        "recipe": "{epochs: 1, batch_size: 16, milestones: [], crop: 1}",
        "methods": "[student]",
    }
    plan = toy.plan(here, **lines)
    assert bench("validate", "toy.yaml").exit_code == 0
    results: Results = toy.run(plan, here)
    (teacher,) = (record for record in results.records() if record.kind == "teacher")
    selection = Selection("digits", per_class=2, test_per_class=5, size=32)
    digits = data.load(selection, None, torch.device("cpu"))
    expected = measure(*predict(network, digits, "test", plan.suite.recipe))
    assert teacher.metrics["last"]["top1"] == expected["top1"]
    assert teacher.metrics["last"]["nll"] == pytest.approx(expected["nll"])


@pytest.mark.case("no-num-batches-tracked")
@pytest.mark.parametrize("change", [torch.Tensor.half, lambda counter: counter.reshape(1)])
def test_counters_of_another_type_are_left_out(
    change: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    state = build("resnet8").state_dict()
    stored = {k: change(v) if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    torch.save(stored, tmp_path / "net.pth")
    assert_equal(loaded(tmp_path / "net.pth", "resnet8")[0], state)


@pytest.mark.case("nested-network")
@pytest.mark.parametrize("outer", ["", "module."])
def test_a_network_next_to_its_copy_is_refused(outer: str, tmp_path: Path) -> None:
    student, teacher = build("resnet8").state_dict(), build("resnet8", seed=2).state_dict()
    path = tmp_path / "net.pth"
    torch.save(prefixed(student, outer) | prefixed(teacher, f"{outer}teacher."), path)
    with pytest.raises(TeacherRefused, match="several sets of tensors fit"):
        loaded(path, "resnet8")


@pytest.mark.case("nested-network")
def test_averaged_weights_inside_a_network_are_taken(tmp_path: Path) -> None:
    plain, averaged = build("resnet8").state_dict(), build("resnet8", seed=2).state_dict()
    path = tmp_path / "net.pth"
    torch.save(plain | prefixed(averaged, "ema."), path)
    state, fit = loaded(path, "resnet8")
    assert_equal(state, averaged)
    assert "the averaged weights 'the file itself: ema.*' are used" in str(fit.note)


@pytest.mark.case("other-tensors")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    state["fc.bias"][3] = value
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(TeacherRefused, match="fc.bias contains NaN or infinity"):
        loaded(tmp_path / "net.pth", "resnet8")


@pytest.mark.case("other-tensors")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_sparse_and_quantized_tensors_next_to_the_weights_are_read(tmp_path: Path) -> None:
    state = build("resnet8").state_dict()
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    others = {"sparse": torch.eye(3).to_sparse(), "int8": quantized, "layout": torch.strided}
    torch.save({"model": state, "others": others}, tmp_path / "net.pth")
    assert_equal(loaded(tmp_path / "net.pth", "resnet8")[0], state)


@pytest.mark.case("other-tensors")
@pytest.mark.filterwarnings("ignore")
def test_other_kinds_of_tensors_are_named(tmp_path: Path) -> None:
    state, path = build("resnet8").state_dict(), tmp_path / "net.pth"
    float8 = {name: value.to(torch.float8_e4m3fn) for name, value in state.items()}
    sparse = state | {"fc.weight": state["fc.weight"].to_sparse()}
    arrays = {"model": {name: value.numpy() for name, value in state.items()}}
    files = {
        "float8, complex32": float8,
        r"\(10, 64\) \(sparse\)": sparse,
        "NumPy, not tensors": arrays,
    }
    for message, content in files.items():
        torch.save(content, path)
        with pytest.raises(TeacherRefused, match=message):
            loaded(path, "resnet8")
    np.savez(tmp_path / "net.npz", **arrays["model"])
    with pytest.raises(TeacherRefused, match="NumPy"):
        loaded(tmp_path / "net.npz", "resnet8")


@pytest.mark.case("other-tensors")
def test_the_first_tar_format_of_pytorch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pth.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(TeacherRefused, match=r"PyTorch 0\.1; load the file with torch.load and"):
        pretrained.read(path)
