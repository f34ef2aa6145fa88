"""The files of a site: links, policy, escaping, honest groups, damaged records, the folder."""

import json
import re
import shutil
from pathlib import Path

import pytest

from bench import api
from bench.errors import BenchError
from bench.report.published import BEST_EPOCH
from bench.results import Results
from bench.site import folder as site_folder
from bench.site.leaderboards import differences, slug
from bench.site.render import POLICY, paged
from bench.site.suites import suite_files
from tests.command import bench, wrong
from tests.site.site_factory import (
    COMMITTED,
    HOSTILE,
    Page,
    changed,
    cifar100_folder,
    files_of,
    pages,
    run_of,
    save_part,
    site_of,
    small_folder,
    table_rows,
    target,
    with_top1,
    words,
)

MAX_BYTES = 1_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("small") / "small")


@pytest.fixture(scope="module")
def files(small: Path) -> dict[str, bytes]:
    """The files of a site of one small suite."""
    return files_of(small)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A site whose suite, methods, records and machines have hostile names."""
    folder = small_folder(tmp_path_factory.mktemp("h") / "<b-evil>", title="T", caption="C")
    path = folder / "plans" / "quickstart.json"
    content = json.loads(path.read_text())
    content |= {"title": HOSTILE, "caption": HOSTILE}
    for method in content["methods"]:
        method |= {"name": f"{HOSTILE} {method['name']}", "label": HOSTILE, "note": HOSTILE}
    content["pairs"][0]["name"] = HOSTILE
    path.write_text(json.dumps(content))
    run = run_of(folder, "kd seed 0")
    text = HOSTILE.replace("\ud800", "")  # records are UTF-8
    changed(folder, run, name=text, environment={"device": text, text: text})
    failed = run_of(folder, "crd seed 0")
    changed(folder, failed, status="failed", reason=text, metrics={}, curves=[])
    (folder / "runs" / "<b-evil>.json").write_text("<b-evil>")
    return files_of(folder)


def test_all_links_lead_to_files_and_anchors(files: dict[str, bytes]) -> None:
    parsed = pages(files)
    for name, page in parsed.items():
        assert len(page.ids) == len(set(page.ids)), name
        for link in page.links:
            file, anchor = target(name, link)
            assert file in files, f"{name}: {link}"
            assert not anchor or anchor in parsed[file].ids, f"{name}: {link}"


def test_every_page_is_reached_from_the_front_page(files: dict[str, bytes]) -> None:
    parsed = pages(files)
    reached, todo = set(), ["index.html"]
    while todo:
        name = todo.pop()
        if name in parsed and name not in reached:
            reached.add(name)
            todo += [target(name, link)[0] for link in parsed[name].links]
    assert reached == parsed.keys()


def test_pages_have_a_strict_policy_and_only_their_own_scripts(
    files: dict[str, bytes], hostile: dict[str, bytes]
) -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    for name, page in [*pages(files).items(), *pages(hostile).items()]:
        [policy] = [v["content"] for t, v in page.elements if "http-equiv" in v and t == "meta"]
        assert policy == POLICY
        for tag, values in page.elements:
            assert tag not in ("style", "iframe", "object", "embed", "b-evil", "base")
            assert tag != "script" or values["src"].lstrip("./").startswith("assets/"), name
            assert not [key for key in values if key == "style" or key.startswith("on")], name
        assert not re.search(
            rb"(href|src|action)=\"(https?:|//|data:|javascript:)", files.get(name, b"")
        )


def test_no_page_is_large(files: dict[str, bytes]) -> None:
    assert max(map(len, files.values())) < MAX_BYTES


def test_hostile_names_stay_texts(hostile: dict[str, bytes]) -> None:
    for name, page in pages(hostile).items():
        images = [values for tag, values in page.elements if tag == "img"]
        assert all(values["src"].endswith(".svg") for values in images), name
        assert "49" not in page.text.split("{{")[0][-3:], name
    front = words(pages(hostile)["index.html"])
    assert "{{7*7}} {% raw %}" in front
    assert "</script><img src=x onerror=alert(1)>" in front
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", name) for name in hostile)
    index = hostile["assets/index-0.js"].decode()
    assert json.loads(index[index.index("push(") + 5 : -3])


NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


@pytest.mark.parametrize("name", ["../../evil", "..", "/etc/evil", ".hidden", "a b/c"])
def test_names_do_not_lead_out_of_the_folder(name: str) -> None:
    assert re.fullmatch(NAME, slug(name))


def test_files_of_a_suite_are_in_its_folder(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "r"))
    path = folder / "plans" / "quickstart.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "../../evil"}))
    site = site_of(folder)
    [suite] = site.suites
    for file in suite_files(suite, site):
        assert re.fullmatch(f"suites/{NAME}/{NAME}", file)
        assert file.startswith(f"suites/{suite.slug}/")


def test_same_records_give_the_same_bytes(small: Path, files: dict[str, bytes]) -> None:
    assert files_of(small) == files


def test_permanent_links_stay_when_another_suite_is_added(
    small: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    other = small_folder(tmp_path / "other", "method=student|kd|at,seed=2", name="other")
    both = files_of(small, other)
    assert files.keys() <= both.keys()
    assert {name for name in both if name.startswith("suites/other/")}
    for name, page in pages(files).items():
        assert set(page.ids) <= set(pages({name: both[name]})[name].ids), name


def test_search_index_has_suites_methods_pairs_and_run_ids(
    small: Path, files: dict[str, bytes]
) -> None:
    text = files["assets/index-0.js"].decode()
    entries = json.loads(text[text.index("push(") + 5 : -3])
    kinds = {kind: [e for e in entries if e[0] == kind] for kind, _, _ in entries}
    assert set(kinds) == {"suite", "method", "leaderboard", "run"}
    runs = {record.id for record in Results(small).records(curves=False)}
    assert {text.rpartition(" · ")[2] for _, text, _ in kinds["run"]} == runs
    assert all(address in files for _, _, address in entries)
    assert b"fetch(" not in files["assets/search.js"]


def test_leaderboard_has_means_intervals_ranks_and_suites(
    small: Path, files: dict[str, bytes]
) -> None:
    [board] = site_of(small).boards
    ranked = [(row.name, rank) for row, rank in board.rows if rank]
    means = {r.name: r.cells[0].measured.mean for r, _ in board.rows if r.cells[0].measured}
    assert [name for name, _ in ranked] == sorted(["kd", "crd"], key=means.get, reverse=True)
    assert [rank for _, rank in ranked] == [1, 2]
    page = pages(files)[f"leaderboards/{board.slug}.html"]
    cell = next(row for row, rank in board.rows if rank == 1).cells[0].measured
    assert cell is not None
    assert f"{cell.mean:.2f} ± {cell.std:.2f}" in words(page)
    assert f"[{cell.low:.2f}, {cell.high:.2f}]" in words(page)
    assert "only 32 training images per class" in words(page)
    assert any(link.startswith("../suites/quickstart/index.html#cell.") for link in page.links)


def test_leaderboard_has_the_published_numbers_of_its_pair_apart_from_its_ranks(
    tmp_path: Path,
) -> None:
    files = files_of(cifar100_folder(tmp_path / "c"), small_folder(tmp_path / "q"))
    full, digits = (files[n].decode() for n in sorted(files) if n.startswith("leaderboards/"))
    assert "Published numbers" not in digits, "digits are not the papers' images"
    ranked, published = full.split('id="published"')
    assert "CRD, Table" not in ranked
    table = published.split("</table>")[0]
    rows = {cells[0]: cells[1:] for cells in table_rows(table)}
    assert list(rows)[:2] == ["Teacher", "Student"]
    here = ["70.35 ± 0.21", "2", "−0.31"]
    assert rows["KD"] == ["70.66 ± 0.24", "5", "CRD, Table 1", *here]
    assert rows["KD++"] == ["72.53", "", "KD++, README CIFAR-100", "", "", ""]
    assert rows["SimKD"][:3] == ["71.051", "", "reprint (LSKD paper), Table 2"]
    assert f"<sup>1</sup> {BEST_EPOCH}" in published, "the remark with the mark of SimKD's number"
    values = [float(cells[0][:5]) for cells in list(rows.values())[2:]]
    assert values == sorted(values, reverse=True)


def test_no_published_numbers_of_a_subset_of_the_images(tmp_path: Path) -> None:
    folder = cifar100_folder(tmp_path / "c", "dataset.per_class=50")
    files = files_of(folder)
    [board] = (text.decode() for name, text in files.items() if name.startswith("leaderboards/"))
    assert "Published numbers" not in board


def test_suites_of_the_same_setting_share_a_leaderboard_and_count_runs_once(
    small: Path, tmp_path: Path
) -> None:
    more = small_folder(tmp_path / "more", "method=student|kd|at,seed=1|2", name="more")
    site = site_of(small, more)
    [board] = site.boards
    counts = {row.name: row.cells[0].measured.n for row, _ in board.rows if row.cells[0].measured}
    assert counts == {"teacher": 1, "student": 3, "kd": 3, "crd": 2, "at": 2}
    assert {place.suite for place in board.places["kd"]} == {"quickstart", "more"}
    assert {place.suite for place in board.places["at"]} == {"more"}


def test_other_recipes_subsets_and_losses_are_not_mixed(tmp_path: Path) -> None:
    folders = [COMMITTED / "quickstart", COMMITTED / "small_few_samples"]
    site = site_of(*folders)
    boards = [b for b in site.boards if (b.teacher, b.student) == ("resnet8x4", "resnet8")]
    assert len(boards) == 2
    assert any("data.per_class" in text for text in differences(*(b.setting for b in boards)))
    runs = [{run for cell in board.table.cells for run in cell.runs} for board in boards]
    assert not runs[0] & runs[1]


def test_equal_names_with_different_losses_are_two_rows(small: Path, tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "x", "method=student|kd|at,seed=0|1", name="x")
    path = folder / "plans" / "x.json"
    content = json.loads(path.read_text())
    for method in content["methods"]:
        if method["name"] == "at":
            method |= {"name": "crd", "label": "CRD"}
    path.write_text(json.dumps(content))
    [board] = site_of(small, folder).boards
    labels = [row.label for row, _ in board.rows if row.name.startswith("crd")]
    assert len(labels) == 2
    assert len(set(labels)) == 2


def test_method_page_has_the_paper_the_rank_and_every_cell(files: dict[str, bytes]) -> None:
    page = pages(files)["methods/crd.html"]
    text = words(page)
    assert "Tian, Krishnan, Isola. Contrastive Representation Distillation" in text
    assert "weight 0.8" in text
    assert re.search(r"[12] of 2", text)
    assert any(link.startswith("../suites/quickstart/index.html#cell.") for link in page.links)


def test_suite_page_has_table_statistics_figures_card_and_downloads(
    files: dict[str, bytes],
) -> None:
    page = pages(files)["suites/quickstart/index.html"]
    text = words(page)
    assert "Quickstart: statistics" in text
    assert "Quickstart: report card" in text
    assert {"forest.svg", "curves-resnet8x4-resnet8.svg"} <= set(page.links)
    stems = ("quickstart", "quickstart-statistics", "quickstart-checklist")
    assert {f"{stem}.{kind}" for stem in stems for kind in ("md", "tex")} <= set(page.links)
    assert {"quickstart.csv", "quickstart.json"} <= set(page.links)
    assert any(link == "nll.html" for link in page.links)
    assert "<style>" in files["suites/quickstart/forest.svg"].decode()


def test_record_page_has_specification_environment_metrics_and_curves(
    small: Path, files: dict[str, bytes]
) -> None:
    run = run_of(small, "crd seed 0")
    page = pages(files)[f"records/{run}.html"]
    text = words(page)
    record = Results(small).record(run)
    assert record is not None
    assert f"{record.top1:.2f} %" in text
    assert "negatives: 64" in text
    assert str(record.environment["device"]) in text
    assert "crd negatives 64 (papers: 16384)" in text
    assert [tag for tag, _ in page.elements].count("polyline") == 2


def test_damaged_records_are_told_and_the_suite_is_shown(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "damaged"))
    Results(folder).file(run_of(folder, "kd seed 1")).write_text("{")
    (folder / "plans" / "broken.json").write_text("{}")
    site = files_of(folder)
    front = words(pages(site)["index.html"])
    assert "damaged and left out" in front
    assert "not a saved plan" in front
    assert "not run yet" in words(pages(site)["suites/quickstart/index.html"])


def test_disagreeing_machines_are_shown(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    run = run_of(other, "kd seed 0")
    with_top1(other, run, 50.0)
    site = pages(files_of(small, other))
    assert "1 run with records of different numbers" in words(site["index.html"])
    assert "50.0" in words(site["disagreements.html"])
    assert "50.0" in words(site[f"records/{run}.html"])
    assert "Records of 1 run have different numbers" in words(site["suites/quickstart/index.html"])


def test_long_lists_are_split_into_pages(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.site.render.PAGE_ROWS", 3)
    rows = [(record, "small") for record in Results(small).records(curves=False)]
    texts = paged("records.html", "records/index.html", site_of(small), rows)
    assert list(texts) == ["records/index.html", "records/index-2.html", "records/index-3.html"]
    links = [link for page in texts.values() for link in Page(page).links]
    assert {f"{record.id}.html" for record, _ in rows} <= set(links)
    assert {"index.html", "index-2.html", "index-3.html"} <= set(
        Page(texts["records/index.html"]).links
    )


def test_folder_without_a_plan_is_told_and_a_suite_can_be_named(
    small: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs_of_ours"
    shutil.copytree(small / "runs", folder / "runs")
    assert "no suite for its records" in site_of(folder).problems[0]
    output = tmp_path / "site"
    result = bench("site", folder, "--suite", "quickstart", "--output", output)
    assert result.exit_code == 0
    assert "1 suite, 1 leaderboard" in result.stdout
    assert (output / "suites/quickstart/index.html").is_file()
    problem = wrong(bench("site", folder, "--suite", "small_tuned", "--output", output))
    assert "none of its runs has a record" in problem


def test_folder_of_folders_is_searched_and_a_folder_without_records_refused(
    small: Path, tmp_path: Path
) -> None:
    assert [suite.slug for suite in site_of(small.parent).suites] == ["quickstart"]
    assert "no records" in wrong(bench("site", tmp_path, "--output", tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_changed_suite_has_a_page_of_its_own(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "f")
    plan = api.load_plan("quickstart", filters="method=kd,seed=0")
    save_part(folder, plan, {"changes": ["seeds=[0]"], "name": "quickstart"})
    path = folder / "plans" / "quickstart.json"
    path.rename(path.with_name("quickstart-changed.json"))
    save_part(folder, api.load_plan("quickstart", filters="method=kd|crd|student,seed=0|1"))
    slugs = [suite.slug for suite in site_of(folder).suites]
    assert len(set(slugs)) == 2
    assert "quickstart" in slugs


SMALL_SITE = {"index.html": b"front", "a/b.html": b"page", "old.html": b"old"}


def test_folder_of_a_site_is_replaced_and_other_files_are_kept(tmp_path: Path) -> None:
    site_folder.write(tmp_path / "s", SMALL_SITE)
    (tmp_path / "s" / "CNAME").write_text("example.org")
    site_folder.write(tmp_path / "s", {"index.html": b"new", "a/b.html": b"page"})
    assert (tmp_path / "s" / "index.html").read_bytes() == b"new"
    assert not (tmp_path / "s" / "old.html").exists()
    assert (tmp_path / "s" / "CNAME").read_text() == "example.org"
    assert json.loads((tmp_path / "s" / "site.json").read_text())["complete"] is True


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(BenchError, match="not empty, and not a site"):
        site_folder.write(tmp_path, SMALL_SITE)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["../outside.html", "/etc/passwd"])
def test_list_of_files_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside.html"
    outside.write_text("mine")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "site.json").write_text(json.dumps({"files": [name]}))
    with pytest.raises(BenchError, match="outside of the folder"):
        site_folder.write(folder, SMALL_SITE)
    assert outside.read_text() == "mine"


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    site_folder.write(tmp_path / "s", {"index.html": b"front"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match="outside of the folder"):
        site_folder.write(tmp_path / "s", SMALL_SITE)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_failure_leaves_no_front_page_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_folder.write(tmp_path / "s", SMALL_SITE)
    write = site_folder.write_atomic

    def full(path: Path, content: bytes, **options: bool) -> None:
        if path.name == "b.html":
            raise OSError(28, "No space left on device", str(path))
        write(path, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(site_folder, "write_atomic", full)
        with pytest.raises(BenchError, match="No space left"):
            site_folder.write(tmp_path / "s", SMALL_SITE)
    assert not (tmp_path / "s" / "index.html").exists()
    assert json.loads((tmp_path / "s" / "site.json").read_text())["complete"] is False
    site_folder.write(tmp_path / "s", SMALL_SITE)
    assert (tmp_path / "s" / "index.html").read_bytes() == b"front"
