"""`bench show`: every value with its origin, in a valid suite file."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.suite import Suite, read, render, shipped

from .conftest import BASE, Read, Write

RENDERED = """\
suite_version: 1                                    # suite:1
title: "A: test"                                    # suite:2
caption: ""                                         # default
dataset:
  name: cifar100                                    # suite:3
  per_class: 50                                     # command line
  test_per_class: null                              # default
  validation: 0                                     # default
  size: null                                        # default
recipe:
  epochs: 240                                       # papers
  batch_size: 64                                    # papers
  lr: 0.05                                          # papers
  milestones: [150, 180, 210]                       # papers
  decay: 0.1                                        # papers
  momentum: 0.9                                     # papers
  weight_decay: 0.0005                              # papers
  nesterov: false                                   # papers
  crop: 4                                           # papers
  flip: true                                        # papers
  resized_crop: false                               # papers
  precision: float32                                # papers
  evaluate_every: 1                                 # papers
  randaugment: 0                                    # papers
  erasing: 0.0                                      # papers
  mixup: 0.0                                        # papers
  cutmix: 0.0                                       # papers
  smoothing: 0.0                                    # papers
  optimizer: sgd                                    # papers
  schedule: step                                    # papers
  warmup: 0                                         # papers
  clip: 0.0                                         # papers
  ema: 0.0                                          # papers
  layer_decay: 1.0                                  # papers
  drop_path: 0.0                                    # papers
teachers:
  seed: 0                                           # papers
  recipe:
    epochs: 9                                       # suite:9
seeds: [0, 1, 2]                                    # default
pairs:
  - teacher: resnet56                               # suite:5
    student: resnet20                               # suite:5
    recipe:
      lr: 1e-05                                     # suite:5
methods:
  student:                                          # suite:7
    ce:
      weight: 1.0                                   # papers
  crd:                                              # suite:8
    ce:
      weight: 1.0                                   # papers
    crd:
      weight: 0.8                                   # papers
      width: 128                                    # default
      negatives: 16384                              # default
      temperature: 0.07                             # default
      momentum: 0.5                                 # default
"""

TEXT = """\
suite_version: 1
title: "A: test"
dataset: cifar100
pairs:
  - {teacher: resnet56, student: resnet20, recipe: {lr: 1e-5}}
methods:
  - student
  - crd
teachers: {recipe: {epochs: 9}}
"""


def bare(suite: Suite) -> Suite:
    """Return a suite without the values that depend on its file."""
    return replace(suite, changes=(), path=Path(), name="", origins={}, unused=())


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_rendering_shows_every_value_with_its_origin(reading: Read) -> None:
    text = render(reading("", "dataset.per_class=50", text=TEXT))
    assert squeezed(text) == squeezed(RENDERED)
    columns = {line.index("  # ") for line in text.splitlines() if "#" in line}
    assert len({line.index("# ") for line in text.splitlines() if "#" in line}) == 1, columns


HARD = """\
caption: "Two lines: \\"quoted\\", # no comment → é 🙂\\n- yes"
recipe: {batch_size: 32}
teachers:
  seed: same
  recipe: {lr: 1}
  checkpoints:
    resnet56: {path: t.pth, top1: 72.34}
plugins: []
options: {wcord: {form: kr}, fitnet: {relu: false}}
"""


def test_rendered_suite_is_read_as_the_same_suite(write: Write, tmp_path: Path) -> None:
    (tmp_path / "t.pth").write_bytes(b"")
    methods = (
        "{kd: papers, wcord: papers, no: {ce: 1, fitnet: {weight: 3, stage: 0}}, kd-2.5: {ce: 1}}"
    )
    first = read(
        write(BASE.replace("[student, kd]", methods), HARD),
        ["title=12", 'title="1:30"', 'pairs.0.group="1: x"'],
    )
    again = read(write(render(first), name="again.yaml"))
    assert bare(again) == bare(first)
    assert first.caption == 'Two lines: "quoted", # no comment → é 🙂\n- yes'
    assert bare(read(write(render(again), name="third.yaml"))) == bare(again)


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_suites_survive_rendering(path: Path, write: Write) -> None:
    first = read(path)
    assert bare(read(write(render(first)))) == bare(first)
