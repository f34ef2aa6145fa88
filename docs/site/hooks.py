"""Hooks of MkDocs: more pages than docs/ has, and links that lead out of the site.

The site also has the pages of the top-level folder, a page for each method and each loss, the
notebooks, and the reference of the Python functions.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import notebook
import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import distillers
from bench.suite import canonical

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(?=(?:#[^)\s]*)?\))")  # without its #fragment
_PICTURE = re.compile(r'(?<=src=")([^":]+)(?=")')
_CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.M | re.S)
_API = {  # title in the navigation: heading, and the text below it
    "bench": (
        "Functions for notebooks",
        "`import bench`, then `bench.run`, `bench.records`, `bench.table`, `bench.compare` and "
        "`bench.forest`.\n\n::: bench.tables\n    options:\n      members: "
        "[run, records, table, compare, forest, ResultTable, ResultComparison]\n",
    ),
    "distillers": (
        "The interface of a distiller",
        "::: distillers.base\n\n"
        "::: distillers.declaration\n    options: {members: [Declaration]}\n\n"
        "::: distillers\n    options: {members: [load, names]}\n\n"
        "::: distillers.contract\n    options: {members: [violations]}\n",
    ),
    "networks and data": (
        "The interfaces of networks and data sets",
        "::: bench.models.base\n\n::: bench.data.base\n",
    ),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the figures of results/, that are not files of docs/."""
    for path, content in _generated().items():
        files.append(File.generated(config, path, content=content))
    for path in _figures():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace `methods`, `losses` and `api` in the navigation by their pages; link the code.

    The theme's own `repo_url` is not used: its script would ask GitHub for the number of stars.
    """
    lists = {
        "methods": [{name: f"methods/{name}.md"} for name in canonical()],
        "losses": [{name: f"losses/{name}.md"} for name in distillers.names()],
        "api": [{title: f"api/{_slug(title)}.md"} for title in _API],
    }

    def filled(node: Any) -> Any:
        if isinstance(node, list):
            return [item for part in node for item in lists.get(str(part), [filled(part)])]
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        return node

    config.nav = filled(config.nav)
    if repository := config.extra["repository"]:
        config.nav.append({"Source code": repository})
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page, which are relative to its place in the repository."""
    source = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        target = normpath(f"{_in_repository(source).parent}/{match[1]}")
        uri = _in_site(target)
        if files.get_file_from_path(uri):
            return relpath(uri, PurePosixPath(source).parent.as_posix())
        return _outside(target, config)

    parts = _CODE.split(markdown)  # odd parts are code
    for i in range(0, len(parts), 2):
        parts[i] = _PICTURE.sub(rewritten, _LINK.sub(rewritten, parts[i]))
    text = "".join(parts)
    if source == "METHODS.md":
        return re.sub(r"^\| `(\S+)` \|", r"| [`\1`](methods/\1.md) |", text, flags=re.M)
    return text


def _generated() -> dict[str, str]:
    """Return the content of each page that is not a file of docs/, by its path in the site."""
    generated = {_in_site(path.name): path.read_text("utf-8") for path in sorted(ROOT.glob("*.md"))}
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        generated[f"{path.stem}.md"] = notebook.as_markdown(path)
    for name in canonical():
        generated[f"methods/{name}.md"] = pages.method_page(name)
    for name in distillers.names():
        generated[f"losses/{name}.md"] = pages.loss_page(name)
    for title, (heading, text) in _API.items():
        generated[f"api/{_slug(title)}.md"] = f"# {heading}\n\n{text}"
    return generated


def _figures() -> set[str]:
    """Return the pictures that pages of docs/ show from other folders, by path."""
    text = "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
    return set(re.findall(r"!\[[^\]]*\]\(\.\./([^)]+)\)", text))


def _slug(title: str) -> str:
    return title.replace(" ", "-")


def _in_repository(uri: str) -> PurePosixPath:
    """Return the path in the repository from which a page's links start."""
    top_level = {_in_site(path.name): path.name for path in ROOT.glob("*.md")}
    return PurePosixPath(top_level.get(uri, f"docs/{uri}"))


def _in_site(path: str) -> str:
    """Return the place of a file of the repository in the site, whether it is there or not."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/").replace(".ipynb", ".md")


def _outside(path: str, config: MkDocsConfig) -> str:
    """Return the address of a file that the site does not contain.

    Raises:
        FileNotFoundError: The repository does not contain the file either.
    """
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"a page links to {path}, which does not exist")
    repository, revision = config.extra["repository"], config.extra["revision"]
    if not repository:
        return (ROOT / path).as_uri()
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{repository}/{kind}/{revision}/{path}"
