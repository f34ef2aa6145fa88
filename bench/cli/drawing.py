"""The verb that draws: figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options as given
from bench.cli.telling import complain, made_plan, told
from bench.config.text import printable
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.report.figures import NotDrawn

RESULTS = Path("results")


def figures(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    metric: given.Metric = "top1",
    which: given.Which = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Draw a suite's figures, as PNG and PDF, from its records."""
    with told():
        from bench import api
        from bench.report import figures as drawing
        from bench.results import Results

        plan = made_plan(suite, set_, seeds, filter_, None, data_root)
        kinds = [] if which is None else [kind.strip() for kind in which.split(",")]
        drawn, undrawn = set(), []
        root = api.root_of(data_root)
        for found in drawing.draw(plan, Results(results), metric, kinds, root):
            if isinstance(found, drawing.NotDrawn):
                undrawn.append(found)
                continue
            drawn.add(found.kind)
            written = f"written: {', '.join(map(str, found.files))}"
            print(printable("\n  ".join([written, *found.numbers])), flush=True)
        if not drawn or not drawn.issuperset(kinds):
            raise BenchError(_reasons(undrawn))
        if undrawn:
            complain(_reasons(undrawn))


def _reasons(undrawn: "list[NotDrawn]") -> str:
    """A line for each reason why figures of a kind cannot be drawn, with the first pair."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for one in undrawn:
        pairs.setdefault((one.kind, one.reason), []).append(one.pair)
    lines = []
    for (kind, reason), names in pairs.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(": ".join(filter(None, (kind, f"{names[0]}{more}", reason))))
    return "\n".join(lines)
