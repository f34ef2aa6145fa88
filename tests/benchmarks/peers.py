"""Commands of other code bases that train KD on CIFAR-100, for the seconds to their first step.

The folder in the variable BENCH_PEERS has clones of RepDistiller, mdistiller and torchdistill, and
`packages`, made by `pip install --target packages --no-deps yacs tensorboardX protobuf`. Nothing in
the clones is changed. What needs a GPU, a network or an old package is replaced when they start:

- RepDistiller evaluates its teacher first; this takes no time here. `tensorboard_logger` is empty.
- mdistiller's `.cuda()` returns the object itself, and Weights & Biases is off.
- torchdistill has no resnet32x4: WRN-40-4 with random weights teaches WRN-40-1, as in its own file.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import models

TEACHER = "resnet32x4_vanilla/ckpt_epoch_240.pth"
REPDISTILLER = """
import runpy, sys, types
sys.path.insert(0, ".")
sys.modules["tensorboard_logger"] = types.SimpleNamespace(Logger=lambda **_: None)
import helper.loops
helper.loops.validate = lambda *_: (0.0, 0.0, 0.0)
runpy.run_path("train_student.py", run_name="__main__")
"""
MDISTILLER = """
import runpy, sys, torch
sys.path.insert(0, ".")
torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *_, **__: self
runpy.run_path("tools/train.py", run_name="__main__")
"""
RECIPE = "configs/sample/cifar100/kd/wide_resnet40_1_from_wide_resnet40_4-final_run.yaml"


@dataclass(frozen=True)
class Command:
    """Arguments of Python, the folder to run in, and the value of PYTHONPATH."""

    arguments: list[str]
    folder: Path
    path: str = ""


def commands(peers: Path, data: Path) -> dict[str, Command]:
    """Return the command of each code base; write what they read into their clones.

    Args:
        peers: The folder of the clones.
        data: The folder that contains `cifar-100-python`.
    """
    peers = peers.resolve()
    rep, mdistiller, torchdistill = (
        peers / name for name in ("RepDistiller", "mdistiller", "torchdistill")
    )
    teacher = {"model": models.build("resnet32x4", 100, 32).state_dict()}
    for folder in (rep / "save/models", mdistiller / "download_ckpts/cifar_teachers"):
        (folder / TEACHER).parent.mkdir(parents=True, exist_ok=True)
        torch.save(teacher, folder / TEACHER)
    for folder in (rep / "data", mdistiller / "data"):
        _link(folder, data)
    _link(torchdistill / "data" / "cifar100", data)
    recipe = (torchdistill / RECIPE).read_text().replace("pretrained: True", "pretrained: False")
    (torchdistill / "kd.yaml").write_text(recipe.replace("~/datasets/", "./data/"))
    student = [
        "--distill", "kd", "--model_s", "resnet8x4", "-r", "0.1", "-a", "0.9", "-b", "0",
        "--trial", "1",
    ]  # fmt: skip
    on_cpu = [
        "--device", "cpu", "-disable_cudnn_benchmark", "--run_log", "kd.log", "--config", "kd.yaml",
    ]  # fmt: skip
    script = "examples/torchvision/image_classification.py"
    return {
        "RepDistiller": Command(
            ["-c", REPDISTILLER, "--path_t", f"./save/models/{TEACHER}", *student], rep
        ),
        "mdistiller": Command(
            ["-c", MDISTILLER, "--cfg", "configs/cifar100/kd.yaml", "LOG.WANDB", "False"],
            mdistiller, str(peers / "packages"),
        ),
        "torchdistill": Command([script, *on_cpu], torchdistill, str(torchdistill)),
    }  # fmt: skip


def _link(folder: Path, data: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cifar-100-python").exists():
        os.symlink(data.resolve() / "cifar-100-python", folder / "cifar-100-python")
