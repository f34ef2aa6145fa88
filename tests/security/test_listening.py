"""Nothing listens on any address but 127.0.0.1, unless `--host` names one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import ROOT, bench, gone, process
from tests.soak import LONG

SERVERS = r"socketserver|http\.server|asyncio|xmlrpc|aiohttp|flask|uvicorn|\.listen\(|\.bind\("


@pytest.fixture
def store(here: Path) -> Path:
    (here / "results").mkdir()
    (here / "results" / "mlflow.db").touch()
    return here


def test_no_module_opens_a_port() -> None:
    sources = {path: path.read_text() for path in (ROOT / "bench").rglob("*.py")}
    assert [path for path, text in sources.items() if re.search(SERVERS, text)] == []


def test_ui_listens_on_127_0_0_1_by_default(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "executable", "/bin/echo")  # print the command
    for options, host in [((), "127.0.0.1"), (("--host", "0.0.0.0"), "0.0.0.0")]:
        bench("ui", *options)
        assert re.findall(r"--host (\S+)", capfd.readouterr().out) == [host]


def test_ui_imports_nothing_from_the_working_folder(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (store / "python").write_text('#!/bin/sh\npwd -P; echo "$@"\n')
    (store / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(store / "python"))
    assert bench("ui").exit_code == 0
    place, arguments, *_ = capfd.readouterr().out.splitlines()
    assert place == str(Path(sys.prefix).resolve())
    assert arguments.startswith("-P -m mlflow ui ")


SERVER = """#!/bin/sh
sleep 300 & echo $! >> pids
sleep 300 & echo $! >> pids
echo $$ >> pids
wait
"""


@pytest.mark.case("ui-processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_ui_ends_with_all_its_processes(store: Path, number: signal.Signals) -> None:
    (store / "python").write_text(SERVER.replace("pids", f"{store}/pids"))
    (store / "python").chmod(0o755)
    code = f"import sys; sys.executable = '{store}/python'; from bench.cli.app import main; main()"
    command = [sys.executable, "-c", code, "ui"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=store, env=env, start_new_session=True) as served:
        deadline = time.monotonic() + 30
        while not (store / "pids").exists() or len((store / "pids").read_text().split()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        served.send_signal(number)
        served.wait(20)
    assert gone(map(int, (store / "pids").read_text().split()), 10)


@pytest.mark.soak
@pytest.mark.skipif(not LONG, reason="it takes MLflow 10 s to start")
def test_mlflow_listens_only_on_127_0_0_1(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = process(store, "ui", "--port", port)
    try:
        for _ in range(120):
            if addresses := listening(port):
                break
            time.sleep(1)
        assert addresses == ["0100007F"]
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.communicate(timeout=30)


def listening(port: int) -> list[str]:
    """The addresses on which something listens at a port, as Linux has them: in hex, reversed."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == "0A"]
    return [address for address, number in places if int(number, 16) == port]
