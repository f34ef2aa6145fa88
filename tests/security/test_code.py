"""Plugins are the one door for code, and it can be closed."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import distillers
from bench import plugins
from bench.cli.app import app
from bench.errors import BenchError, Mistakes
from bench.execution.executors.local import Processes
from bench.execution.protocol import Job
from bench.suite import read
from tests import toy
from tests.command import ROOT, bench, wrong

MARK = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\n"
DISTILLER = (
    MARK
    + """
from distillers import Distiller


class Stranger(Distiller):
    paper = "none"
    reads = ("logits",)

    def forward(self, student, teacher, batch):
        return student.logits.mean()
"""
)
VERBS = {
    verb.name: list(inspect.signature(verb.callback).parameters)
    for verb in app.registered_commands
    if verb.name and verb.callback
}


@pytest.mark.parametrize(
    "verb", [v for v, given in VERBS.items() if {"suite", "suites"} & {*given}]
)
def test_every_verb_that_reads_a_suite_keeps_plugins_out(verb: str, here: Path) -> None:
    (here / "mine.py").write_text(DISTILLER)
    path = toy.write(here, plugins="[mine.py]")
    line = path.read_text().count("\n")
    more = ["--against", "published"] if verb == "check" else []
    said = wrong(bench(verb, "toy.yaml", "--no-plugins", *more))
    assert f"toy.yaml:{line}  plugins.0: mine.py is not loaded: --no-plugins, or BENCH" in said
    assert not (here / "executed").exists()
    assert not (here / "results").exists()
    assert not plugins.closed()


def test_the_door_is_closed_only_within(here: Path) -> None:
    (here / "mine.py").write_text(DISTILLER)
    with plugins.closing(), pytest.raises(BenchError, match=r"mine\.py is not loaded"):
        plugins.load(here / "mine.py")
    toy.write(here, plugins="[mine.py]")
    assert "is not loaded" in wrong(bench("show", "toy.yaml", BENCH_NO_PLUGINS="1"))
    assert not plugins.closed()
    assert not (here / "executed").exists()
    with pytest.raises(BenchError, match="no file"):
        plugins.load(here / "other.py")


@pytest.fixture
def installed(here: Path) -> Path:
    """The folder of a package with an entry point, as pip would leave it; `executed` tells."""
    site = here / "site"
    facts = site / "strange-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "strange.py").write_text(DISTILLER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[distillbench.plugins]\nstrange = strange\n")
    return site


def test_what_is_installed_is_kept_out_too(
    installed: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    path = toy.write(here, methods="{own: {stranger: 1}}")
    plugins._load_entries.cache_clear()
    with plugins.closing(), pytest.raises(Mistakes, match="no distiller 'stranger'"):
        read(path)
    assert "stranger" not in distillers.names()
    assert not (installed / "executed").exists()


def test_the_command_imports_nothing_strange(here: Path) -> None:
    for name in ("bench", "distillers", "typer", "typing", "yaml", "torch"):
        (here / f"{name}.py").write_text(MARK)
    toy.write(here)
    script = "import sys; from bench.cli.app import main; sys.exit(main())"  # as pip writes it
    (here / "bin").mkdir()
    (here / "bin" / "run").write_text(script)
    for command in (["-P", "-m", "bench"], ["bin/run"]):
        ran = subprocess.run(
            [sys.executable, *command, "plan", "toy.yaml"], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("toy: 2 students")
        assert not (here / "executed").exists()


def test_a_worker_imports_nothing_strange(
    installed: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from the folder one stands in, nor what is installed where plugins are kept out."""
    for name in ("torch", "yaml", "PIL", "sklearn", "filecmp"):
        (here / f"{name}.py").write_text(MARK)
    paths = filter(None, [str(installed), os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    empty = Job(
        id="empty", tasks=(), teacher=None, device="cpu", threads=1, results=str(here / "results"),
        dataset="digits", data_root=None,
    )  # fmt: skip
    worker = Processes(["cpu"], here / "logs")
    with plugins.closing():
        worker.start(0, empty)
        _, event = worker.next()
    assert "IndexError" in event["reason"]  # it has imported all, and looked for its first task
    assert not (here / "executed").exists()
    assert not (installed / "executed").exists()
