"""The content of a site: suites, leaderboards, methods and records, and how they are linked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import distillers
from bench.errors import BenchError
from bench.planning import saved
from bench.planning.plan import Plan
from bench.report import build
from bench.report.document import Document, GridCell, GridRow
from bench.report.figures import file_name
from bench.report.model import Cell, Column, Entry, Row, Table, TableContext
from bench.report.provenance import ENVIRONMENT
from bench.results.pool import Disagreement, Pool
from bench.site.leaderboards import Leaderboard, Place, leaderboards, slug
from bench.site.sources import Sources
from bench.spec import content_hash


@dataclass(frozen=True)
class SiteSuite:
    """A suite with its records.

    Attributes:
        slug: Name of its folder of pages.
        plan: The plan.
        folders: Short names of its results folders.
        results: The records; those in its folders come first.
        entries: Its runs, without curves.
        context: Title and caption.
        tables: Its tables of all metrics.
    """

    slug: str
    plan: Plan
    folders: tuple[str, ...]
    results: Pool
    entries: tuple[Entry, ...]
    context: TableContext
    tables: tuple[Table, ...]

    @property
    def title(self) -> str:
        """The suite's title, and its changes."""
        changes = ", ".join(self.plan.suite.changes)
        return f"{self.context.title} ({changes})" if changes else self.context.title

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics of the tables; the first is the metric of the main page."""
        return list(dict.fromkeys(table.metric.name for table in self.tables))

    @property
    def done(self) -> int:
        """The number of runs in its tables that have a result."""
        return len({e.record.id for e in self.entries if e.record and e.finished})

    @property
    def runs(self) -> int:
        """The number of runs in its tables."""
        return len({run for cell in self.plan.cells for run in (cell.run, cell.teacher)})

    def cells(self, metric: str) -> Iterator[tuple[Table, Column, Row, Cell]]:
        """Yield the cells of a metric's tables."""
        for table in self.tables:
            if table.metric.name == metric:
                for row in table.rows:
                    for column, cell in zip(table.columns, row.cells, strict=True):
                        yield table, column, row, cell

    @cached_property
    def places(self) -> dict[tuple[str, str, str], tuple[Column, Row]]:
        """The column and the row of each cell, by role, method and pair; also teachers' cells."""
        return {
            (row.role, row.name, column.pair): (column, row)
            for metric in reversed(self.metrics)
            for _, column, row, _ in self.cells(metric)
        }


@dataclass(frozen=True)
class MethodCell:
    """A cell of a method in a suite's table of the suite's first metric."""

    suite: SiteSuite
    table: Table
    column: Column
    row: Row
    cell: Cell


@dataclass
class SiteMethod:
    """A method in all suites.

    Attributes:
        name: The name in suites.
        label: The name in tables.
        cells: Its cells.
        terms: Its different losses: the weight and the options of each distiller, by name.
        ranks: Its leaderboards, with its row and its rank.
    """

    name: str
    label: str
    cells: list[MethodCell] = field(default_factory=list)
    terms: list[Mapping[str, Any]] = field(default_factory=list)
    ranks: list[tuple[Leaderboard, Row, int | None]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """Name of the page."""
        return slug(self.name)

    @property
    def distillers(self) -> list[tuple[str, "type[distillers.Declaration] | None"]]:
        """The distillers of its losses, each with its class; None: of a plugin."""
        names = dict.fromkeys(name for terms in self.terms for name in terms)
        builtin = distillers.names()
        return [(name, distillers.declared(name) if name in builtin else None) for name in names]


@dataclass(frozen=True)
class Use:
    """A cell that contains a record: the suite, the cell, its column and its row."""

    suite: SiteSuite
    column: Column
    row: Row
    seed: int


@dataclass(frozen=True)
class Site:
    """The content of a site.

    Attributes:
        title: Title of the front page.
        pool: The records.
        suites: The suites, in the order of the results folders.
        boards: The leaderboards.
        methods: The methods by name.
        uses: The cells that contain a record, by the record's id.
        disagreements: Runs whose records have different numbers, by id.
        problems: Sentences about files that are left out.
    """

    title: str
    pool: Pool
    suites: tuple[SiteSuite, ...]
    boards: tuple[Leaderboard, ...]
    methods: Mapping[str, SiteMethod]
    uses: Mapping[str, Sequence[Use]]
    disagreements: Mapping[str, Disagreement]
    problems: tuple[str, ...]

    @property
    def data_sets(self) -> dict[str, list[Leaderboard]]:
        """The leaderboards of each data set, by its name."""
        groups: dict[str, list[Leaderboard]] = {}
        for board in self.boards:
            groups.setdefault(board.data_set, []).append(board)
        return groups

    @property
    def machines(self) -> list[tuple[tuple[str, ...], int]]:
        """Device, system, versions and commit of the records, and the number of records."""
        counts = Counter(
            tuple(_text(key, record.environment.get(key)) for key in MACHINE)
            for record in self.pool.records(curves=False)
        )
        return sorted(counts.items())


COMMIT_DIGITS = 10
MACHINE = {
    key: ENVIRONMENT[key] for key in ("device", "system", "python", "torch", "precision", "commit")
}


def build_site(sources: Sources, title: str) -> Site:
    """Return the content of a site.

    Args:
        sources: The records and the suites.
        title: Title of the front page.
    """
    pool, problems = sources.pool, list(sources.problems)
    suites: dict[str, SiteSuite] = {}
    for plan, folders in sources.plans:
        page = slug(saved.path_of(pool.folder, plan.suite.name, plan.suite.changes).stem)
        if page in suites:
            problems.append(
                f"{', '.join(folders)}: its suite {plan.suite.name} differs from the suite of the "
                f"same name in {', '.join(suites[page].folders)}; both are shown"
            )
            page = f"{page}-{content_hash([*plan.runs])[:8]}"
        try:
            suites[page] = _suite(page, plan, tuple(folders), pool.preferring(folders))
        except BenchError as error:
            problems.append(f"{plan.suite.name}: left out: {error}")
    parts = [(each.slug, each.plan, each.entries) for each in suites.values()]
    boards = leaderboards(parts, pool)
    methods = _methods(list(suites.values()), boards)
    uses: dict[str, list[Use]] = {}
    for suite in suites.values():
        for run, use in _uses(suite):
            uses.setdefault(run, []).append(use)
    disagreements = {each.run: each for each in pool.disagreements()}
    return Site(
        title,
        pool,
        tuple(suites.values()),
        tuple(boards),
        methods,
        uses,
        disagreements,
        tuple(problems),
    )


def _suite(slug: str, plan: Plan, folders: tuple[str, ...], pool: Pool) -> SiteSuite:
    entries = tuple(build.entries(plan, pool))
    context = build.context(plan)
    tables = build.all_tables(entries, replace(context, caption=""))
    return SiteSuite(slug, plan, folders, pool, entries, context, tuple(tables))


def _methods(suites: Sequence[SiteSuite], boards: Sequence[Leaderboard]) -> dict[str, SiteMethod]:
    methods: dict[str, SiteMethod] = {}
    for suite in suites:
        for table, column, row, cell in suite.cells(suite.metrics[0]):
            if row.role not in ("student", "method") or not (cell.runs or cell.measured):
                continue
            method = methods.setdefault(row.name, SiteMethod(row.name, row.label))
            method.cells.append(MethodCell(suite, table, column, row, cell))
            if cell.terms and cell.terms not in method.terms:
                method.terms.append(cell.terms)
    for board in boards:
        for row, rank in board.rows:
            for name in dict.fromkeys(place.method for place in board.places.get(row.name, ())):
                methods[name].ranks.append((board, row, rank))
    return dict(sorted(methods.items()))


def _uses(suite: SiteSuite) -> Iterator[tuple[str, Use]]:
    """Yield the cells of each record of a suite; a teacher's cells are those of its pairs."""
    seen = set()
    for entry in suite.entries:
        key = (entry.role, entry.method, entry.pair)
        if entry.record and (key, entry.record.id) not in seen:
            seen.add((key, entry.record.id))
            yield entry.record.id, Use(suite, *suite.places[key], entry.record.seed)


def anchor(pair: str, method: str) -> str:
    """Return the id of a cell on a suite's page."""
    return f"cell.{file_name(pair)}.{file_name(method)}"


def runs_anchor(pair: str, method: str) -> str:
    """Return the id of the runs of a cell on a suite's page."""
    return f"runs.{file_name(pair)}.{file_name(method)}"


def linked(document: Document, page: str = "") -> Document:
    """Return a suite's table whose cells have ids, and whose numbers lead to the cells' runs.

    Args:
        document: The table.
        page: Address of the page with the runs; empty: the same page.
    """
    sections = []
    for section in document.sections:
        rows = [
            replace(row, cells=(row.cells[0], *_linked_cells(row, section.pairs, page)))
            for row in section.rows
        ]
        sections.append(replace(section, rows=tuple(rows)))
    return replace(document, sections=tuple(sections))


def _linked_cells(row: GridRow, pairs: Sequence[str], page: str) -> Iterator[GridCell]:
    for cell, pair in zip(row.cells[1:], pairs, strict=True):
        link = f"{page}#{runs_anchor(pair, row.method)}" if cell.run else ""
        yield replace(cell, anchor=anchor(pair, row.method), link=link)


def place_link(place: Place) -> str:
    """Return the address of a cell, from the site's root."""
    return f"suites/{place.suite}/index.html#{anchor(place.pair, place.method)}"


def _text(key: str, value: object) -> str:
    text = "" if value is None else str(value)
    is_long = key == "commit" and len(text) > COMMIT_DIGITS
    return f"{text[:COMMIT_DIGITS]}{'+' if text.endswith('+') else ''}" if is_long else text
