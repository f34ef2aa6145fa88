"""Results folders and sites for tests, from the committed records."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from bench import api
from bench.planning import saved
from bench.planning.plan import Plan
from bench.results import Record, Results
from bench.site.content import Site, build_site
from bench.site.pages import site_files
from bench.site.sources import find_sources
from tests.records import make_record

COMMITTED = Path(__file__).parents[2] / "results"
HOSTILE = "</script><img src=x onerror=alert(1)><!-- <b-evil> & \" ' {{7*7}} {% raw %} \ud800 `"
SMALL = "method=student|kd|crd,seed=0|1"  # 8 records of the quickstart, with both teachers


def quickstart(folder: Path, filters: str = SMALL) -> Plan:
    """Save the plan of a part of the quickstart, and copy the records of its runs."""
    plan = api.load_plan("quickstart", filters=filters)
    (folder / "runs").mkdir(parents=True)
    for run in plan.runs:
        shutil.copy(COMMITTED / "quickstart" / "runs" / f"{run}.json", folder / "runs")
    return plan


def save_part(folder: Path, plan: Plan, changes: dict[str, object] | None = None) -> None:
    """Save the plan of a part of a suite as if it were a suite, some of its texts replaced."""
    content = json.loads(saved.dump(plan))
    cells = [[c.pair.name, c.method.name, c.seed, c.run, c.teacher] for c in plan.cells]
    pairs = [pair["name"] for pair in content["pairs"]]
    methods = [method["name"] for method in content["methods"]]
    content["cells"] = [[pairs.index(p), methods.index(m), *rest] for p, m, *rest in cells]
    content["runs"] = {run: content["runs"][run] for run in plan.runs}
    content["seeds"] = sorted({cell.seed for cell in plan.cells})
    content["methods"] = [m for m in content["methods"] if m["name"] in {c[1] for c in cells}]
    names = [method["name"] for method in content["methods"]]
    content["cells"] = [[pairs.index(p), names.index(m), *rest] for p, m, *rest in cells]
    content |= changes or {}
    (folder / "plans").mkdir(exist_ok=True)
    (folder / "plans" / f"{content['name']}.json").write_text(json.dumps(content))


def small_folder(folder: Path, filters: str = SMALL, **changes: object) -> Path:
    """A results folder with a small part of the quickstart and its plan."""
    save_part(folder, quickstart(folder, filters), changes)
    return folder


def changed(folder: Path, run: str, **fields: object) -> Record:
    """Write a record with other fields, as another machine might have written it."""
    results = Results(folder)
    record = results.record(run)
    assert record is not None
    record = record.model_copy(update=fields)
    results.write(record)
    return record


def with_top1(folder: Path, run: str, value: float) -> Record:
    """Write a record with another accuracy."""
    record = Results(folder).record(run)
    assert record is not None
    last = {**record.metrics["last"], "top1": value}
    return changed(folder, run, metrics={**record.metrics, "last": last})


def site_of(*folders: Path) -> Site:
    """The content of a site."""
    return build_site(find_sources(folders), "Test site")


def files_of(*folders: Path) -> dict[str, bytes]:
    """The files of a site."""
    return site_files(site_of(*folders))


def run_of(folder: Path, name: str) -> str:
    """The id of the run with a name such as `kd seed 0`."""
    records = Results(folder).records(curves=False)
    return next(record.id for record in records if record.name.endswith(f" {name}"))


class Page(HTMLParser):
    """The elements, ids, links and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.elements.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("href", "src", "action") if key in values]

    def handle_data(self, data: str) -> None:
        self.text += data


def pages(files: dict[str, bytes]) -> dict[str, Page]:
    """The pages among the files, parsed."""
    return {name: Page(text.decode()) for name, text in files.items() if name.endswith(".html")}


def target(page: str, link: str) -> tuple[str, str]:
    """The file and the anchor that a link leads to, seen from a page."""
    address, _, anchor = link.partition("#")
    parts = page.split("/")[:-1] if address else page.split("/")
    for part in unquote(address).split("/") if address else ():
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts), unquote(anchor)


def table_rows(text: str) -> list[list[str]]:
    """The texts of the cells of a table, row by row, without its head."""
    rows = re.findall(r"<tr[ >].*?</tr>", text.partition("<tbody")[2], re.S)
    cells = (re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.S) for row in rows)
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells]


def words(page: Page) -> str:
    """The text of a page with single spaces."""
    return re.sub(r"\s+", " ", page.text)


def cifar100_folder(folder: Path, *changes: str) -> Path:
    """A results folder of a pair of CRD's Table 1, with invented numbers; `--set` changes it."""
    filters = "pair=resnet56/resnet20,method=student|kd|crd,seed=0|1"
    plan = api.load_plan("cifar100_same_arch", changes, filters=filters)
    (folder / "runs").mkdir(parents=True)
    results = Results(folder)
    for place, run in enumerate(plan.runs.values()):
        spec = run.specification
        top1 = 70.0 + place / 10
        results.write(
            make_record(
                run.id,
                spec.seed,
                kind=run.kind,
                metrics={"last": {"top1": top1}, "oracle": {"top1": top1, "epoch": 240}},
                specification=spec.content,
            )
        )
    save_part(folder, plan)
    return folder
