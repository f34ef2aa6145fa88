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
    """A small suite, and its results where nothing went wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    whole = toy.plan(folder, **LINES)
    return whole, toy.run(whole, folder)


@pytest.fixture
def taught(undisturbed: tuple[Plan, Results], tmp_path: Path) -> Results:
    """The same results with the students still to do."""
    whole, done = undisturbed
    results = Results(tmp_path / "results")
    shutil.copytree(done.folder, results.folder)
    for run in whole.runs.values():
        if run.kind == "student":
            results.forget(run.id)
    return results


@pytest.fixture
def same(undisturbed: tuple[Plan, Results]) -> Callable[[Results], bool]:
    """Whether results are, number for number, the undisturbed ones, and nothing is lying about."""
    whole, done = undisturbed

    def compared(results: Results) -> bool:
        for run in whole.runs:
            found = results.record(run)
            assert found is not None
            assert toy.numbers(found) == toy.numbers(done.record(run)), found["reason"]
        rest = [*results.folder.rglob("*.part"), *results.folder.rglob(".lock")]
        assert [*rest, *results.folder.glob("state/*.pt")] == []
        return True

    return compared


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow without an experiment: it takes seconds to make one."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    with pytest.MonkeyPatch.context() as environment:
        for name in ("MLFLOW_DISABLE_TELEMETRY", *mlflow.SETTINGS):
            environment.setenv(name, mlflow.SETTINGS.get(name, "true"))
        mlflow.client(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tracker sets for mlflow lasts no longer than a test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", *mlflow.SETTINGS):
        monkeypatch.setenv(name, mlflow.SETTINGS.get(name, "true"))


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    """What forks into commands; those that were started have ended before it does."""
    with command_server() as made:
        yield made


@pytest.fixture
def commands(tmp_path: Path, server: subprocess.Popen[str]) -> Commands:
    """`bench` in the test's folder."""
    return Commands(tmp_path, server)
