"""Class correlations of trained networks.

A class correlation is the correlation of the logits of two classes, over all test images. Networks
are read from their saved weights. This needs torch and the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench import data
from bench.data import Data, Selection
from bench.data.views import View
from bench.errors import BenchError, MissingData
from bench.lazy import torch
from bench.plugins import BUILTIN, Registry
from bench.report.figures.style import PAGE, canvas, methods, style, wrapped
from bench.report.model import Entry
from bench.results import Results, verify
from bench.results.record import Record, TeacherInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = NDArray[np.float64]
_SQUARE, _BAR = 1.3, 0.6  # inches: smallest width of a square with its title, width of the bar


def differences(
    entries: Sequence[Entry],
    results: Results,
    pair: str,
    root: Path | None = None,
    device: str | None = None,
    registry: Registry = BUILTIN,
    selection: Selection | None = None,
) -> dict[str, list[Matrix]]:
    """Return the teacher's class correlations minus the student's, over the test set.

    Args:
        entries: Runs of students; a run without saved weights is skipped.
        results: The results folder.
        pair: Name of the pair.
        root: Folder of the data sets; None: the folder in `BENCH_DATA`, or `data`.
        device: Device that computes the logits; None: a GPU if there is one, otherwise the CPU.
        registry: The networks and data sets that the suite can use, by name.
        selection: The images of the suite; None: the images that the records name. For a folder of
            images, `selection` is needed, because records do not contain the folder's path.

    Returns:
        For each method's label, one matrix (K, K) per seed, where K is the number of classes.

    Raises:
        MissingData: The images or the teacher's weights are missing.
        BenchError: The images or the weights changed since the training, or the logit of a class is
            the same for all images.
    """
    subject: Data | None = None
    of_teacher: dict[str, Matrix] = {}
    matrices: dict[str, list[Matrix]] = {}
    for label, runs in methods(entries, pair).items():
        for record, teacher in _usable(runs, results):
            subject = subject or _data(record, root, device, registry, selection)
            if teacher.id not in of_teacher:
                of_teacher[teacher.id] = _teacher(teacher, record, results, subject, registry)
            student = _correlation(record, results, subject, registry)
            matrices.setdefault(label, []).append(of_teacher[teacher.id] - student)
    return matrices


def class_correlation(logits: NDArray[np.floating]) -> Matrix:
    """Return the correlations (K, K) between all classes' logits over n images (CRD, Figure 2).

    Args:
        logits: Logits (n, K) of n images for K classes.

    Raises:
        BenchError: The logit of a class is the same for all images.
    """
    values = np.asarray(logits, dtype=np.float64)
    if (values == values[0]).all(axis=0).any():
        raise BenchError("class correlations: the logit of a class is the same for all images")
    return np.asarray(np.corrcoef(values, rowvar=False), dtype=np.float64)


def mean_difference(difference: Matrix) -> float:
    """Return the mean absolute value of a matrix (K, K), without its diagonal."""
    off_diagonal = ~np.eye(len(difference), dtype=bool)
    return float(np.abs(difference[off_diagonal]).mean())


def describe(matrices: Sequence[Matrix]) -> str:
    """Return `mean |Δ| = 0.123 ± 0.004`: mean and standard deviation over the seeds.

    |Δ| of a seed is the `mean_difference` of the seed's matrix.
    """
    values = [mean_difference(matrix) for matrix in matrices]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"mean |Δ| = {np.mean(values):.3f}{spread}"


def correlation_figure(
    matrices: Mapping[str, Sequence[Matrix]], title: str = "", width: float = PAGE
) -> Figure:
    """Return a figure with one square per method, which shows the matrix of the first seed.

    The title of a square states the mean |Δ| over all seeds of the method.

    Args:
        matrices: For each method's label, one matrix (K, K) per seed.
        title: Title of the figure.
        width: Largest width of the figure in inches.

    Raises:
        BenchError: There is no matrix.
    """
    if not matrices:
        raise BenchError("class correlations: no student has saved weights")
    limit = max(float(np.abs(seeds[0]).max()) for seeds in matrices.values()) or 1.0
    count = len(matrices)
    most = max(int((width - _BAR) / _SQUARE), 1)
    # as many columns as fit, or one less if that leaves fewer squares empty
    across = min(count, min((most, max(most - 1, 1)), key=lambda columns: -count % columns))
    down = -(-count // across)
    with style():
        figure = canvas(min(width, 1.6 * across + _BAR), (width - _BAR) / most * 1.25 * down + 0.3)
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (label, seeds) in zip(grid.flat, matrices.items(), strict=False):
            image = axes.imshow(seeds[0], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
            axes.set_title(f"{label}\n{describe(seeds)}", fontsize=7, loc="center")
        bar = figure.colorbar(image, ax=grid, shrink=0.7, aspect=24, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("correlation, teacher − student")
        if title:
            figure.suptitle(wrapped(title, width), fontsize=8.5)
    return figure


def _usable(entries: Sequence[Entry], results: Results) -> Iterator[tuple[Record, TeacherInfo]]:
    """Yield the finished runs with a teacher and saved weights, sorted by seed."""
    for entry in sorted(entries, key=lambda entry: entry.seed):
        record = entry.record
        if record and entry.finished and record.teacher and results.weights(record.id).is_file():
            yield record, record.teacher


def _data(
    record: Record,
    root: Path | None,
    device: str | None,
    registry: Registry,
    selection: Selection | None,
) -> Data:
    """Return the images of a record; raise BenchError if their fingerprint has changed."""
    spec = record.specification.data
    selection = selection or Selection.of(spec)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    images = data.load(selection, root, where, added=registry.datasets)
    if spec.fingerprint not in ("", images.facts.fingerprint):
        raise BenchError(f"{selection.name}: the images changed since {record.name} was trained")
    return images


def _teacher(
    teacher: TeacherInfo, student: Record, results: Results, subject: Data, registry: Registry
) -> Matrix:
    record = results.record(teacher.id)
    if record is None or not results.weights(teacher.id).is_file():
        raise MissingData(f"{results.weights(teacher.id)}: the teacher's weights are missing")
    if record.weights != teacher.sha256:
        raise BenchError(
            f"{teacher.id}: the teacher's weights have changed since {student.id} was trained"
        )
    return _correlation(record, results, subject, registry)


def _correlation(record: Record, results: Results, subject: Data, registry: Registry) -> Matrix:
    """Return the class correlations (K, K) of a run's network over the test set."""
    from bench.training.evaluation import predict
    from bench.training.teacher import load_trained

    path, spec = results.weights(record.id), record.specification
    verify(path, record.weights or "")
    net = load_trained(record, subject.facts, path, registry)
    net = net.to(subject.train_labels.device)
    view = View(spec.view, subject.facts, subject.train_labels.device)
    logits, _ = predict(net, subject, "test", spec.recipe, view)
    try:
        return class_correlation(logits.cpu().numpy())
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error
