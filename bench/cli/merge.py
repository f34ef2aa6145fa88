"""The verb `merge`: merge the records of several results folders."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from bench import report
from bench.cli import options
from bench.cli.console import print_error, print_result
from bench.config.text import count
from bench.errors import BenchError
from bench.report.disagreements import disagreements_document
from bench.results.merge import Merge, merge
from bench.results.pool import RULE, Pool

if TYPE_CHECKING:
    from bench.report.document import Document

DISAGREEMENT = 1  # exit code


def command(
    folders: Annotated[
        list[Path], Argument(metavar="A B...", help="Results folders, at least two.")
    ],
    output: Annotated[
        Path, Option("--output", metavar="DIR", file_okay=False, help="New folder to write to.")
    ],
    keep: Annotated[
        str,
        Option(
            metavar="WHICH",
            help="If numbers of a run differ: none (write nothing, exit 1), or first (keep the "
            "first folder's record, and store the others).",
        ),
    ] = "none",
    no_weights: Annotated[bool, Option("--no-weights", help="Do not copy weights.")] = False,
    as_json: options.AsJson = False,
    markdown: options.MarkdownFile = None,
) -> None:
    """Merge results folders by run id; tell where numbers differ.

    Example: bench merge lab_a/results lab_b/results --output results
    """
    if keep not in ("none", "first"):
        raise BenchError(f"--keep {keep}. Allowed: none, first")
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise BenchError("bench merge: found a folder twice, or only one. Allowed: two or more")
    if absent := [str(folder) for folder in folders if not folder.is_dir()]:
        raise BenchError(f"{', '.join(absent)}: no such folder")
    merged = merge(Pool(folders), output, keep_first=keep == "first", weights=not no_weights)
    for problem in merged.problems:
        print_error(problem)
    table = disagreements_document(merged.disagreements) if merged.disagreements else None
    if markdown and table:
        report.save(markdown, report.markdown(table).encode())
    print_result(_content(merged), lambda _: _text(merged, output, table), as_json)
    if merged.disagreements and keep == "none":
        raise typer.Exit(DISAGREEMENT)


def _content(merged: Merge) -> dict[str, Any]:
    differing = [
        {"run": each.run, "name": each.name, "sources": each.sources, "values": each.values}
        for each in merged.disagreements
    ]
    return {**vars(merged), "disagreements": differing}


def _text(merged: Merge, output: Path, table: "Document | None") -> str:
    counts = [f"{name}: {count(number, 'record')}" for name, number in merged.counts.items()]
    lines = [*counts, f"{count(merged.equal, 'run')} in several folders with equal numbers"]
    if table:
        width = shutil.get_terminal_size((100, 24)).columns
        lines.append(f"\n{report.text(table, width=width)}")
    if merged.records:
        weights = count(merged.weights, "file")
        lines.append(f"written: {output}: {count(merged.records, 'record')}, {weights} of weights")
        lines.append(f"all of these records: {output}/differing" if table else f"kept: {RULE}")
    else:
        runs = count(len(merged.disagreements), "run")
        lines.append(f"nothing was written: the numbers of {runs} differ; --keep first allows it")
    return "\n".join(lines)
