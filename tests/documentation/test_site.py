"""The documentation site builds strictly without a network, and holds a page for each method."""

import gzip
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs: tox -e docs")

import distillers
from bench import suite
from bench.report import published
from bench.spec import DataSpec
from bench.suite.checks import allowed_values, options
from tests.documentation.conftest import REPOSITORY

ROOT = Path(__file__).parents[2]
MAX_BYTES = 1_000_000  # of a page with everything that it loads
SUITE = """\
suite_version: 1
title: A suite around a part of one
dataset: cifar100
pairs:
  - {teacher: resnet56, student: resnet20}
"""


def text_of(page: Path) -> str:
    """Return the text of a page's article without tags, and with single spaces."""
    article = page.read_text("utf-8").partition("<article")[2].partition("</article>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", article)).split())


def links(page: Path) -> list[str]:
    """Return the targets of the links, pictures, scripts and styles of a page."""
    return [
        unescape(link) for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text("utf-8"))
    ]


def test_every_link_leads_to_a_file(site: Path) -> None:
    missing = {
        (page.name, link)
        for page in site.rglob("*.html")
        for link in links(page)
        if not re.match(r"[a-z]+:|#", link) and page.name != "404.html"
        if not (page.parent / unquote(re.split("[#?]", link)[0])).exists()
    }
    assert missing == set()


def test_links_out_of_the_site_lead_to_files_of_the_repository(site: Path) -> None:
    outside = {
        link.removeprefix(REPOSITORY)
        for page in site.rglob("*.html")
        for link in links(page)
        if link.startswith(REPOSITORY + "/")
    }
    places = [re.fullmatch(r"/(blob|tree)/v1/([^#]+)(#.*)?", link) for link in outside]
    assert len(places) > 50
    assert all(place and (ROOT / place[2]).exists() for place in places)
    assert "file://" not in "".join(page.read_text("utf-8") for page in site.rglob("*.html"))


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"', text)
        loaded += re.findall(
            r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="([^"]+)"', text
        )
        assert [link for link in loaded if re.match(r"(https?:)?//", link)] == [], page.name
        assert "mermaid" not in text, "the theme would load a script from unpkg.com"
        assert 'data-md-component="source"' not in text, "the theme would ask GitHub for stars"


def test_a_page_with_all_that_it_loads_is_small(site: Path) -> None:
    patterns = ("assets/**/*.css", "assets/javascripts/bundle*.js", "search/*.json")
    shared = sum(map(sent, (path for pattern in patterns for path in site.glob(pattern))))
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links start at the root of the server
            continue
        pictures = {page.parent / link for link in links(page) if re.search(r"\.(png|svg)$", link)}
        assert shared + sent(page) + sum(map(sent, pictures)) < MAX_BYTES, page.name


def sent(path: Path) -> int:
    """Return the bytes of a file as a server sends it, compressed."""
    return len(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize("name", distillers.names())
def test_page_of_a_loss_has_all_its_facts(name: str, site: Path) -> None:
    kind, page = distillers.load(name), site / "losses" / f"{name}.html"
    text = text_of(page)
    assert page.read_text("utf-8").count("<math") == len(kind.formula)
    assert " ".join(kind.paper.split()).rstrip(".") in text
    types = kind.__init__.__annotations__
    for option in options(kind):
        assert f"{option} {allowed_values(types[option])} " in text
    assert all(feature in text for feature in kind.reads)


@pytest.mark.parametrize("name", suite.canonical())
def test_page_of_a_method_has_the_published_numbers(name: str, site: Path) -> None:
    text = text_of(site / "methods" / f"{name}.html")
    lines = published.published_lines(DataSpec(name="cifar100"))
    values = [line.value for (_, method), line in lines.items() if method == name]
    assert all(f"{value:.2f}" in text for value in values)
    assert ("None for the thirteen pairs" in text) == (not values)
    assert "Known problems: " in text


def test_yaml_of_all_generated_pages_is_valid(site: Path, tmp_path: Path) -> None:
    pages = [*site.glob("losses/*.html"), *site.glob("methods/*.html")]
    assert len(pages) == len(distillers.names()) + len(suite.canonical())
    for page in pages:
        text = page.read_text("utf-8")
        codes = re.findall(r"<pre><span></span><code>(.*?)</code></pre>", text, re.S)
        blocks = [unescape(re.sub(r"<[^>]+>", "", code)) for code in codes]
        blocks = [block for block in blocks if block.startswith("methods:")]
        assert len(blocks) == (1 if page.parent.name == "losses" else 2)
        for block in blocks:
            path = tmp_path / "part.yaml"
            path.write_text(SUITE + block)
            suite.read(path)
