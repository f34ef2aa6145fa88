import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.callbacks import mlflow
from bench.planning.plan import Plan
from bench.results import Results
from tests import toy
from tests.faults.commands import Commands
from tests.faults.commands import server as command_server

LINES = {  # of the toy suite, in all of these tests
    "recipe": "{epochs: 4, batch_size: 16, lr: 0.05, milestones: [2], crop: 1, flip: false}",
    "methods": "[student, kd, crd]",
}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Results]:
    """A small plan, and its results without any fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    plan = toy.plan(folder, **LINES)
    return plan, toy.run(plan, folder)


@pytest.fixture
def with_teacher(undisturbed: tuple[Plan, Results], tmp_path: Path) -> Results:
    """The same results without the students."""
    plan, done = undisturbed
    results = Results(tmp_path / "results")
    shutil.copytree(done.folder, results.folder)
    for run in plan.runs.values():
        if run.kind == "student":
            results.delete_run(run.id)
    return results


@pytest.fixture
def same(undisturbed: tuple[Plan, Results]) -> Callable[[Results], bool]:
    """A check that results equal the undisturbed ones, and that no temporary file is left."""
    plan, done = undisturbed

    def check(results: Results) -> bool:
        for run in plan.runs:
            assert toy.numbers(results.record(run)) == toy.numbers(done.record(run))
        left = [*results.folder.rglob("*.part"), *results.folder.rglob(".lock")]
        assert [*left, *results.folder.glob("state/*.safetensors")] == []
        return True

    return check


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow without an experiment, which takes seconds to create."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    with pytest.MonkeyPatch.context() as environment:
        for name in ("MLFLOW_DISABLE_TELEMETRY", *mlflow.SETTINGS):
            environment.setenv(name, mlflow.SETTINGS.get(name, "true"))
        mlflow.client(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variables that the tracker sets for MLflow."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", *mlflow.SETTINGS):
        monkeypatch.setenv(name, mlflow.SETTINGS.get(name, "true"))


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that forks into commands."""
    with command_server() as process:
        yield process


@pytest.fixture
def commands(tmp_path: Path, server: subprocess.Popen[str]) -> Commands:
    """`bench` in the test's folder."""
    return Commands(tmp_path, server)
