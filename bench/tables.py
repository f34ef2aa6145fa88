"""Functions for notebooks: run a suite, load records, make tables, compare results, draw.

`bench.run`, `bench.records`, `bench.table`, `bench.compare` and `bench.forest` are defined here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distillers
from bench import regression, report
from bench.errors import BenchError, ConfigError
from bench.regression import Verdicts
from bench.report import Report, ReportOptions, build
from bench.report.measured import main_metric
from bench.report.model import Entry, Role, TableContext
from bench.results import Record, Results
from bench.results.measured import merge_all
from bench.suite import Method, canonical, papers
from bench.suite.controls import NAMES
from bench.suite.files import default_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.api import Machine

Folder = str | Path
FIRST = ("method", "label", "pair", "teacher", "student", "seed", "role", "status")
LAST = ("seconds", "id", "results")  # columns after the metrics; `FIRST` come before the metrics


@dataclass(frozen=True)
class ResultTable:
    """Tables of results, which a notebook shows as HTML.

    Attributes:
        report: The tables, one for each group of pairs of teacher and student.
        options: The format of the tables, such as the metric.
    """

    report: Report
    options: ReportOptions

    def to_frame(self) -> "pd.DataFrame":
        """Return the means, standard deviations and numbers of runs as a data frame.

        Returns:
            One row for each method. Columns have two levels: the pair of teacher and student,
            then `mean`, `std` and `n`.
        """
        import pandas as pd

        rows: dict[str, dict[tuple[str, str], float | int | None]] = {}
        for cell in (cell for table in self.report.tables for cell in table.cells):
            measured = cell.measured
            values = (measured.mean, measured.std, measured.n) if measured else (None, None, 0)
            keys = [(cell.pair, name) for name in ("mean", "std", "n")]
            rows.setdefault(cell.label, {}).update(zip(keys, values, strict=True))
        frame = pd.DataFrame.from_dict(rows, orient="index")
        columns = list(next(iter(rows.values())))
        frame.columns = pd.MultiIndex.from_tuples(columns, names=["pair", ""])
        return frame.rename_axis("method")

    def to_latex(
        self,
        *,
        wide: bool = False,
        compact: bool = False,
        siunitx: bool = False,
        label: str = "",
    ) -> str:
        """Return the tables as LaTeX floats, which need the packages booktabs and graphicx.

        Args:
            wide: Whether all floats span both columns of a page.
            compact: Whether cells show means only, without standard deviations.
            siunitx: Whether the package siunitx aligns the numbers.
            label: LaTeX label of the first table; if empty, the suite's name is the label.
        """
        options = replace(self.options, wide=wide, compact=compact, siunitx=siunitx)
        return report.render(self.report, "tex", label=label or self.report.suite, options=options)

    def to_markdown(self, *, compact: bool = False) -> str:
        """Return the tables as Markdown; if `compact` is true, cells show means only."""
        return report.render(self.report, "md", options=replace(self.options, compact=compact))

    def save(self, path: Folder) -> Path:
        """Write the tables to a file.

        Args:
            path: The file; its ending is the format: md, tex, csv, json or txt.

        Returns:
            The path of the file.

        Raises:
            BenchError: The format is unknown, or the file cannot be written.
        """
        path = Path(path)
        (kind,) = report.check_formats([path.suffix.removeprefix(".")])
        if kind == report.PAGE:
            raise BenchError(
                f"{path}: the format html is not allowed; use `bench report --format html`"
            )
        text = report.render(self.report, kind, label=path.stem, options=self.options)
        return report.save(path, text.encode())

    def __str__(self) -> str:
        return report.render(self.report, "txt", options=self.options)

    def _repr_html_(self) -> str:
        from bench.report.writers.html import html  # imports matplotlib

        documents = report.documents(self.report, compact=self.options.compact)
        return "\n".join(map(html, documents))

    def _repr_latex_(self) -> str:
        return self.to_latex()


@dataclass(frozen=True)
class ResultComparison:
    """The differences between two sets of records, which a notebook shows as HTML.

    Attributes:
        verdicts: For each pair and method, whether the metric changed.
    """

    verdicts: Verdicts

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each pair and method, as a data frame.

        Returns:
            Columns `pair`, `method`, `verdict`, the means `before` and `now`, the `change` of
            the mean, the one-sided 95 % bounds `low` and `high` of the change, the p-value `p`, and
            the verdict's `reason`.
        """
        import pandas as pd

        rows = [
            {
                "pair": cell.pair,
                "method": cell.method,
                "verdict": cell.outcome,
                "before": cell.before.mean if cell.before else None,
                "now": cell.now.mean if cell.now else None,
                "change": cell.change,
                "low": cell.low,
                "high": cell.high,
                "p": cell.p,
                "reason": cell.reason,
            }
            for cell in self.verdicts.cells
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        return report.text(regression.verdicts_document(self.verdicts))

    def _repr_html_(self) -> str:
        from bench.report.writers.html import html  # imports matplotlib

        return html(regression.verdicts_document(self.verdicts))


def run(
    name: str | Path,
    *,
    results: str | Path = "results",
    changes: Sequence[str] = (),
    filters: str = "",
    machine: "Machine | None" = None,
    data_root: Path | None = None,
) -> "pd.DataFrame":
    """Run a suite and return the records of its runs.

    Runs that already have a result in the folder are not repeated. Example:
    `bench.run("quickstart", changes=["recipe.epochs=2"], filters="method=kd|crd")`.

    Args:
        name: A suite file, or the name of a suite that this package contains.
        results: Results folder; the records are written to it.
        changes: Changes to the suite, each `key=value`; a string is one change.
        filters: Selects a part of the suite, such as `pair=vgg13/*,method=kd|crd,seed=0`.
        machine: The hardware that trains the runs, a `bench.api.Machine`; None: all GPUs, or the
            CPU if there is no GPU.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.

    Returns:
        One row for each run of the suite, with the columns of `bench.records`.

    Raises:
        BenchError: The suite, the data or the results folder cannot be used.
    """
    from bench.api import Machine, execute, load_plan, run_seeds, run_trials

    changes = [changes] if isinstance(changes, str) else changes
    store, hardware = Results(Path(results)), machine or Machine()
    load = partial(load_plan, name, changes, filters, data_root=data_root, results=store)
    train = partial(execute, results=store, machine=hardware, data_root=data_root)
    plan, _ = run_seeds(load, train, store, run_trials(load, train, store))
    frame = records(results)
    return frame[frame["id"].isin(list(plan.runs))].reset_index(drop=True)


def records(results: Folder | Iterable[Folder] = "results") -> "pd.DataFrame":
    """Return all records of one or several results folders as a data frame.

    A record is the file with the results of one run.

    Args:
        results: A results folder, or several.

    Returns:
        One row for each run of a network. The first columns are `method`, `label`, `pair`,
        `teacher`, `student`, `seed`, `role` (teacher, student, control or method), `status`, the
        metrics of the last epoch such as `top1` (percent), metrics of measures such as
        `probe.stl10.top1`, `seconds`, `id` and `results` (the folder). `role` is `student` for a
        student trained without the teacher. All fields of the records follow; a nested field is a
        column such as `metrics.oracle.top1`. `curves` holds a list of epochs. If there are no
        records, the frame has only the first columns and no rows.

    Raises:
        BenchError: A folder does not exist, or a record is damaged.
    """
    import pandas as pd

    folders = [results] if isinstance(results, str | Path) else list(results)
    plain, nested = [], []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise BenchError(f"{folder}: no such folder. Allowed: a folder of `bench run`")
        teachers = {r.id: r.network.name for r in Results(folder).records(curves=False)}
        for record in merge_all(Results(folder).records()):
            plain.append({**_plain(record, teachers), "results": str(folder)})
            nested.append(record.content)
    names = dict.fromkeys(("top1", *(name for row in plain for name in row)))
    metrics = [name for name in names if name not in (*FIRST, *LAST)]
    first = pd.DataFrame(plain, columns=[*FIRST, *metrics, *LAST])
    rest = pd.json_normalize(nested)
    return pd.concat([first, rest.drop(columns=[c for c in rest if c in first])], axis=1)


def table(
    source: "Folder | pd.DataFrame",
    *,
    results: Folder = "results",
    metric: str | None = None,
    reference: str | None = None,
    published: bool = False,
    compact: bool = False,
) -> ResultTable:
    """Return the tables of a suite's results, or the table of rows of `bench.records`.

    Args:
        source: A suite file, the name of a suite that this package contains, or rows of
            `bench.records`.
        results: Results folder of the suite; ignored if `source` is rows of `bench.records`.
        metric: Metric of the table, such as `top1`; None: `bench.report.measured.main_metric`.
        reference: Method that all other methods are compared with; None: `kd`.
        published: Whether the table also shows the values that the papers report.
        compact: Whether cells show means only.

    Raises:
        BenchError: The suite, the metric or the reference is not valid, or the records do not form
            one table.
    """
    options = ReportOptions(metric, published=published, reference=reference, compact=compact)
    if isinstance(source, str | Path):
        from bench.api import load_plan_or_saved

        store = Results(Path(results))
        plan, _ = load_plan_or_saved(source, store)
        return ResultTable(build.assemble(plan, store, options), options)
    runs = list(entries(source))
    context = _context(runs, reference)
    metric = metric or main_metric(entry.record for entry in runs)
    values = build.published_values(context, metric) if published else None
    results_by_group = build.tables(runs, context, metric, values)
    return ResultTable(Report.of("records", results_by_group, runs), options)


def compare(
    before: "Folder | pd.DataFrame",
    now: "Folder | pd.DataFrame",
    *,
    metric: str | None = None,
    tolerance: float | None = None,
) -> ResultComparison:
    """Compare two results folders, or two sets of rows of `bench.records`.

    Args:
        before: The earlier results: a folder, or rows of `bench.records`.
        now: The later results: a folder, or rows of `bench.records`.
        metric: Metric to compare; None: `bench.report.measured.main_metric`.
        tolerance: Largest difference that counts as zero, in the unit of the metric; None: the
            default tolerance of the metric.

    Raises:
        BenchError: The metric or the tolerance is not valid, or there are no records.
    """
    sides = [_records(side, name) for side, name in ((before, "before"), (now, "now"))]
    names = str(sides[0][1]), str(sides[1][1])
    verdicts = regression.compare(sides[0][0], sides[1][0], metric, tolerance, names)
    return ResultComparison(verdicts)


def forest(
    source: "Folder | pd.DataFrame",
    *,
    results: Folder = "results",
    metric: str | None = None,
    reference: str | None = None,
) -> "Figure":
    """Draw each method's difference from a reference method, with its 95 % confidence interval.

    Args:
        source: As in `table`.
        results: As in `table`.
        metric: As in `table`.
        reference: As in `table`.

    Returns:
        A matplotlib figure with one panel for each pair of teacher and student. A notebook shows
        the figure.

    Raises:
        BenchError: As in `table`, or no method could be compared with the reference.
    """
    from bench.report.figures.forest import forest_plot
    from bench.report.figures.style import png

    result = table(source, results=results, metric=metric, reference=reference)
    figure = forest_plot(result.report.tables)
    # Jupyter shows figures of pyplot only. It calls this method of all other objects.
    vars(figure)["_repr_png_"] = partial(png, figure)
    return figure


def entries(frame: "pd.DataFrame") -> Iterator[Entry]:
    """Yield two runs for each student's row of `records`: the teacher's run, then the student's.

    Raises:
        BenchError: A column of `records` or the file of a record is missing, no row is a student's
            run, or two rows have the same method, pair and seed.
    """
    _require(frame, (*FIRST, "id", "results"))
    rows = frame[frame["role"] != "teacher"].drop_duplicates(["results", "id"])
    if rows.empty:
        raise BenchError(
            "the records contain no student's run. Allowed: records with runs of students"
        )
    keys = ["pair", "method", "seed"]
    if rows.duplicated(keys).any():
        first = rows[rows.duplicated(keys, keep=False)].iloc[0]
        same = rows[(rows[keys] == first[keys]).all(axis=1)]
        problem = f"several runs of {first['pair']} {first['method']} seed {first['seed']}"
        if same["results"].nunique() == len(same):
            folders = ", ".join(map(str, same["results"]))
            raise BenchError(f"{problem}, in {folders}. Select one folder first, by `results`")
        raise BenchError(
            f"{problem}: the runs have different settings. Select the runs of one setting, for "
            "example by `specification.recipe.epochs`"
        )
    rows = rows.assign(label=rows["label"].fillna(rows["method"]))
    owners = {"Teacher": "teacher"}
    for label, method in zip(rows["label"], rows["method"], strict=True):
        if (owner := owners.setdefault(label, method)) != method:
            problem = f"{owner} and {method} have the same label '{label}'"
            raise BenchError(f"{problem}. Allowed: a label of its own for each method")
    order = [*canonical(), *rows["method"]]

    @cache
    def probes(folder: str) -> list[Record]:
        records = Results(Path(folder)).records(curves=False)
        return [record for record in records if record.specification.subject]

    for row in sorted(rows.to_dict("records"), key=lambda row: order.index(row["method"])):
        store = Results(Path(row["results"]))
        if (record := store.record(row["id"])) is None:
            raise BenchError(f"{store.file(row['id'])}: no such record; read the records again")
        teacher = store.record(record.specification.teacher or "")
        record, *others = merge_all([record, *filter(None, [teacher]), *probes(row["results"])])
        names = str(row["pair"]), str(row["teacher"]), str(row["student"])
        teacher = others[0] if others else None
        role: Role = row["role"] if row["role"] in ("student", "control") else "method"
        if role != "control":  # a control may have another teacher
            yield Entry(*names, "teacher", row["seed"], teacher, "Teacher", "", "teacher")
        terms = tuple(record.specification.method) if role == "method" else ()
        label, note = str(row["label"]), _note(row["method"], record)
        yield Entry(*names, row["method"], row["seed"], record, label, note, role, "", terms)


def _require(frame: "pd.DataFrame", columns: Iterable[str]) -> None:
    """Raise BenchError if this is not a data frame, or if one of these columns is missing."""
    if not hasattr(frame, "columns"):
        raise BenchError(
            f"found {type(frame).__name__}. Allowed: a path, or a data frame of `bench.records`"
        )
    if missing := [name for name in columns if name not in frame]:
        raise BenchError(
            f"the data frame has no column {', '.join(missing)}. Allowed: rows of `bench.records`, "
            "with all of its columns"
        )
    students = frame[frame["role"] != "teacher"] if "role" in frame else frame
    if empty := [name for name in columns if name != "label" and students[name].isna().any()]:
        problem = f"the column {empty[0]} has empty values"
        raise BenchError(f"{problem}. Allowed: rows of `bench.records`")


def _note(method: str, record: Record) -> str:
    """Return a method's footnote: its distillers' notes, and weights that differ from the papers'.

    The footnote is empty if there is nothing to note.
    """
    terms, builtin = record.specification.method, distillers.names()
    notes = dict.fromkeys(distillers.declared(name).note for name in terms if name in builtin)
    note = "; ".join(filter(None, notes)) or None
    return build.note(Method(method, terms, note))


def _records(side: "Folder | pd.DataFrame", name: str) -> tuple[Sequence[Record], str]:
    if isinstance(side, str | Path):
        records = list(Results(Path(side)).records(curves=False))
        name = str(side)
    else:
        _require(side, ("id", "results"))
        pairs = zip(side["results"], side["id"], strict=True)
        records = [r for folder, id in pairs if (r := Results(Path(folder)).summary(id))]
    if not records:
        raise BenchError(f"{name}: no records. Allowed: a folder that `bench run` wrote to")
    return records, name


def _context(runs: Sequence[Entry], reference: str | None) -> TableContext:
    """Return the facts for captions, such as data and recipes, from the records.

    Raises BenchError if the records are of several data sets, or the reference is unknown.
    """
    specs = [e.record.specification for e in runs if e.record and e.role != "teacher"]
    if len({str(spec.data) for spec in specs}) > 1:
        raise BenchError(
            "the records come from several data sets. Select the records of one data set"
        )
    recipes = {
        entry.pair: entry.record.specification.recipe
        for entry in runs
        if entry.record and entry.role != "teacher"
    }
    methods = dict.fromkeys(entry.method for entry in runs if entry.role != "teacher")
    if reference is not None and reference not in methods:
        raise ConfigError([f"no method '{reference}'. Allowed: {', '.join(methods)}"])
    data = specs[0].data if specs else None
    return TableContext("Results", "", data, recipes, reference or TableContext.reference)


def _plain(record: Record, teachers: Mapping[str, str]) -> dict[str, Any]:
    """Return the first columns of a record's row in `records`, by name.

    `teachers` maps the id of each run to the name of the run's network.
    """
    spec, student = record.specification, record.network.name
    info = record.teacher
    teacher = teachers.get(spec.teacher or "", info.network if info else None)
    if record.kind in ("teacher", "ensemble"):
        names: dict[str, Any] = {"method": "teacher", "label": "Teacher", "pair": None}
        names |= {"teacher": student, "student": None}
        role = "teacher"
    else:
        pair, method = _names(record, teacher, student)
        names = {"method": method, "label": default_label(method, spec.method), "pair": pair}
        names |= {"teacher": teacher or pair.partition("/")[0], "student": student}
        role = "student" if _is_plain(spec.method) else "method"
        role = "control" if names["method"] in NAMES else role
    last = record.metrics.get("last", {})
    columns = {**names, "seed": record.seed, "role": role, "status": record.status}
    return {**columns, **last, "seconds": record.seconds, "id": record.id}


def _names(record: Record, teacher: str | None, student: str) -> tuple[str, str]:
    """Return the names of a record's pair and method.

    If the run's name has the form `resnet8x4/resnet8 kd seed 0`, it contains both names. Otherwise
    the method is the papers' method with the same distillers and weights. If the papers have no
    such method, its name is made of the names of its distillers, such as `ce+at`.
    """
    if named := re.fullmatch(r"(.+?) (\S+) seed \d+", record.name):
        return named[1], named[2]
    terms = {name: term.weight for name, term in record.specification.method.items()}
    for method in canonical():
        if {name: term.weight for name, term in papers(method).items()} == terms:
            return f"{teacher}/{student}", method
    return f"{teacher}/{student}", "+".join(terms)


def _is_plain(terms: Iterable[str]) -> bool:
    """Return whether a student learned alone; plugins' distillers count as using the teacher."""
    terms, builtin = list(terms), distillers.names()
    declared = distillers.declared
    return bool(terms) and all(t in builtin and not declared(t).uses_teacher for t in terms)
