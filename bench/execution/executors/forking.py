"""A server process that forks workers, so that all workers of a command share its imports (Linux).

Importing torch takes longer than a short run trains. The command imports the worker's modules and
forks the server before it starts threads or uses a GPU, as neither survives a fork. Each worker is
a process with its own session and log, as if it had been started without the server.
"""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import NoReturn

MAX_FILES = 64  # files that one message to the server can contain
DEFAULT_NEW_OBJECTS = 700  # before the garbage collector runs, as in Python 3.11; `bench` sets more
UNKNOWN_CODE = 1  # exit code of a worker whose server was killed before it could report the code


class ForkedProcess:
    """A worker that the server forked; it has the methods of `subprocess.Popen` that we use.

    Args:
        channel: Socket to the server.
        errors: File descriptor that becomes the worker's standard error.
        inherited: File descriptors that the worker inherits.

    Raises:
        OSError: The server has ended.
    """

    def __init__(self, channel: socket.socket, errors: int, inherited: Sequence[int]) -> None:
        (stdin, to_worker), (from_worker, stdout), (status, report) = (os.pipe() for _ in range(3))
        self.stdin = open(to_worker, "w", encoding="utf-8")  # noqa: SIM115
        self.stdout = open(from_worker, encoding="utf-8")  # noqa: SIM115
        self._status = open(status)  # noqa: SIM115
        try:
            socket.send_fds(channel, [b"fork"], [report, stdin, stdout, errors, *inherited])
        finally:
            for file in (stdin, stdout, report):
                os.close(file)
        if not (line := self._status.readline()):
            raise ConnectionError("the server of workers has ended")
        self.pid = int(line)
        self.returncode: int | None = None
        self._reading = threading.Lock()

    def __enter__(self) -> "ForkedProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.stdout.close()
        try:
            self.stdin.close()
        finally:
            self.wait()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the worker runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the worker; return its exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: The worker still runs after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            with self._reading:
                if self.returncode is None:
                    if not (code := self._status.readline()):  # the server was killed
                        with suppress(ProcessLookupError):
                            os.killpg(self.pid, signal.SIGKILL)
                    self.returncode = int(code or UNKNOWN_CODE)
        return self.returncode


class WorkerServer:
    """A server that is forked when it is first needed; a context manager that ends it.

    When the block or this process ends, the server kills its workers and ends.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._channel: socket.socket | None = None

    def __enter__(self) -> "WorkerServer":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def connect(self) -> socket.socket | None:
        """Return the socket for `ForkedProcess`; None if this process cannot be forked safely.

        This process must not have computed with several threads: torch's threads do not survive.
        """
        if self._channel is None and sys.platform == "linux" and threading.active_count() == 1:
            import torch

            import bench.execution.worker  # noqa: F401  # the server has all imports of a worker

            if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                self._channel = self._fork()
        return self._channel

    def _fork(self) -> socket.socket:
        channel, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with warnings.catch_warnings():
            # Python counts the threads of numpy's BLAS, which end before a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            try:
                channel.close()
                _serve(server_end)
            finally:
                os._exit(0)  # the command's own exit handlers must not run
        server_end.close()
        self._stack.callback(os.waitpid, pid, 0)
        self._stack.enter_context(channel)  # the server ends when the channel closes
        return channel


def _serve(channel: socket.socket) -> None:
    """Fork a worker for each message; report the worker's id and, later, its exit code.

    A message consists of files: one for the report, the worker's stdin, stdout and stderr, and
    files that the worker only inherits.
    """
    os.setsid()  # Ctrl-C reaches only the command, which stops the workers
    for number in (signal.SIGTERM, signal.SIGINT):  # not the command's handlers
        signal.signal(number, signal.SIG_DFL)
    gc.freeze()  # workers share the memory of objects that the garbage collector does not visit
    gc.set_threshold(DEFAULT_NEW_OBJECTS)  # so that cycles soon free their tensors
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)  # the end of a worker makes `wake` readable
    reports: dict[int, int] = {}  # by the worker's id
    server = os.getpid()
    try:
        while True:
            ready, _, _ = select.select([channel.fileno(), wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                _report_ended(reports)
            if channel.fileno() in ready:
                message, files, _, _ = socket.recv_fds(channel, 16, MAX_FILES)
                if not message:
                    break
                report = files.pop(0)
                if (pid := os.fork()) == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for file in (channel.detach(), wake, waker, report, *reports.values()):
                        os.close(file)
                    _work(*files[:3])
                reports[pid] = report
                with suppress(BrokenPipeError):  # the command was killed
                    os.write(report, f"{pid}\n".encode())
                for file in files:
                    os.close(file)
    finally:
        for pid in reports if os.getpid() == server else ():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _report_ended(reports: dict[int, int]) -> None:
    """Report the exit codes of workers that have ended, and remove them from `reports`."""
    for pid in list(reports):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            continue
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        report = reports.pop(pid)
        with suppress(BrokenPipeError):
            os.write(report, f"{code}\n".encode())
        os.close(report)
        os.waitpid(pid, 0)  # after the report: until then, no other process can get this id


def _work(*files: int) -> NoReturn:
    """Run a worker on three files, which become its standard input, output and error."""
    from bench.execution import worker

    code = 1
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        worker.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
