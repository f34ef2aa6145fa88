"""Execute the tasks of a job that measure finished networks."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench import data, models
from bench.data import Facts, LoadedData
from bench.data.views import RGB, View
from bench.errors import BenchError
from bench.execution.protocol import Task
from bench.measures.measurer import Measurer
from bench.results.environment import is_out_of_memory
from bench.results.record import Status
from bench.spec import RunSpec
from bench.training import teacher as teachers

if TYPE_CHECKING:
    from bench.execution.worker import JobContext

Outcome = tuple[Task, Status, str | None, dict[str, Any]]


def outcomes(
    context: "JobContext", dataset: LoadedData, beat: Callable[[], object]
) -> Iterator[Outcome]:
    """Yield each task with its status, the reason of a failure, and fields of its record.

    A failed task does not stop the other tasks. The networks of all tasks stay in memory, because
    several tasks can measure the same network.

    Args:
        context: The job.
        dataset: The images of all tasks.
        beat: Function that is called repeatedly during long computations, as a sign of life.
    """
    job = context.job
    root = data.data_root(Path(job.data_root) if job.data_root else None)
    network = cache(partial(finished_network, context, dataset.facts))
    specs = [task.specification for task in job.tasks]
    measurer = Measurer(specs, dataset, network, root, beat)
    for task in job.tasks:
        start = time.monotonic()
        try:
            metrics = measurer.measure(task.specification)
            cost = asdict(models.cost(network(str(task.specification.subject)), dataset.facts.size))
        except BenchError as error:
            yield task, "failed", str(error), {}
        except Exception as error:
            if is_out_of_memory(error):
                raise
            traceback.print_exc()  # written to the worker's log; with --inline, to the screen
            yield task, "failed", context.registry.describe_error(error), {}
        else:
            seconds = time.monotonic() - start
            yield task, "done", None, {"metrics": metrics, "network": cost, "seconds": seconds}


def finished_network(context: "JobContext", facts: Facts, id: str) -> nn.Module:
    """Return the frozen network of a finished run, with verified weights, on the job's device.

    Args:
        context: The job, whose tasks measure the network.
        facts: Facts of the images that the tasks use.
        id: Id of the run.
    """
    job = context.job
    specs = [task.specification for task in job.tasks]
    info = job.teacher if job.teacher and job.teacher.id == id else job.sources[id]
    stages = [s.teacher_stages if s.teacher == id else s.stages for s in specs if id in s.needs]
    source = replace(facts, classes=specs[0].measure["classes"], class_counts=None)
    layers = next(filter(None, stages), ())
    nets, spec = teachers.load_finished(context.results, info, source, context.registry, layers)
    net = nets[0] if len(nets) == 1 else teachers.Averaged(nets)
    net.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if spec.view != RGB:
        see(net, spec.view, source, specs, context.device)
    return net.eval().requires_grad_(False)


def see(
    net: nn.Module, name: str, facts: Facts, specs: Sequence[RunSpec], device: torch.device
) -> None:
    """Add a hook to a network, which converts its normalised input images to a view.

    Args:
        net: The network.
        name: The view on which the network was trained.
        facts: Facts of the images.
        specs: Specifications of the job's tasks, with the normalisation of the images.
        device: The device of the images.

    Raises:
        BenchError: The view is random, or the tasks normalise the images in different ways.
    """
    usual = {"mean": facts.mean, "std": facts.std}
    keys = [tuple(tuple((usual | spec.measure)[key]) for key in usual) for spec in specs]
    if name.startswith("noise") or len(set(keys)) > 1:
        allowed = "a network whose view has no noise, and a measure with normalise: source"
        raise BenchError(f"the network was trained on the view '{name}'. Allowed: {allowed}")
    mean, std = keys[0]
    view = View(name, replace(facts, mean=mean, std=std), device)
    index = torch.zeros(0, dtype=torch.int64, device=device)  # only noise needs it
    net.register_forward_pre_hook(lambda _, inputs: (view(inputs[0], index), *inputs[1:]))
