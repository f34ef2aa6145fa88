"""The functions of a notebook: `bench.run`, `records`, `table`, `compare` and `forest`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distillers
from bench import regression, report
from bench.errors import BenchError, ConfigError
from bench.regression import Verdicts
from bench.report import Report, ReportOptions, build
from bench.report.model import Entry, Role, TableContext
from bench.results import Record, Results
from bench.suite import Method, canonical, papers
from bench.suite.files import default_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.api import Machine

Folder = str | Path
FIRST = ("method", "label", "pair", "teacher", "student", "seed", "role", "status")
LAST = ("seconds", "id", "results")  # of the plain columns, after the metrics


@dataclass(frozen=True)
class ResultTable:
    """Tables of results; a notebook shows them.

    Attributes:
        report: The tables, one for each group of pairs.
        options: How they are written.
    """

    report: Report
    options: ReportOptions

    def to_frame(self) -> "pd.DataFrame":
        """Return means, standard deviations and numbers of runs: rows are methods.

        Returns:
            Columns with two levels: the pair, then `mean`, `std` and `n`.
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

    def to_latex(self, *, wide: bool = False, compact: bool = False, label: str = "") -> str:
        """Return LaTeX floats with booktabs.

        Args:
            wide: Whether they span both columns of a page.
            compact: Whether cells show means only.
            label: LaTeX label of the first table; empty: the suite's name.
        """
        options = replace(self.options, wide=wide, compact=compact)
        return report.render(self.report, "tex", label=label or self.report.suite, options=options)

    def to_markdown(self, *, compact: bool = False) -> str:
        """Return Markdown; `compact` shows means only."""
        return report.render(self.report, "md", options=replace(self.options, compact=compact))

    def save(self, path: Folder) -> Path:
        """Write the tables; the ending of the path is the format: md, tex, csv, json or txt.

        Raises:
            BenchError: The format is unknown, or the file cannot be written.
        """
        path = Path(path)
        (kind,) = report.check_formats([path.suffix.removeprefix(".")])
        if kind == report.PAGE:
            raise BenchError(f"{path}: `bench report --format html` writes the page")
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
    """The differences between two sets of records; a notebook shows them.

    Attributes:
        verdicts: A verdict for each cell.
    """

    verdicts: Verdicts

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each cell: pair, method, verdict, means, change, bounds, p."""
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

    Runs that have a record are not repeated. For example
    `bench.run("quickstart", changes=["recipe.epochs=2"], filters="method=kd|crd")`.

    Args:
        name: A suite file, or the name of a shipped suite.
        results: Results folder.
        changes: Changes to the suite, each `key=value`; a text is one change.
        filters: Selects cells of the suite: `pair=vgg13/*,method=kd|crd,seed=0`.
        machine: Where the runs train, a `bench.api.Machine`; None: all GPUs, or the CPU.
        data_root: Folder of data sets; None: the environment variable `BENCH_DATA`.

    Returns:
        One row for each run of the suite, as `bench.records` returns it.

    Raises:
        BenchError: The suite, the data or the results folder cannot be used.
    """
    from bench.api import Machine, execute, load_plan

    changes = [changes] if isinstance(changes, str) else changes
    plan, store = load_plan(name, changes, filters, data_root=data_root), Results(Path(results))
    execute(plan, store, machine or Machine(), data_root=data_root)
    frame = records(results)
    return frame[frame["id"].isin(list(plan.runs))].reset_index(drop=True)


def records(results: Folder | Iterable[Folder] = "results") -> "pd.DataFrame":
    """Return all records of results folders as a data frame.

    Args:
        results: A results folder, or several.

    Returns:
        One row for each run. First come plain columns: `method`, `label`, `pair`, `teacher`,
        `student`, `seed`, `role` (teacher, student or method), `status`, the metrics of the last
        epoch such as `top1` (percent), `seconds`, `id` and `results` (the folder). Then come all
        fields of the records, nested ones as columns such as `metrics.oracle.top1`; `curves`
        holds a list of epochs. Without records there are the plain columns and no rows.

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
        for record in Results(folder).records():
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
    metric: str = "top1",
    reference: str | None = None,
    published: bool = False,
    compact: bool = False,
) -> ResultTable:
    """Return the tables of a suite, or of records.

    Args:
        source: A suite file, the name of a shipped suite, or rows of `bench.records`.
        results: Results folder of a suite.
        metric: Metric of the table.
        reference: Method that the others are compared with; None: `kd`.
        published: Whether the papers' values are shown, too.
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
    values = build.published_values(context) if published else None
    results_by_group = build.tables(runs, context, metric, values)
    return ResultTable(Report.of("records", results_by_group, runs), options)


def compare(
    before: "Folder | pd.DataFrame",
    now: "Folder | pd.DataFrame",
    *,
    metric: str = "top1",
    tolerance: float | None = None,
) -> ResultComparison:
    """Compare two results folders, or two sets of rows of `bench.records`.

    Args:
        before: The earlier results.
        now: The later results.
        metric: Metric to compare.
        tolerance: Largest difference that is treated as zero; None: the metric's default.

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
    metric: str = "top1",
    reference: str | None = None,
) -> "Figure":
    """Draw the difference of each method from a reference, with its 95 % interval.

    Args:
        source: As in `table`.
        results: As in `table`.
        metric: As in `table`.
        reference: As in `table`.

    Returns:
        A figure of matplotlib, one panel for each pair.

    Raises:
        BenchError: As `table`, or no method could be compared.
    """
    from bench.report.figures.forest import forest_plot

    result = table(source, results=results, metric=metric, reference=reference)
    return forest_plot(result.report.tables)


def entries(frame: "pd.DataFrame") -> Iterator[Entry]:
    """Yield the runs of rows of `records`: for each student its teacher's, then its own.

    Raises:
        BenchError: A column of `records` or a record's file is missing, there is no student, or
            there are two runs of one method, pair and seed.
    """
    _require(frame, (*FIRST, "id", "results"))
    rows = frame[frame["role"] != "teacher"].drop_duplicates(["results", "id"])
    if rows.empty:
        raise BenchError("no student's run among the records")
    keys = ["pair", "method", "seed"]
    if rows.duplicated(keys).any():
        first = rows[rows.duplicated(keys, keep=False)].iloc[0]
        same = rows[(rows[keys] == first[keys]).all(axis=1)]
        problem = f"several runs of {first['pair']} {first['method']} seed {first['seed']}"
        if same["results"].nunique() == len(same):
            folders = ", ".join(map(str, same["results"]))
            raise BenchError(f"{problem}, in {folders}. Select one folder first, by `results`")
        raise BenchError(
            f"{problem}: the records are of different settings. Select one setting first, for "
            "example by `specification.recipe.epochs`"
        )
    rows = rows.assign(label=rows["label"].fillna(rows["method"]))
    owners = {"Teacher": "teacher"}
    for label, method in zip(rows["label"], rows["method"], strict=True):
        if (owner := owners.setdefault(label, method)) != method:
            problem = f"{owner} and {method} have the same label '{label}'"
            raise BenchError(f"{problem}. Allowed: a label of its own for each method")
    order = [*canonical(), *rows["method"]]
    for row in sorted(rows.to_dict("records"), key=lambda row: order.index(row["method"])):
        store = Results(Path(row["results"]))
        if (record := store.record(row["id"])) is None:
            raise BenchError(f"{store.file(row['id'])}: no such record; read the records again")
        teacher = store.record(record.specification.teacher or "")
        names = str(row["pair"]), str(row["teacher"]), str(row["student"])
        yield Entry(*names, "teacher", row["seed"], teacher, "Teacher", "", "teacher")
        role: Role = "student" if row["role"] == "student" else "method"
        terms = tuple(record.specification.method) if role == "method" else ()
        label, note = str(row["label"]), _note(row["method"], record)
        yield Entry(*names, row["method"], row["seed"], record, label, note, role, "", terms)


def _require(frame: "pd.DataFrame", columns: Iterable[str]) -> None:
    """Raise BenchError for anything but a data frame with such columns."""
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
    """Return a method's footnote: the distillers' notes, deviations from the papers' weights."""
    terms, builtin = record.specification.method, distillers.names()
    notes = dict.fromkeys(distillers.load(name).note for name in terms if name in builtin)
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
    """Return what captions state, from the records; BenchError for records of two data sets."""
    specs = [e.record.specification for e in runs if e.record and e.role != "teacher"]
    if len({str(spec.data) for spec in specs}) > 1:
        raise BenchError("the records are of several data sets: select one of them first")
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
    """Return the plain columns of a record."""
    spec, student = record.specification, record.network.name
    info = record.teacher
    teacher = teachers.get(spec.teacher or "", info.network if info else None)
    if record.kind == "teacher":
        names: dict[str, Any] = {"method": "teacher", "label": "Teacher", "pair": None}
        names |= {"teacher": student, "student": None}
        role = "teacher"
    else:
        pair, method = _names(record, teacher, student)
        names = {"method": method, "label": default_label(method, spec.method), "pair": pair}
        names |= {"teacher": teacher or pair.partition("/")[0], "student": student}
        role = "student" if _is_plain(spec.method) else "method"
    last = record.metrics.get("last", {})
    columns = {**names, "seed": record.seed, "role": role, "status": record.status}
    return {**columns, **last, "seconds": record.seconds, "id": record.id}


def _names(record: Record, teacher: str | None, student: str) -> tuple[str, str]:
    """Return pair and method, from the name `resnet8x4/resnet8 kd seed 0`, else from the terms."""
    if named := re.fullmatch(r"(.+?) (\S+) seed \d+", record.name):
        return named[1], named[2]
    terms = {name: term.weight for name, term in record.specification.method.items()}
    for method in canonical():
        if {name: term.weight for name, term in papers(method).items()} == terms:
            return f"{teacher}/{student}", method
    return f"{teacher}/{student}", "+".join(terms)


def _is_plain(terms: Iterable[str]) -> bool:
    """Return whether none of the distillers uses the teacher; plugins are taken to use it."""
    builtin = distillers.names()
    return all(t in builtin and not distillers.load(t).uses_teacher for t in terms)
