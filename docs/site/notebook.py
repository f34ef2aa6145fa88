"""A notebook as a Markdown page, with the outputs that the notebook holds."""

import json
import re
from pathlib import Path
from typing import Any


def as_markdown(path: Path) -> str:
    """Return a notebook as Markdown.

    Args:
        path: The notebook.
    """
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [_output(output) for output in cell["outputs"]]
        else:
            parts.append(source)
    return (
        "\n\n".join([*parts, f'<a href="{path.name}" download>This page as a notebook</a>']) + "\n"
    )


def _output(output: dict[str, Any]) -> str:
    """Return the output of a cell: a picture, a table or text.

    The site's style replaces that of pandas' tables. HTML with buttons needs the script of a
    report page, so the text is shown instead.
    """
    data = {kind: "".join(content) for kind, content in output.get("data", {}).items()}
    if "image/png" in data:
        image = data["image/png"].strip()
        return f'<img class="output" alt="The figure" src="data:image/png;base64,{image}">'
    if "<button" not in data.get("text/html", "<button"):
        table = re.sub(
            r'<style.*?</style>| border="1" class="dataframe"', "", data["text/html"], flags=re.S
        )
        table = table.replace("<th></th>", "<td></td>")  # a heading without a text heads nothing
        return f'<div class="output">\n{table}\n</div>'
    text = data.get("text/plain") or "".join(output.get("text", ""))
    return f"```text\n{text}\n```"
