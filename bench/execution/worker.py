"""The worker: a process that loads the data, trains the runs of one job and saves them.

`python -m bench.execution.worker` reads the job from standard input. The worker itself writes
weights and checkpoints. It sends each record as an event to its parent process, which writes the
record.
"""

import bdb
import io
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import safetensors.torch
import torch
from torch import Tensor

from bench import data, models
from bench.data import Augment, Data, Facts, LoadedData, Selection, Split
from bench.data.views import View
from bench.errors import BenchError, MissingData
from bench.execution import measuring
from bench.execution.protocol import Emit, Event, Job, Task
from bench.plugins import Kind, Registry
from bench.results import Corrupt, Results, Unwritable, quarantine, verify
from bench.results.environment import describe_oom, environment, is_out_of_memory, now
from bench.results.record import Epoch, Status
from bench.suite import Checkpoint
from bench.training import loop, pretrained
from bench.training import teacher as teachers
from bench.training.cuda_graphs import CaptureError, CudaCapture
from bench.training.evaluation import measure, predict
from bench.training.kept import KeptOutputs, kept_bytes, key_of_outputs
from bench.training.teacher import Teacher
from bench.training.trainer import Trainer
from distillers import Batch, Incompatible
from distillers.base import reads_of_teacher

HEARTBEAT_INTERVAL_S = 1.0  # shortest pause between two heartbeats


class JobContext:
    """A job, and the objects that the functions of this module share.

    Args:
        job: The job.
        emit: Function that sends an event to the parent process.

    Attributes:
        results: The job's results folder.
        registry: Networks, data sets and distillers, including those of the job's plugins.
        device: Device of the training.
        capture: Function that captures the runs' steps as CUDA graphs; None: no capture.
        data_counts: Counts of the images, for records; empty until the data are loaded.
        initial: The initial weights that were read from files so far, by the network's name.
        started: Time at which the job started, for the records.
    """

    def __init__(self, job: Job, emit: Emit) -> None:
        self.job, self.emit = job, emit
        self.results = Results(Path(job.results))
        self.registry = Registry.of(map(Path, job.plugins), enabled=job.plugins_enabled)
        self.registry.options = job.options
        self.device = torch.device(job.device)
        self.capture = CudaCapture() if job.graphs else None
        self.data_counts: Mapping[str, int] = {}
        self.initial: dict[str, Mapping[str, Tensor]] = {}
        self.started = now()


class Heartbeat:
    """A data set that emits `heartbeat` events while its batches are read.

    The events show the parent process that the worker does not hang.

    Args:
        data: The data set.
        facts: Facts of the data set, with the classes of the networks that the worker trains.
        emit: Function that sends an event to the parent process.
    """

    def __init__(self, data: LoadedData, facts: Facts, emit: Emit) -> None:
        self.facts, self.train_labels, self.counts = facts, data.train_labels, data.counts
        self.normalize = data.normalize
        self._data, self._emit = data, emit
        self._last = float("-inf")

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield the batches of an epoch."""
        return self._watched(self._data.epoch(seed, epoch, batch_size, augment))

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a split."""
        return self._watched(self._data.evaluation(split, batch_size))

    def pictures(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a split before normalisation."""
        return self._watched(self._data.pictures(split, batch_size))

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Heartbeat":
        """Return the same data with another normalisation."""
        facts = replace(self.facts, mean=mean, std=std)
        return Heartbeat(self._data.normalised(mean, std), facts, self._emit)

    def beat(self) -> None:
        """Emit a heartbeat, unless the last one was less than `HEARTBEAT_INTERVAL_S` ago."""
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_INTERVAL_S:
            self._last = now
            self._emit({"event": "heartbeat"})

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self.beat()
            yield batch


def run_job(job: Job, emit: Emit) -> None:
    """Run a job: emit one `record` event for each task, even if other tasks fail.

    If memory runs out or a step cannot be captured as a CUDA graph, the last event is `split`. If
    the results folder cannot be written to, the last event is `unwritable`. In both cases, tasks
    without a record can resume later from their checkpoints.

    Args:
        job: The job.
        emit: Function that is called with each event.
    """
    configure_process(job)
    context = JobContext(job, emit)
    try:
        check_plugins(context)
        if (checkpoint := job.tasks[0].checkpoint) is not None:
            import_checkpoint(context, job.tasks[0], checkpoint)
        elif job.tasks[0].specification.subject:
            measure_networks(context)
        elif job.tasks[0].specification.role == "ensemble":
            import_ensemble(context, job.tasks[0])
        else:
            train(context)
    except CaptureError as error:
        emit({"event": "split", "reason": str(error)})
    except Unwritable as error:
        emit({"event": "unwritable", "reason": str(error)})
    except BenchError as error:
        for task in job.tasks:
            emit_record(context, task, "failed", str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        emit({"event": "split", "reason": describe_oom(error, context.device)})


def configure_process(job: Job) -> None:
    """Set the GPU, the number of threads and the float32 precision of this process."""
    device = torch.device(job.device)
    if device.index is not None:
        torch.cuda.set_device(device)  # otherwise streams and CUDA graphs use the first GPU
    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    recipe = job.tasks[0].specification.recipe  # all tasks have the same precision
    torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"


def check_plugins(context: JobContext) -> None:
    """Compare the plugins with the hashes in the tasks' specifications.

    Raises:
        BenchError: A plugin was edited since the run was planned.
    """
    source_of = context.registry.source_of
    for task in context.job.tasks:
        spec = task.specification
        expected: dict[tuple[Kind, str], str | None] = {("network", spec.network): spec.source}
        expected["dataset", context.job.dataset] = spec.data.source
        expected |= {("distiller", name): term.source for name, term in spec.method.items()}
        for (kind, name), source in expected.items():
            if source_of(kind, name) != source:
                problem = f"the plugin of the {kind} '{name}' was edited after the command started"
                raise BenchError(f"{problem}; run the same command again")


def load_data(context: JobContext) -> Heartbeat:
    """Return the tasks' data set on the training device; reading batches emits heartbeats."""
    job, spec = context.job, context.job.tasks[0].specification.data
    selection, added = Selection.of(spec, job.dataset), context.registry.datasets
    root = Path(job.data_root) if job.data_root else None
    dataset = data.load(selection, root, context.device, added=added)
    context.data_counts = dataset.counts
    return Heartbeat(dataset, job.facts or dataset.facts, context.emit)


def load_teacher(context: JobContext, dataset: Data) -> Teacher | None:
    """Return the job's teacher with verified weights; None if the tasks are teachers."""
    info = context.job.teacher
    if info is None:
        return None
    spec, registry = context.job.tasks[0].specification, context.registry
    facts = context.job.teacher_facts or dataset.facts
    stages = context.job.teacher_stages
    networks, _ = teachers.load_finished(context.results, info, facts, registry, stages)
    terms = {term for task in context.job.tasks for term in task.specification.method}
    reads = {name for term in terms for name in reads_of_teacher(registry.distiller(term))}
    view = View(spec.teacher_view, dataset.facts, context.device, facts)
    return Teacher(networks, dataset, spec.recipe, reads, view)


def import_ensemble(context: JobContext, task: Task) -> None:
    """Evaluate an ensemble of trained teachers, and save the members' weights as one file."""
    dataset, spec = load_data(context), task.specification
    load = partial(teachers.load_finished, facts=dataset.facts, registry=context.registry)
    finished = [load(context.results, context.job.sources[id]) for id in spec.members]
    members = [nets[0] for nets, _ in finished]
    ensemble = Teacher(members, dataset, spec.recipe).net
    view = View(spec.view, dataset.facts, context.device)
    last = measure(*predict(ensemble, dataset, "test", spec.recipe, view))
    weights = save_weights(context, task, teachers.member_weights(members))
    cost = models.cost(members[0], dataset.facts.size)
    network = {name: value * len(members) for name, value in asdict(cost).items()}
    emit_record(
        context, task, "done", None, weights=weights, network=network, metrics={"last": last}
    )


def import_checkpoint(context: JobContext, task: Task, checkpoint: Checkpoint) -> None:
    """Check the SHA-256 and the accuracy of a checkpoint file; save its weights as a teacher."""
    verify(checkpoint.path, checkpoint.sha256)
    dataset = load_data(context)
    spec, facts = task.specification, dataset.facts
    registry, others = context.registry, context.job.networks
    fit = teachers.fit_checkpoint(checkpoint.path, spec.network, facts, registry, others)
    network = registry.build_network(spec.network, facts.classes, facts.size)
    pretrained.load_into(network, fit.state)
    if fit.note:
        context.emit({"event": "notice", "text": fit.note})
    network = network.to(context.device)
    view = View(spec.view, facts, context.device)
    last = measure(*predict(network, dataset, "test", spec.recipe, view))
    fields = {"network": asdict(models.cost(network, facts.size)), "metrics": {"last": last}}
    if problem := checkpoint.broken_promise(last["top1"]):
        emit_record(context, task, "failed", problem, **fields)
        return
    weights = save_weights(context, task, network.state_dict())
    emit_record(context, task, "done", None, weights=weights, **fields)


def train(context: JobContext) -> None:
    """Train all tasks together, batch by batch; tasks with a checkpoint resume from it."""
    dataset = load_data(context)
    teacher = load_teacher(context, dataset)
    if trainers := make_trainers(context, dataset, teacher):
        # The CUDA graph of the teacher needs its own memory pool: in a shared pool, replays of the
        # students' graphs would overwrite the teacher's features.
        capture = CudaCapture() if context.job.graphs else None
        save = partial(save_epoch, context)
        kept = kept_outputs(context, dataset, teacher) if teacher else None
        loop.train_cohort(trainers, teacher, dataset, save, capture, kept)


def kept_outputs(context: JobContext, dataset: Data, teacher: Teacher) -> KeptOutputs | None:
    """Return the teacher's outputs on disk; None if the job does not keep them."""
    job, info = context.job, context.job.teacher
    if info is None or not job.keep_teacher:
        return None
    spec = job.tasks[0].specification
    key = key_of_outputs(spec, info.sha256, context.device, job.teacher_stages)
    sizes = [(shapes.logits, shapes.pooled) for shapes in teacher.shapes]
    folder, count = context.results.teacher_outputs, len(dataset.train_labels)
    size = kept_bytes(count, spec.epochs, sizes)
    text = f"the outputs of {info.network} for all epochs of this seed take {size / 1e9:.2f} GB"
    context.emit({"event": "notice", "text": f"{folder}: {text}"})
    return KeptOutputs(folder, key, count, sizes, context.device)


def measure_networks(context: JobContext) -> None:
    """Measure finished networks: emit a record for each task."""
    dataset = load_data(context)
    for task, status, reason, fields in measuring.outcomes(context, dataset, dataset.beat):
        emit_record(context, task, status, reason, **fields)


def make_trainers(context: JobContext, dataset: Data, teacher: Teacher | None) -> list[Trainer]:
    """Return a trainer for each task that can be trained; emit records for the other tasks."""
    trainers = []
    shapes, info = teacher.shapes if teacher else [], context.job.teacher
    sha256 = info.sha256 if info else ""
    for task in context.job.tasks:
        make = partial(Trainer, task, dataset, shapes, context.capture, context.registry, sha256)
        try:
            make = partial(make, load_initial(context, task, dataset.facts))
            trainer = make()
            trainers.append(trainer if resume(context, trainer) else make())
        except Incompatible as error:
            emit_record(context, task, "skipped", str(error))
        except BenchError as error:
            emit_record(context, task, "failed", str(error))
        except bdb.BdbQuit as error:
            raise KeyboardInterrupt from error  # the user typed `q` in a debugger
        except (Exception, SystemExit) as error:  # a plugin may call sys.exit
            if is_out_of_memory(error):
                raise
            traceback.print_exc()  # written to the worker's log; with --inline, to the screen
            emit_record(context, task, "failed", context.registry.describe_error(error))
    return trainers


def load_initial(context: JobContext, task: Task, facts: Facts) -> Mapping[str, Tensor] | None:
    """Return the tensors of a task's file of initial weights, after a check of its SHA-256.

    Returns None if the network begins with random weights, or with weights of timm or torchvision.
    """
    name, file = task.specification.network, task.init
    if file and name not in context.initial:
        if not file.path.is_file():
            raise MissingData(f"{file.path}: no such file; `networks.{name}.init` names it")
        verify(file.path, file.sha256)
        others = context.registry, context.job.networks
        fit = teachers.fit_checkpoint(file.path, name, facts, *others, any_classes=True)
        context.initial[name] = fit.state
        if fit.note:
            context.emit({"event": "notice", "text": fit.note})
    return context.initial[name] if file else None


def resume(context: JobContext, trainer: Trainer) -> bool:
    """Restore a trainer from its run's checkpoint; do nothing if the run has no checkpoint.

    Returns False if the checkpoint is invalid, else True. An invalid checkpoint is renamed to
    `*.corrupt`. The trainer must not be used then, because it may be partly restored.
    """
    task, results = trainer.task, context.results
    try:
        if (saved := results.read_state(task.id)) is not None:
            trainer.restore(saved)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = error.why if isinstance(error, Corrupt) else f"{type(error).__name__}: {error}"
        reason, name = reason.partition("\n")[0], quarantine(results.state(task.id)).name
        message = f"its checkpoint is invalid ({reason}) and was moved to {name}"
        text = f"{task.name} restarts from epoch 0: {message}"
        context.emit({"event": "notice", "text": text})
        return False
    return True


def save_epoch(context: JobContext, trainer: Trainer) -> None:
    """Save the state of a run after an epoch, and emit the run's events.

    For a run that continues, a checkpoint is saved. For a completed run, the weights are saved and
    a record is emitted. For a failed run, only a record is emitted.
    """
    task = trainer.task
    if not trainer.ended:
        context.results.save_state(task.id, trainer.checkpoint())
    if trainer.failure is None:
        context.emit({"event": "epoch", "run": task.id, "entry": trainer.curves[-1].content})
    if not trainer.ended:
        return
    fields: dict[str, Any] = {"curves": trainer.curves, "network": asdict(trainer.cost)}
    fields["seconds"] = sum(epoch.seconds for epoch in trainer.curves)
    if trainer.failure is None:
        fields["metrics"] = summarise(trainer.curves)
        fields["weights"] = save_weights(context, task, trainer.weights())
    emit_record(context, task, *(trainer.failure or ("done", None)), **fields)


def summarise(curves: Iterable[Epoch]) -> dict[str, dict[str, float | None]]:
    """Return the metrics of a record, from the curves of a completed run.

    `last` and `validation` are the metrics of the last evaluated epoch, on the test set and the
    validation set. `oracle` holds the number and the test metrics of the epoch with the highest
    top-1 test accuracy.
    """
    evaluated = [epoch for epoch in curves if epoch.test]
    last, best = evaluated[-1], max(evaluated, key=_quality)
    values = {"last": last.test, "oracle": {**best.test, "epoch": best.epoch}}
    return {**values, "validation": last.validation} if last.validation else values


def _quality(epoch: Epoch) -> float:
    """Return the top-1 accuracy; without labels, the agreement with the teacher."""
    return epoch.test.get("top1", epoch.test.get("agreement")) or 0.0


def save_weights(context: JobContext, task: Task, weights: Mapping[str, Tensor]) -> str:
    """Save a network's weights, by name; return the SHA-256 of the file."""
    # Copy the tensors, because safetensors refuses shared memory, such as tied weights.
    state = {name: value.contiguous().clone() for name, value in weights.items()}
    content = safetensors.torch.save(state, {"network": task.specification.network})
    return context.results.save_weights(task.id, content)


def emit_record(
    context: JobContext, task: Task, status: Status, reason: str | None, **fields: Any
) -> None:
    """Send a task's record to the parent process."""
    job, precision = context.job, task.specification.recipe.precision
    fields["environment"] = environment(context.device, precision, job.graphs)
    fields |= {"teacher": job.teacher, "started": context.started, "finished": now()}
    if context.data_counts:
        fields["data"] = dict(context.data_counts)
    record = task.record(status, reason, **fields)
    context.emit({"event": "record", "record": record.content})


class NoInput(io.TextIOBase):
    """Standard input for plugins: raises an error, because a debugger would wait for ever."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Raise RuntimeError."""
        raise RuntimeError(
            "a worker process has no input for breakpoint(). Train in one process: "
            "`bench run SUITE --inline`"
        )


def main() -> None:
    """Run the job on the first line of standard input; exit early if the parent exits."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)  # for emit
    os.dup2(2, 1)  # libraries print to the log; only events go to the channel
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, args=(sys.stdin,), daemon=True).start()
    sys.stdin = NoInput()

    writing = threading.Lock()

    def emit(event: Event) -> None:
        with writing:
            channel.write(json.dumps(event, allow_nan=False) + "\n")
            channel.flush()

    run_job(job, emit)


def _exit_with_parent(stdin: TextIO) -> None:
    """Exit when standard input closes, which means that the parent has exited."""
    stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
