"""Checkpoints of the field load for networks of timm, torchvision and this package."""

import argparse
import collections
import json
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from bench import data, models
from bench.data import Selection
from bench.errors import MissingData, TeacherRefused
from bench.training import pretrained, weight_files

DIGITS = data.facts(Selection("digits"), None)
State = Mapping[str, Tensor]


def network(seed: int = 0) -> nn.Module:
    """Return a small network of this package, with running statistics unlike new ones."""
    torch.manual_seed(seed)
    net = models.build("resnet8", 10)
    net(torch.randn(4, 3, 8, 8))
    return net


STATE = network().state_dict()
OTHER = network(1).state_dict()


def prefixed(prefix: str, state: State = STATE) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def save(content: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        tensors = {name: value.clone().contiguous() for name, value in content.items()}
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(content, path)
    return path


def load(path: Path, name: str = "resnet8") -> tuple[dict[str, Tensor], str]:
    """Return the weights of a network loaded from a file, and the remarks."""
    net, remarks = pretrained.load(name, DIGITS, path)
    return net.state_dict(), "; ".join(remarks)


def assert_equal(left: State, right: State) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "timm:resnet10t": lambda: timm.create_model("resnet10t", num_classes=10),
    "torchvision:squeezenet1_1": lambda: torchvision.models.squeezenet1_1(num_classes=10),
    "resnet8": network,
}


@pytest.mark.case("bare-state-dict")
@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bare_state_dict_of_a_library_loads(name: str, ending: str, tmp_path: Path) -> None:
    net = NETWORKS[name]()
    path = save(net.state_dict(), tmp_path / f"weights{ending}")
    loaded, remarks = pretrained.load(name, DIGITS, path)
    inner = getattr(loaded, "network", loaded)
    assert_equal(inner.state_dict(), net.state_dict())
    assert remarks == ()


@pytest.mark.case("bare-state-dict")
def test_bare_state_dict_of_our_wrapper_loads(tmp_path: Path) -> None:
    net = models.build("timm:resnet10t", 10)
    state, remarks = load(save(net.state_dict(), tmp_path / "x.pth"), "timm:resnet10t")
    assert_equal(state, net.state_dict())
    assert remarks == ""


@pytest.mark.case("bare-state-dict")
def test_format_is_recognised_by_content_not_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(safetensors.torch.save(dict(STATE)))
    torch.save(STATE, tmp_path / "a.safetensors")
    assert_equal(load(tmp_path / "a.pth")[0], STATE)
    assert_equal(load(tmp_path / "a.safetensors")[0], STATE)


@pytest.mark.case("name-prefixes")
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "network.", "net.backbone.", "module._orig_mod.",
     "_orig_mod.module.", "model.module.model.", "student."],
)  # fmt: skip
def test_shared_prefix_is_removed(prefix: str, ending: str, tmp_path: Path) -> None:
    state, _ = load(save(prefixed(prefix), tmp_path / f"x{ending}"))
    assert_equal(state, STATE)


@pytest.mark.case("name-prefixes")
def test_wrapper_inside_a_name_is_removed(tmp_path: Path) -> None:
    names = {name: name.replace("layer1.", "layer1.module.") for name in STATE}
    path = save({names[name]: value for name, value in STATE.items()}, tmp_path / "x.pth")
    assert_equal(load(path)[0], STATE)


@pytest.mark.case("name-prefixes")
def test_prefix_that_some_names_have_is_not_removed(tmp_path: Path) -> None:
    mixed = {(f"a.{n}" if i % 2 else n): value for i, (n, value) in enumerate(STATE.items())}
    with pytest.raises(TeacherRefused, match="not a resnet8 of 10 classes: missing"):
        load(save(mixed, tmp_path / "x.pth"))


@pytest.mark.case("name-prefixes")
def test_tensors_without_the_prefix_are_ignored_with_a_remark(tmp_path: Path) -> None:
    """Lightning saves the weights of a loss beside those of the network."""
    state = {**prefixed("model."), "criterion.weight": torch.ones(10)}
    weights, remarks = load(save({"state_dict": state}, tmp_path / "x.ckpt"))
    assert_equal(weights, STATE)
    assert remarks == "weights under 'state_dict.model'; ignored criterion.weight"


CONTAINERS = (
    "state_dict", "model", "net", "model_state_dict", "weights", "params", "model_ema",
    "state_dict_ema", "ema", "teacher", "student", "module", "network", "any name",
)  # fmt: skip


@pytest.mark.case("containers")
@pytest.mark.parametrize("key", CONTAINERS)
def test_container_of_any_name_is_accepted(key: str, tmp_path: Path) -> None:
    content = {"epoch": 3, key: prefixed("module."), "loss": torch.ones(1)}
    state, remarks = load(save(content, tmp_path / "x.pth"))
    assert_equal(state, STATE)
    assert remarks == ""


@pytest.mark.case("containers")
@pytest.mark.parametrize(
    "content",
    [
        {"model": {"state_dict": STATE}},
        {"checkpoint": {"net": {"model_state_dict": prefixed("module.")}}},
        [STATE, 3],
        (3, {"model": STATE}),
        {"params": collections.defaultdict(list, STATE)},
        {**STATE, "epoch": 3},
        {"a": STATE, "b": STATE},
    ],
    ids=["two", "three", "list", "tuple", "defaultdict", "number beside", "the same twice"],
)
def test_nested_containers_are_searched(content: Any, tmp_path: Path) -> None:
    assert_equal(load(save(content, tmp_path / "x.pth"))[0], STATE)


@pytest.mark.case("containers")
@pytest.mark.parametrize(
    ("plain", "average"), [("state_dict", "state_dict_ema"), ("model", "model_ema")]
)
def test_moving_averages_are_taken_with_a_remark(plain: str, average: str, tmp_path: Path) -> None:
    state, remarks = load(save({plain: STATE, average: OTHER}, tmp_path / "x.pth"))
    assert_equal(state, OTHER)
    assert remarks == (
        f"the moving averages under '{average}' were taken, not the weights under '{plain}'"
    )


@pytest.mark.case("containers")
def test_averaged_model_with_its_counter_loads(tmp_path: Path) -> None:
    net = network()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    averaged.update_parameters(net)
    state, _ = load(save(averaged.state_dict(), tmp_path / "swa.pth"))
    assert_equal(state, STATE)


@pytest.mark.case("containers")
def test_two_different_networks_in_a_file_are_refused(tmp_path: Path) -> None:
    path = save({"teacher": STATE, "student": OTHER}, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="holds 2 different .*'teacher', 'student'"):
        load(path)


@pytest.mark.case("containers")
def test_one_of_two_networks_is_found_by_its_shapes(tmp_path: Path) -> None:
    """mdistiller's `latest` holds the teacher and the student."""
    larger = models.build("resnet14", 10).state_dict()
    both = {**prefixed("teacher.", larger), **prefixed("student.module.")}
    assert_equal(load(save({"model": both}, tmp_path / "latest"))[0], STATE)
    assert_equal(load(tmp_path / "latest", "resnet14")[0], larger)


@pytest.mark.case("no-num-batches-tracked")
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_batch_norms_without_counters_load(ending: str, tmp_path: Path) -> None:
    old = {name: value for name, value in STATE.items() if "num_batches_tracked" not in name}
    state, _ = load(save(old, tmp_path / f"x{ending}"))
    assert_equal({name: state[name] for name in old}, old)


@pytest.mark.case("optimiser-state-beside")
@pytest.mark.parametrize("old_format", [False, True])
def test_state_of_training_scripts_beside_the_weights_is_ignored(
    old_format: bool, tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    content = {
        "opt": argparse.Namespace(model="resnet8", milestones=[150, 180], path=Path("x")),
        "model": STATE,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "names": {"a", "b"},
        "best_acc": np.float64(72.5),
        "history": np.ones(3),
        "folder": pathlib.PurePosixPath("x"),
        "counts": collections.Counter("abca"),
        "ordered": collections.OrderedDict(a=1),
        "rng": torch.get_rng_state(),
    }
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not old_format)
    assert_equal(load(tmp_path / "x.pth")[0], STATE)


@pytest.mark.case("optimiser-state-beside")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_loaded_as_float32_with_a_remark(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    cast = {
        n: value.to(dtype) if value.is_floating_point() else value for n, value in STATE.items()
    }
    state, remarks = load(save(cast, tmp_path / "x.safetensors"))
    assert state["conv1.weight"].dtype == torch.float32
    torch.testing.assert_close(state["conv1.weight"], cast["conv1.weight"].float())
    assert remarks == f"weights of {str(dtype).removeprefix('torch.')} are used as float32"


@pytest.mark.case("other-classes")
def test_head_of_another_number_of_classes_is_refused_with_its_tensors(tmp_path: Path) -> None:
    path = save(STATE, tmp_path / "x.pth")
    message = (
        r"not a resnet8 of 100 classes: missing fc.weight \(100, 64\), fc.bias \(100,\); "
        r"unexpected fc.weight \(10, 64\), fc.bias \(10,\)\. "
        r"It has 10 classes; a teacher's checkpoint must have 100"
    )
    with pytest.raises(TeacherRefused, match=message):
        pretrained.load("resnet8", replace(DIGITS, classes=100), path)


@pytest.mark.case("other-classes")
@pytest.mark.parametrize("other", ["resnet14", "vgg8"])
def test_another_network_is_refused_with_its_tensors(other: str, tmp_path: Path) -> None:
    path = save({"model": models.build(other, 10).state_dict()}, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="not a resnet8 of 10 classes") as caught:
        load(path)
    assert "classes;" not in str(caught.value)


def test_unusable_numbers_are_refused(tmp_path: Path) -> None:
    integers = {**STATE, "fc.weight": torch.ones(10, 64, dtype=torch.int8)}
    with pytest.raises(TeacherRefused, match=r"unexpected fc.weight \(10, 64\) \(int8\)$"):
        load(save(integers, tmp_path / "x.pth"))
    diverged = {**STATE, "fc.bias": torch.full((10,), torch.nan)}
    with pytest.raises(TeacherRefused, match="fc.bias contains NaN"):
        load(save(diverged, tmp_path / "x.pth"))


OTHER_FILES = {
    "empty": (b"", "an empty file"),
    "html": (b"\n<!DOCTYPE html><html></html>", "an HTML or XML page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip archive"),
    "text": (b"nonsense", "neither PyTorch nor safetensors"),
    "index": (b'{"metadata": {"total_size": 3}, "weight_map": {}}', "sharded checkpoint"),
    "json": (b"[1]", "a JSON text"),
    "zip": (b"PK\x03\x04 cut", "cut short"),
    "tar": (b"x".ljust(257, b"\0") + b"ustar", "a tar archive"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_file_that_is_no_checkpoint_is_named(kind: str, ending: str, tmp_path: Path) -> None:
    content, message = OTHER_FILES[kind]
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    with pytest.raises(TeacherRefused, match=f"x{ending}: .*{message}"):
        weight_files.read(path)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_truncated_checkpoint_is_refused(part: float, ending: str, tmp_path: Path) -> None:
    path = save(STATE, tmp_path / f"x{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(TeacherRefused, match="damaged or was cut short"):
        weight_files.read(path)


def test_pickled_network_is_refused_with_the_fix(tmp_path: Path) -> None:
    for content in (network(), {"net": network()}):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(TeacherRefused, match=r"a pickled network.*torch.save\(\{'model'"):
            load(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore")
def test_torchscript_archive_is_refused_with_the_fix(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "x.pt")
    with pytest.raises(TeacherRefused, match=r"a TorchScript archive.*state_dict\(\)"):
        weight_files.read(tmp_path / "x.pt")


def test_folder_of_weights_is_refused_with_the_file_in_it(tmp_path: Path) -> None:
    save(STATE, tmp_path / "model.safetensors")
    with pytest.raises(TeacherRefused, match=r"a folder\. Allowed: a file, such as .*model.safet"):
        weight_files.read(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(TeacherRefused, match="sharded"):
        weight_files.read(tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="none.pth: no such checkpoint"):
        weight_files.read(tmp_path / "none.pth")


def test_file_that_contains_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    torch.save(loop, tmp_path / "x.pth")
    with pytest.raises(TeacherRefused, match="no state_dict in it"):
        load(tmp_path / "x.pth")
