"""Only plugins run a user's code, and `--no-plugins` disables them."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import api
from bench.cli.app import app
from bench.errors import BenchError, ConfigError
from bench.execution.executors.local import ProcessExecutor
from bench.execution.protocol import Job
from bench.plugins import Registry
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
def test_no_plugins_disables_plugins_for_every_verb(verb: str, here: Path) -> None:
    (here / "mine.py").write_text(DISTILLER)
    path = toy.write(here, plugins="[mine.py]")
    line = path.read_text().count("\n")
    more = ["--against", "published"] if verb == "check" else []
    message = wrong(bench(verb, "toy.yaml", "--no-plugins", *more))
    assert f"toy.yaml:{line}  plugins.0: mine.py is not loaded: --no-plugins" in message
    assert not (here / "executed").exists()
    assert not (here / "results").exists()


def test_disabled_plugins_are_not_executed(here: Path) -> None:
    (here / "mine.py").write_text(DISTILLER)
    with pytest.raises(BenchError, match=r"mine\.py is not loaded: --no-plugins"):
        Registry.of([here / "mine.py"], enabled=False)
    path = toy.write(here, plugins="[mine.py]")
    with pytest.raises(ConfigError, match="is not loaded"):
        api.load_plan(path, plugins=False)
    assert not (here / "executed").exists()
    assert api.load_plan(path).suite.registry.enabled


@pytest.fixture
def installed(here: Path) -> Path:
    """Return the folder of an installed package; the file `executed` shows that it was imported."""
    site = here / "site"
    facts = site / "strange-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "strange.py").write_text(DISTILLER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[distillbench.plugins]\nstrange = strange\n")
    return site


def test_no_plugins_ignores_installed_plugins(
    installed: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    path = toy.write(here, methods="{own: {stranger: 1}}")
    with pytest.raises(ConfigError, match="no distiller 'stranger'"):
        read(path, plugins=False)
    assert not (installed / "executed").exists()
    assert "stranger" in read(path).registry.names("distiller")
    assert (installed / "executed").exists()
    sys.modules.pop("strange")


@pytest.mark.slow
def test_command_imports_nothing_from_the_current_folder(here: Path) -> None:
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


def test_worker_imports_neither_current_folder_nor_disabled_plugins(
    installed: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "yaml", "PIL", "sklearn", "filecmp"):
        (here / f"{name}.py").write_text(MARK)
    paths = filter(None, [str(installed), os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    empty = Job(
        id="empty", tasks=(), teacher=None, device="cpu", threads=1, results=str(here / "results"),
        dataset="digits", data_root=None, plugins_enabled=False,
    )  # fmt: skip
    worker = ProcessExecutor(["cpu"], here / "logs")
    worker.start(0, empty)
    _, event = worker.next()
    assert "IndexError" in event["reason"]  # it has imported all, and looked for its first task
    assert not (here / "executed").exists()
    assert not (installed / "executed").exists()
