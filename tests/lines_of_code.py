"""`python -m tests.lines_of_code bench distillers`: files, and lines of code in each folder.

A line counts if it holds code: blank lines, comments and docstrings do not.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_code(source: str) -> int:
    """Count the lines of a module that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def main() -> None:
    """Print files and lines of code of each folder on the command line, then of all."""
    totals = [0, 0]
    for folder in sys.argv[1:]:
        counts = [lines_of_code(path.read_text("utf-8")) for path in Path(folder).rglob("*.py")]
        print(f"{folder}: {len(counts)} files, {sum(counts):,} lines of code")
        totals = [totals[0] + len(counts), totals[1] + sum(counts)]
    print(f"all: {totals[0]} files, {totals[1]:,} lines of code")


if __name__ == "__main__":
    main()
