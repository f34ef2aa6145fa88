"""From records to files of figures, or to the reason why there are none."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.planning.plan import Plan
from bench.report import figures
from bench.report.figures import Drawn, NotDrawn, file_name
from bench.results import Results
from tests import toy
from tests.command import ROOT, bench, wrong

LINES = {
    "seeds": "[0, 1]",
    "pairs": "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: wrn_16_1}]",
    "methods": "{student: papers, kd: papers, crd-4: {ce: 1, crd: {weight: 0.8, negatives: 4}}, "
    "crd-16: {ce: 1, crd: {weight: 0.8, negatives: 16}}}",
    "options": "{crd: {width: 8}}",
}
PAIRS = ("resnet8-resnet8", "resnet8-wrn_16_1")
ONE = "pair=*/resnet8"
TOO_FEW = "no average ranks: they need at least 2 pairs and 3 methods without missing values, found"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite of two pairs, and its results."""
    folder = tmp_path_factory.mktemp("figures")
    toy.run(toy.plan(folder, **LINES), folder)
    return folder


@pytest.fixture
def ran(built: Path, here: Path) -> Path:
    """A copy of it to work in."""
    shutil.copytree(built, here, dirs_exist_ok=True)
    return here


def toy_plan(folder: Path, filters: str = "") -> Plan:
    return api.load_plan(folder / "toy.yaml", filters=filters)


def pictures(folder: Path) -> list[str]:
    """The figures in a results folder, those that are there in both formats."""
    result = [path.stem for path in (folder / "results").glob("*.p*")]
    assert all(result.count(stem) == 2 for stem in result)
    return sorted(set(result))


def pictures_of_all_kinds() -> list[str]:
    each = ("ablation-{}-crd-negatives", "correlation-{}", "curves-{}")
    names = [f"toy-{kind.format(pair)}" for kind in each for pair in PAIRS]
    return sorted([*names, "toy-forest", "toy-heatmap", "toy-pareto", "toy-ranks"])


@pytest.mark.slow
def test_all_that_the_records_allow_is_drawn(ran: Path) -> None:
    result = bench("figures", "toy.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert pictures(ran) == pictures_of_all_kinds()
    printed = re.findall(r"^written: (results/.*)\.png, \1\.pdf$", result.stdout, re.M)
    assert sorted(printed) == [f"results/{name}" for name in pictures(ran)]
    for stem in pictures(ran):
        assert (ran / "results" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (ran / "results" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
    amounts = re.findall(r"^  (\S+): mean \|Δ\| = 0\.\d{3} ± 0\.\d{3}$", result.stdout, re.M)
    assert amounts == ["Student", "KD", "crd-4", "crd-16"] * 2


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_in_another_process(ran: Path) -> None:
    code = (
        "from pathlib import Path; from bench import api; from bench.report import figures; "
        "from bench.results import Results; "
        "print(*figures.draw(api.load_plan('toy.yaml'), Results(Path('results'))), sep='\\n')"
    )
    drawn = pictures_of_all_kinds()
    files, message = [], []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        message.append(ended.stdout)
        built = sorted((ran / "results").glob("toy-*"))
        files.append({path.name: path.read_bytes() for path in built})
        for path in built:
            path.unlink()
    assert {Path(name).stem for name in files[0]} == set(drawn)
    assert files[0] == files[1]
    assert message[0] == message[1]


def test_figures_that_cannot_be_drawn_are_reported_and_the_rest_is_drawn(ran: Path) -> None:
    shutil.rmtree(ran / "results" / "weights")
    result = bench("figures", "toy.yaml", "--filter", "method=student|kd")
    assert result.exit_code == 0
    assert pictures(ran) == [
        *(f"toy-part-curves-{pair}" for pair in PAIRS),
        *(f"toy-part-{kind}" for kind in ("forest", "heatmap", "pareto")),
    ]
    assert result.stderr.splitlines() == [
        "ablation: resnet8/resnet8 and 1 more: "
        "no two methods with results differ in exactly one number",
        f"ranks: {TOO_FEW} 2 pairs and 1 method",
        "correlation: resnet8/resnet8 and 1 more: no student's weights are in results/weights; "
        "`bench run` saves weights, and `bench run --overwrite always` trains again to replace "
        "deleted weights",
    ]


def test_requested_kind_that_cannot_be_drawn_is_wrong_use(ran: Path) -> None:
    message = wrong(bench("figures", "toy.yaml", "--which", "ranks", "--filter", ONE))
    assert message == f"ranks: {TOO_FEW} 1 pair and 3 methods"
    both = bench("figures", "toy.yaml", "--which", "pareto, ranks", "--filter", ONE)
    assert (both.exit_code, both.stderr.strip()) == (2, message)
    assert pictures(ran) == ["toy-part-pareto"]


def test_a_kind_is_drawn_where_one_pair_has_it(ran: Path) -> None:
    plan, results = toy_plan(ran), Results(ran / "results")
    for cell in plan.cells:
        if cell.pair.student == "wrn_16_1":
            results.weights(cell.run).unlink()
    result = bench("figures", "toy.yaml", "--which", "correlation")
    assert result.exit_code == 0
    assert pictures(ran) == ["toy-correlation-resnet8-resnet8"]
    assert result.stderr.startswith("correlation: resnet8/wrn_16_1: no student's weights are in")


def test_unknown_kinds_and_metrics_are_errors_before_anything_is_drawn(ran: Path) -> None:
    message = wrong(bench("figures", "toy.yaml", "--which", "pareto,curve"))
    assert message == (
        "no kind of figure 'curve'. Did you mean 'curves'? "
        "Allowed: ablation, correlation, curves, forest, gap, heatmap, pareto, ranks, tuning"
    )
    assert "no metric 'top'" in wrong(bench("figures", "toy.yaml", "--metric", "top"))
    assert pictures(ran) == []


def test_width_and_reference_are_those_asked_for(ran: Path) -> None:
    words = ("figures", "toy.yaml", "--which", "heatmap", "--filter", ONE)
    widths = []
    for width in ("column", "page"):
        result = bench(*words, "--width", width, "--versus", "student", "--output", width)
        assert result.exit_code == 0
        content = (ran / width / "toy-part-heatmap.pdf").read_bytes()
        [box] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
        widths.append(float(box) / 72)
    assert max(widths) <= 6.75
    assert widths[0] <= 3.3
    assert "no method 'kdd'. Did you mean 'kd'?" in wrong(bench(*words, "--versus", "kdd"))


def test_without_records_there_is_nothing_to_draw(here: Path) -> None:
    toy.write(here)
    message = wrong(bench("figures", "toy.yaml"))
    assert message == "results: none of the 3 runs has a record; `bench run` trains them"
    assert not (here / "results").exists()


def test_another_metric_has_files_of_its_own(ran: Path) -> None:
    results = Results(ran / "results")
    kinds = ("curves", "pareto", "ranks", "correlation")
    result = list(figures.draw(toy_plan(ran, ONE), results, "kl", kinds))
    drawn = [item.files[0].name for item in result if isinstance(item, Drawn)]
    assert drawn == [
        "toy-part-kl-curves-resnet8-resnet8.png",
        "toy-part-kl-pareto.png",
        "toy-part-correlation-resnet8-resnet8.png",  # knows no metric
    ]
    oracle = list(figures.draw(toy_plan(ran, ONE), results, "oracle", ["curves"]))
    reason = "no record has a curve of oracle"
    assert oracle == [NotDrawn("curves", "resnet8/resnet8", reason)]


def test_ranks_are_those_of_the_metric_low_or_high(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, results, shown = toy_plan(ran), Results(ran / "results"), []
    for cell in plan.cells:
        last = {"top1": {"kd": 50.0, "crd-4": 60.0}.get(cell.method.name, 40.0)}
        metrics = {"last": last | {"nll": 100 - last["top1"]}}
        record = results.record(cell.run)
        assert record is not None
        results.write(record.model_copy(update={"metrics": metrics}))
    real = figures.charts.rank_diagram

    def watched(labels: list[str], result: Any, metric: str, width: float) -> Any:
        shown.append((dict(zip(labels, result.average, strict=True)), result.pairs, metric))
        return real(labels, result, metric, width)

    monkeypatch.setattr(figures.charts, "rank_diagram", watched)
    for metric in ("top1", "nll"):
        [drawn] = figures.draw(plan, results, metric, ["ranks"])
        assert isinstance(drawn, Drawn)
    ranks = {"KD": 2.0, "crd-4": 1.0, "crd-16": 3.0}
    assert shown == [(ranks, 2, "top-1 test accuracy"), (ranks, 2, "test NLL")]


def test_a_pair_of_any_name_has_a_file_name_of_its_own() -> None:
    assert file_name("wrn_40_2/wrn_16_2") == "wrn_40_2-wrn_16_2"
    assert re.fullmatch(
        r"timm-resnet18\.a1_in1k-vgg8-[0-9a-f]{8}", file_name("timm:resnet18.a1_in1k/vgg8")
    )
    odd = ["a/b-c", "a-b/c", "a:b/c", "A/b", "a/B", 'é "/*?', "é '/*?", "x" * 300 + "/y", "a/b c",
           "x" * 300 + "/z", "con/..", "a\\b/c", "a/b/c", "a/b", "a-b", "a"]  # fmt: skip
    names = [file_name(pair) for pair in odd]
    assert len({name.lower() for name in names}) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) for name in names)
