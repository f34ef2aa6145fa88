"""`--executor` and `--cluster`: the options, and the messages for mistakes."""

import json
import re
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError, ConfigError
from bench.execution import cluster
from bench.execution.cluster import RayOptions, SlurmOptions
from bench.execution.executors import ray
from tests import toy
from tests.command import ROOT, bench, wrong


def read(folder: Path, text: str, engine: cluster.Engine = "ray") -> RayOptions | SlurmOptions:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return cluster.read(path, engine)


def test_example_of_the_documentation_sets_every_option(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/CLUSTERS.md").read_text(), re.S)
    ray, slurm = read(tmp_path, text), read(tmp_path, text, "slurm")
    assert isinstance(ray, RayOptions)
    assert isinstance(slurm, SlurmOptions)
    for options in (ray, slurm):
        assert options.model_fields_set == set(type(options).model_fields)
    assert ray.gpus == 0.5
    assert slurm.sbatch == {"account": "mine", "constraint": "a100"}


def test_all_mistakes_of_a_file_are_reported_with_their_lines(tmp_path: Path) -> None:
    text = """\
ray:
  adress: auto
  gpus: -1
  slots: 0
  slots: 2
  address: ray://head
slrum: {}
slurm:
  partition: 3
"""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    path = tmp_path / "cluster.yaml"
    assert [line.removeprefix(f"{path}:") for line in caught.value.lines] == [
        "2  ray.adress: no key 'adress'. Did you mean 'address'? Allowed: address, gpus, cpus, "
        "slots, retries",
        "3  ray.gpus: found the number -1. Allowed: a number of GPUs, 0 or at least 0.0001; "
        "with 0.5, two cohorts share a GPU",
        "4  ray.slots: found the number 0. Allowed: the number of cohorts at a time, 1 to 10,000",
        "5  ray.slots: duplicate key, first defined on line 4",
        "6  ray.address: found the text 'ray://head'. Allowed: auto, or host:port of the cluster's "
        "head",
        "7  slrum: no key 'slrum'. Did you mean 'slurm'? Allowed: ray, slurm",
        "8  slurm.gpus: missing. Allowed: a whole number, 0 or more",
        "9  slurm.partition: found the number 3. Allowed: a name that Slurm knows",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ray:\n  cpus: 1e-320", "2  ray.cpus: found the number 1e-320. Allowed: a number of CPUs"),
        ("ray:\n  cpus: 0", "2  ray.cpus: found the number 0. Allowed: a number of CPUs, at least"),
        ("ray: {gpus: 0.00009}", "1  ray.gpus: found the number 9e-05. Allowed: a number of GPUs"),
        (
            "ray: {}\nslurm: {gpus: 0, minutes: 1,\n  warning: 60}",
            "3  slurm.warning: found the number 60. Allowed: less than 60, "
            "a job's time limit in seconds",
        ),
        (
            "slurm: {gpus: 0, minutes: 1}\nray: {}",
            "1  slurm.warning: found the number 90. Allowed: less than 60, "
            "a job's time limit in seconds",
        ),
    ],
)
def test_number_that_would_overflow_or_never_end_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'cluster.yaml'}:{message}")


def test_smallest_amounts_are_accepted(tmp_path: Path) -> None:
    least = read(tmp_path, "ray: {gpus: 0.0001, cpus: 0.0001}")
    assert isinstance(least, RayOptions)
    assert ray.room([{"CPU": 2.0, "GPU": 1.0}], {"CPU": least.cpus, "GPU": 0.0001}) == 10_000
    assert read(tmp_path, "ray: {gpus: 0}") == RayOptions(gpus=0)
    read(tmp_path, "slurm: {gpus: 0, minutes: 1, warning: 59}", "slurm")


def test_missing_section_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cluster.yaml:1  slurm: missing. Found: ray"):
        read(tmp_path, "ray: {}", "slurm")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--executor slurm",
            "--executor slurm needs --cluster FILE. The shortest file: `slurm: {gpus: 1}`",
        ),
        ("--cluster c.yaml", "--cluster: allowed only with --executor ray or"),
        ("--executor ray --workers 2", "--gpus, --per-gpu, --workers, --inline"),
        ("--executor ray --cluster nope.yaml", "nope.yaml: cannot be read: No such file"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(line: str, message: str, here: Path) -> None:
    toy.write(here)
    assert wrong(bench("run", "toy.yaml", *line.split())).startswith(message)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_missing_extra_is_reported_with_the_command_that_installs_it(
    engine: str, package: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.write(here)
    (here / "c.yaml").write_text("slurm: {gpus: 0}\nray: {}\n")
    monkeypatch.setitem(sys.modules, package, None)
    message = wrong(bench("run", "toy.yaml", "--executor", engine, "--cluster", "c.yaml"))
    assert message.startswith(f"--executor {engine}: ")
    assert f"pip install 'distillbench[{engine}]'" in message


def test_dry_run_for_a_cluster_does_not_connect_to_it(here: Path) -> None:
    toy.write(here)
    (here / "c.yaml").write_text("slurm: {gpus: 1, slots: 7}\n")
    result = bench(
        "run", "toy.yaml", "--dry-run", "--json", "--executor", "slurm", "--cluster", "c.yaml"
    )
    assert result.exit_code == 0
    (device,) = json.loads(result.stdout)["devices"]
    assert device == {"device": "cuda", "name": "a cluster", "at_a_time": 7}


def test_list_as_an_option_of_sbatch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cluster.yaml:1  slurm.sbatch"):
        read(tmp_path, "slurm: {gpus: 1, sbatch: {account: [a]}}", "slurm")


@pytest.mark.parametrize("flag", ["job-name", "job_name", "job-n"])
def test_job_name_as_an_option_of_sbatch_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(
        BenchError, match=f"cluster.yaml:1  slurm.sbatch.{flag}: .* which bench sets"
    ):
        read(tmp_path, f"slurm: {{gpus: 1, sbatch: {{account: a, {flag}: mine}}}}", "slurm")
