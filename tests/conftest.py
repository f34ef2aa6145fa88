import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PACK = Path(__file__).parents[1] / "../shared/data"

# A shell's "&" ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cifar100_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that holds the real CIFAR-100, unpacked once a session (about 5 s, 186 MB)."""
    script, sheets = PACK / "unpack_cifar100.py", PACK / "cifar100"
    if not (script.is_file() and sheets.is_dir()):
        pytest.skip(f"no CIFAR-100 to unpack in {PACK}")
    root = tmp_path_factory.mktemp("cifar100")
    command = [sys.executable, str(script), str(sheets), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    return root


@pytest.fixture(autouse=True, scope="session")
def no_shared_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the hashes of images in a folder of this session."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped, saying why, where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
