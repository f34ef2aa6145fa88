"""The YAML that files may contain, and the messages for text that is not YAML."""

import yaml

from bench.config.text import short


class Loader(yaml.SafeLoader):
    """A loader that accepts tabs between tokens and in flow collections, as YAML 1.2 does."""

    def scan_to_next_token(self) -> None:
        """Skip spaces, tabs and comments; a tab in the indentation of a block remains an error."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or self._separates()):
            self.forward()
            super().scan_to_next_token()

    def _separates(self) -> bool:
        """Return whether the spaces and tabs here follow a token on this line, or end the line."""
        before = self.buffer[self.pointer - self.column : self.pointer]
        rest, _, _ = self.buffer[self.pointer :].partition("\n")
        return bool(before.strip(" \t")) or not rest.strip(" \t\0")


def reason(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong, the column and, inside an open bracket, the bracket's line."""
    problem = str(error.problem)
    if r"'\t'" in problem:
        problem = "a tab where only spaces are allowed"
    if "single document" in str(error.context):
        problem = "a second document; a file may contain only one"
    if problem == "second occurrence":
        anchor = str(error.context).removesuffix("; first occurrence")
        problem = f"{anchor}. Allowed: another name for the second anchor"
    if "mapping values" in problem:
        problem += "; quote a text that contains ': '"
    start = error.context_mark
    is_open = str(error.context).startswith("while")
    if is_open and start and error.problem_mark and start.line < error.problem_mark.line:
        problem += f", {error.context} that begins on line {start.line + 1}"
    column = f" (column {error.problem_mark.column + 1})" if error.problem_mark else ""
    return f"not YAML: {short(problem, 200)}{column}"
