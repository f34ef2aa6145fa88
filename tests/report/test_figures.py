"""Figures: the numbers in them, and the same bytes for the same records."""

import itertools

import matplotlib.colors
import numpy as np
import pytest
import safetensors.torch
import torch
from matplotlib.text import Text
from page_factory import entries
from report_factory import cells, many, probe_context, probe_entries, record

from bench import data, models
from bench.data import Selection
from bench.errors import BenchError, MissingData
from bench.report.build import table
from bench.report.figures import charts, correlation, forest, heatmap, style
from bench.report.figures.charts import groups
from bench.report.figures.correlation import class_correlation, differences, mean_difference
from bench.report.figures.pareto import Candidate, front, pareto_plot
from bench.report.model import Entry, TableContext
from bench.results import Results, sha256
from bench.stats.comparison import ranks
from tests.records import make_epoch, make_record

PAIR = "wrn_40_2/wrn_16_2"


def runs(name, terms, means, pair=PAIR, curves=(), status="done", **more):
    """Entries of a method, a seed for each mean; terms: by distiller its options, or a weight."""
    method = {
        distiller: {"weight": of, "options": {}}
        if isinstance(of, int)
        else {"weight": 0.8, "options": of}
        for distiller, of in terms.items()
    }
    return [
        Entry(
            pair,
            *pair.split("/"),
            name,
            seed,
            _record(f"{pair}{name}{seed}", seed, mean, method, curves, status),
            role="student" if set(terms) == {"ce"} else "method",
            distillers=tuple(name for name in terms if name != "ce"),
            **more,
        )
        for seed, mean in enumerate(means)
    ]


def _record(run, seed, top1, method, curves, status):
    metrics = record(run, seed, top1).metrics
    specification = {"method": method}
    return make_record(
        run, seed, metrics=metrics, specification=specification, curves=list(curves), status=status
    )


def varied(values, status="done"):
    """CRD with other numbers of negatives, a few seeds each, KD and the student."""
    return [
        *runs("student", {"ce": 1}, [73.0, 73.4]),
        *runs("kd", {"ce": 1, "kd": {"temperature": 4.0}}, [74.0, 74.2], label="KD"),
        *(
            entry
            for n, means in values.items()
            for entry in runs(f"crd-{n}", {"ce": 1, "crd": {"negatives": n}}, means, status=status)
        ),
    ]


def texts(figure):
    """All that is written in a figure."""
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def heights(axes, *xs):
    """The heights of each line over these places."""
    lines = [line for line in axes.lines if list(line.get_xdata()) == list(xs)]
    return [list(line.get_ydata()) for line in lines]


def test_an_ablation_shows_means_against_the_recorded_option():
    chosen = varied({1024: [75.0, 75.2], 16: [74.0, 74.4]})
    assert charts.varied(chosen, PAIR) == [("crd", "negatives")]
    figure = charts.ablation(chosen, PAIR, ("crd", "negatives"), label_of={"crd": "CRD"})
    [axes] = figure.axes
    assert heights(axes, 16, 1024) == [pytest.approx([74.2, 75.1])]
    assert heights(axes, 0, 1) == [pytest.approx([73.2] * 2), pytest.approx([74.1] * 2)]
    assert texts(figure) == {"student", "KD", "CRD"}
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "negatives of CRD (log scale)"
    assert axes.get_title("left") == "WRN-40-2 → WRN-16-2, means of 2 seeds ± standard deviation"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "1024"]


def test_an_ablation_needs_two_values_that_were_measured():
    chosen = [*varied({16: [74.0]}), *varied({64: [75.0]}, "diverged")[4:]]
    assert charts.varied(chosen, PAIR) == []
    with pytest.raises(BenchError, match="differ only in crd's negatives"):
        charts.ablation(chosen, PAIR, ("crd", "negatives"))


def test_an_ablation_joins_only_methods_that_differ_in_nothing_else():
    grid = [
        entry
        for place, (n, t) in enumerate(itertools.product((16, 64), (0.07, 0.1)))
        for entry in runs(f"m{place}", {"ce": 1, "crd": {"negatives": n, "t": t}}, [70.0 + place])
    ]
    other = "resnet110/resnet20"
    chosen = [*grid, *runs("m9", {"ce": 1, "crd": {"negatives": 64, "t": 0.07}}, [9.0], other)]
    assert charts.varied(chosen, PAIR) == [("crd", "negatives"), ("crd", "t")]
    assert charts.varied(chosen, other) == []
    figure = charts.ablation(chosen, PAIR, ("crd", "negatives"))
    [axes] = figure.axes
    assert heights(axes, 16, 64) == [[70.0, 72.0], [71.0, 73.0]]
    assert texts(figure) == {"crd, t 0.07", "crd, t 0.1"}
    assert axes.get_xscale() == "linear"
    assert axes.get_title("left") == "WRN-40-2 → WRN-16-2, single runs"


def test_a_weight_is_a_setting_and_zero_has_a_place_on_the_axis():
    chosen = [*runs("a", {"ce": 1, "at": 0}, [70.0]), *runs("b", {"ce": 1, "at": {}}, [71.0])]
    assert charts.varied(chosen, PAIR) == [("at", "weight")]
    [axes] = charts.ablation(chosen, PAIR, ("at", "weight")).axes
    assert heights(axes, 0, 0.8) == [[70.0, 71.0]]
    assert axes.get_xscale() == "linear"


def test_learning_curves_are_means_over_the_seeds():
    figure = charts.learning_curves(entries(), PAIR, "loss")
    axes, _ = figure.axes
    assert list(axes.lines[0].get_xdata()) == list(range(1, 13))
    assert axes.lines[0].get_ydata()[1] == pytest.approx(2.0)
    assert texts(figure) == {"ce", "KD", "AT", "CRD", "WCoRD"}
    assert axes.get_title("left") == "WRN-40-2 → WRN-16-2, means of 3 seeds"
    with pytest.raises(BenchError, match="no record has a curve of kl"):
        charts.learning_curves(entries(), PAIR, "kl")


def test_epochs_are_integers_and_the_title_counts_the_seeds():
    chosen = [each for each in entries() if (each.method, each.seed) != ("kd", 2)]
    for each in chosen:
        each.record.curves[:] = [e for e in each.record.curves if e.epoch in (5, 6)]
    axes, _ = charts.learning_curves(chosen, PAIR).axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [5, 6]
    assert axes.get_title("left").endswith("means of 2 to 3 seeds")


def test_methods_with_the_same_label_also_show_their_name():
    chosen = [
        *runs("kd", {"ce": 1, "kd": 1}, [74.0], label="KD"),
        *runs("mine", {"ce": 1, "kd": {}}, [75.0], label="KD"),
        *runs("x\ny", {"ce": 1}, [73.0]),
    ]
    result = style.methods(chosen, PAIR)
    assert {label: some[0].method for label, some in result.items()} == {
        "KD (kd)": "kd",
        "KD (mine)": "mine",
        "x y": "x\ny",
    }


def marks(axes):
    """The place and colour of each marker."""
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    return {
        (
            round(float(line.get_xdata()[0]), 3),
            round(float(line.get_ydata()[0]), 3),
        ): line.get_color()
        for line in points
    }


def test_cost_is_seconds_as_if_trained_alone():
    figure = pareto_plot(entries(), PAIR)
    [axes] = figure.axes
    assert texts(figure) == {"ce", "KD", "AT", "CRD", "WCoRD"}
    # KD: 12 epochs of 1.0, 1.1, 1.2 s and 0.25 s shared, on average
    assert (16.2, 74.9) in marks(axes)
    assert axes.get_xlabel() == "seconds of one training, as if alone on CPU x, 2 cores"
    assert axes.get_title("left").endswith("means of 3 seeds ± standard deviation")
    without = entries()
    for each in without:
        each.record.curves.clear()
    with pytest.raises(BenchError, match="no record has both top1 and a training time"):
        pareto_plot(without, PAIR)


def test_with_several_students_the_size_of_networks_counts_too():
    figure = pareto_plot(entries())
    costs = [" ".join(axes.get_xlabel().split()) for axes in figure.axes]
    assert costs[:2] == ["parameters (millions)", "multiply-adds of one image (millions)"]
    assert figure.axes[0].get_title("left") == "all pairs, means of 2 to 3 seeds"
    best = max(marks(figure.axes[0]), key=lambda place: place[1])
    assert best == (0.078, 76.2)
    assert "WCoRD, ShuffleNetV2" in texts(figure)
    stacked = pareto_plot(entries(), width=style.WIDTHS["column"])
    assert len({axes.get_subplotspec().rowspan.start for axes in stacked.axes}) == 3


def test_times_of_different_machines_are_not_compared():
    mixed = entries()
    each = next(each for each in mixed if (each.pair, each.label) == (PAIR, "KD"))
    each.record.environment["device"] = "CPU y"
    with pytest.raises(BenchError, match=r"the times of CPU x, 2 cores and CPU y cannot be comp"):
        pareto_plot(mixed, PAIR)
    costs = [" ".join(axes.get_xlabel().split()) for axes in pareto_plot(mixed).axes]
    assert costs == ["parameters (millions)", "multiply-adds of one image (millions)"]


def test_the_front_is_what_no_other_method_beats_at_the_same_cost():
    def candidate(name, cost, value):
        return Candidate(name, "s", value, 0.0, {"seconds": cost}, 1, frozenset())

    some = [candidate(*each) for each in (("a", 1, 70), ("b", 2, 69), ("c", 2, 71), ("d", 3, 71))]
    assert [each.name for each in front(some, "seconds", higher=True)] == ["a", "c"]
    assert [each.name for each in front(some, "seconds", higher=False)] == ["a", "b"]
    assert front(some, "parameters", higher=True) == []


def test_dominated_methods_are_grey():
    [axes] = pareto_plot(
        [
            *_timed("fast", 74.0, 1.0),
            *_timed("slow", 75.0, 2.0),
            *_timed("worse", 73.0, 2.0),
        ],
        PAIR,
    ).axes
    colours = {y: colour for (_, y), colour in marks(axes).items()}
    assert colours[74.0] == colours[75.0] == style.COLOURS[0]
    assert colours[73.0] not in style.COLOURS


def _timed(name, mean, seconds):
    return runs(
        name, {"ce": 1, "kd": {"t": seconds}}, [mean], curves=[make_epoch(1, seconds=seconds)]
    )


def overlapping(figure):
    """Pairs of texts of a figure that cover each other."""
    figure.draw_without_rendering()
    shown = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.axes is not None
    ]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in shown]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 3
    ]


@pytest.mark.parametrize("width", style.WIDTHS.values(), ids=list(style.WIDTHS))
def test_figures_are_as_wide_as_asked_and_their_texts_do_not_overlap(width):
    probe_table = table(probe_entries(), probe_context())
    average = ranks([[70 + n for n in range(14)], [71 + n for n in range(14)]])
    names = [f"method-{n}" for n in range(14)]
    for figure in (
        charts.learning_curves(entries(), PAIR, width=width),
        charts.rank_diagram(names, average, "top-1 test accuracy", width),
        charts.ablation(varied({16: [74.0], 64: [75.0]}), PAIR, ("crd", "negatives"), width=width),
        pareto_plot(entries(), width=width),
        pareto_plot(entries(), PAIR, width=width),
        forest.forest_plot([probe_table], width),
        heatmap.heat_map(probe_table, width),
    ):
        assert overlapping(figure) == []
        assert figure.get_figwidth() <= width
        box = figure.get_tightbbox()
        assert box.x0 > -0.02
        assert box.x1 < figure.get_figwidth() + 0.02
        sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
        assert min(sizes) >= 6
        assert max(sizes) <= 10


def test_many_methods_are_grey_but_the_best_the_reference_and_the_plain_student():
    count = 54
    chosen = [
        entry
        for n in range(count)
        for entry in runs(
            f"m{n}",
            {"ce": 1} if n == 0 else {"ce": 1, "kd": {"t": n}},
            [60.0 + n],
            curves=[make_epoch(e, test={"top1": 50.0 + n + e}) for e in range(1, 11)],
        )
    ]
    everything, end = charts.learning_curves(chosen, PAIR, reference="m1").axes
    lines = [line for line in everything.lines if (line.get_gid() or "").startswith(style.TOOLTIP)]
    coloured = [line for line in lines if line.get_color() in style.COLOURS]
    assert (len(lines), len(coloured)) == (count, style.MAX_NAMED)
    names = {text.get_text() for text in end.texts}
    assert names == {"m0", "m1", *(f"m{n}" for n in range(42, 54)), "40 others"}


def test_a_forest_of_many_pairs_has_its_panels_next_to_each_other():
    pairs = [(f"resnet{n}", "resnet8") for n in range(8, 92, 12)]
    chosen = [
        Entry(f"{t}/{s}", t, s, m, seed, record(f"{t}{m}{seed}", seed, 70.0 + i + seed / 9), m)
        for t, s in pairs
        for i, m in enumerate(["kd", *"abcdefghijkl"])
        for seed in range(3)
    ]
    figure = forest.forest_plot([table(chosen, TableContext("T"))])
    assert len({axes.get_subplotspec().colspan.start for axes in figure.axes}) == 4
    assert not any(axes.texts for axes in figure.axes)
    assert figure.get_figheight() <= style.MAX_HEIGHT
    assert overlapping(figure) == []


def shades(figure):
    """The number in each cell of a heat map, by row from the top, and the cell's colour."""
    axes = figure.axes[0]
    patches = [patch for patch in axes.patches if not patch.get_hatch()]
    numbers = sorted(axes.texts, key=lambda text: text.get_position()[::-1])
    patches.sort(key=lambda patch: (patch.get_y(), patch.get_x()))
    return [
        (text.get_text(), patch.get_facecolor()[:3])
        for text, patch in zip(numbers, patches, strict=True)
    ]


def test_the_heat_map_shows_differences_blue_if_better_and_hatches_what_is_missing():
    figure = heatmap.heat_map(table(probe_entries(), probe_context()))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "Student", "AT", "CRD", "WCoRD", "DCD",
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "WRN-40-2 →\nWRN-16-2",
        "resnet32x4 →\nShuffleNetV2",
        "mean",
    ]
    cells_ = shades(figure)
    assert [number for number, _ in cells_] == [
        "−1.63", "−2.70", "−2.17", "−0.80", "+0.30", "+1.20", "+0.75", "+0.30",
    ]  # fmt: skip
    for number, (red, _, blue) in cells_:
        assert (blue > red) == number.startswith("+")
    assert sum(bool(patch.get_hatch()) for patch in axes.patches) == 15 - len(cells_)
    bold = {text.get_text() for text in axes.texts if text.get_weight() == "bold"}
    assert bold == {"−1.63", "−2.70", "−0.80", "+1.20"}
    low, high = figure.axes[1].get_xlim()
    assert low == pytest.approx(-high)


def test_the_heat_map_is_blue_for_a_lower_loss():
    entries_ = [*cells("kd", [0.5], [0.5], metric="nll"), *cells("at", [0.4], [0.7], metric="nll")]
    figure = heatmap.heat_map(table(entries_, TableContext("T"), "nll"))
    (first, (red, _, blue)), *_ = shades(figure)
    assert (first, blue > red) == ("−0.100", True)
    other = table(many(), TableContext("T", reference="nobody"))
    with pytest.raises(BenchError, match="the suite has no method 'nobody' as the reference"):
        heatmap.heat_map(other)


def test_lines_and_cells_differ_for_colour_blind_readers():
    """Machado, Oliveira and Fernandes (2009): colours as seen without red or green cones."""
    to_linear = np.vectorize(lambda c: c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
    seen = {
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
    }
    colours = [to_linear(matplotlib.colors.to_rgb(colour)) for colour in style.COLOURS]
    cells_ = [colour for _, colour in shades(heatmap.heat_map(table(many(), TableContext("T"))))]
    ends = [to_linear(max(cells_, key=lambda c: c[i] - c[2 - i])) for i in (0, 2)]
    for matrix in seen.values():
        for some in (colours, ends):
            views = [np.clip(np.array(matrix) @ colour, 0, 1) for colour in some]
            apart = [np.abs(a - b).max() for a, b in itertools.combinations(views, 2)]
            assert min(apart) > 0.05


def test_fonts_are_embedded_as_truetype(tmp_path):
    _, pdf = style.save_figure(charts.learning_curves(entries(), PAIR), tmp_path, "x")
    content = pdf.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Subtype /Type3" not in content


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(tmp_path):
    average = ranks([[1, 2, 3], [1, 3, 2]])
    for folder in ("a", "b"):
        chosen = varied({16: [74.0], 64: [75.0]})
        for name, built in (
            ("curves", charts.learning_curves(entries(), PAIR)),
            ("pareto", pareto_plot(entries())),
            ("heatmap", heatmap.heat_map(table(many(), TableContext("T")))),
            ("forest", forest.forest_plot([table(many(), TableContext("T"))])),
            ("ablation", charts.ablation(chosen, PAIR, ("crd", "negatives"))),
            ("ranks", charts.rank_diagram("ABC", average, "top-1")),
            (
                "correlations",
                correlation.correlation_figure({"KD $x$": [np.eye(3)[::-1] * 0.1]}, "_"),
            ),
        ):
            paths = style.save_figure(built, tmp_path / folder, name)
            assert [path.suffix for path in paths] == [".png", ".pdf"]
    for first in sorted((tmp_path / "a").iterdir()):
        assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes()
        assert b"matplotlib" not in first.read_bytes()


def test_lines_differ_without_colours_too():
    result = style.looks(36)
    assert len({(str(look["linestyle"]), look["marker"]) for look in result}) == 36
    assert len({look["color"] for look in result[:7]}) == 7


def test_names_of_lines_do_not_overlap_and_move_little():
    for wanted, spaced in (
        ([1.0, 1.0, 5.0], [0.5, 1.5, 5.0]),  # both as far from where they belong
        ([5.0, 1.0, 2.0], [5.0, 1.0, 2.0]),
        ([0.0, 0.2, 0.1], [0.0, 2.0, 1.0]),  # not below the bottom, in their order
        ([4.0, 9.9, 9.8], [4.0, 10.0, 9.0]),  # not above the top
    ):
        figure, axes = style.empty(4.0, 4.0)
        axes.set_ylim(0, 1)
        figure.draw_without_rendering()
        # what a name takes of the height
        gap = 0.9 * style.LINE * figure.dpi / axes.get_window_extent().height
        axes.set_ylim(10 - 1 / gap, 10)
        if min(wanted) == 0:
            axes.set_ylim(0, 1 / gap)
        style.name_lines(axes, wanted, "abc", style.looks(3))
        assert [text.xy[1] for text in axes.texts] == pytest.approx(spaced, abs=0.05)


def test_class_correlations_are_pearsons():
    logits = np.array([[1.0, 2.0, -1.0], [2.0, 4.0, -2.0], [3.0, 7.0, -3.0], [5.0, 9.0, -5.0]])
    result = class_correlation(logits)
    assert np.diag(result) == pytest.approx(1.0)
    assert result[0, 2] == pytest.approx(-1.0)
    x, y = logits[:, 0] - logits[:, 0].mean(), logits[:, 1] - logits[:, 1].mean()
    assert result[0, 1] == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
    assert class_correlation(logits * 3 + 7) == pytest.approx(result)
    with pytest.raises(BenchError, match="the same for all images"):
        class_correlation(np.column_stack([np.arange(7.0), np.full(7, 0.1)]))


def test_the_mean_difference_leaves_the_diagonal_out():
    matrix = np.array([[9.0, -1.0], [3.0, 9.0]])
    assert mean_difference(matrix) == 2.0
    assert correlation.describe([matrix]) == "mean |Δ| = 2.000"
    assert correlation.describe([matrix, matrix * 2]) == "mean |Δ| = 3.000 ± 1.414"


def test_correlations_draw_the_first_seed_and_state_the_mean():
    matrix = np.array([[0.0, -1.0], [0.5, 0.0]])
    figure = correlation.correlation_figure(
        {name: [matrix, matrix * 3] for name in "abcdefghi"}, "Pair"
    )
    squares = [axes for axes in figure.axes if axes.images]
    assert len(squares) == 9
    assert len({axes.get_subplotspec().colspan.start for axes in squares}) == 3
    assert squares[0].images[0].get_array().tolist() == matrix.tolist()
    assert squares[0].images[0].get_clim() == (-1.0, 1.0)
    assert squares[0].get_title() == "a\nmean |Δ| = 1.500 ± 1.061"


def test_methods_within_the_critical_distance_are_joined_once():
    average = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 6.0}
    assert groups(average, 1.5) == [["a", "b"], ["b", "c"]]
    assert groups(average, 2.5) == [["a", "b", "c"]]
    assert groups(average, 1.0) == []  # a difference of exactly the distance is significant


def test_rank_diagram_states_its_tests():
    result = ranks([[70, 71, 72, 73]] * 5)
    figure = charts.rank_diagram(["a", "b", "c", "d"], result, "top-1 test accuracy")
    message = " ".join(texts(figure))
    assert f"critical distance {result.critical:.2f}\n(Nemenyi, 5%)" in message
    assert "average rank by top-1 test accuracy, 5 pairs; Friedman: p = 0.0018" in message
    assert {"d  1.00", "c  2.00", "3.00  b", "4.00  a"} <= texts(figure)


@pytest.fixture
def results(tmp_path):
    """A teacher and two students, one of them its twin, with records and weights."""
    result = Results(tmp_path)
    of = {"data": {"name": "digits", "test_per_class": 3}, "recipe": {"precision": "float32"}}
    classes = data.facts(Selection("digits"), None).classes
    for run, seed in (("t", 0), ("twin", 0), ("other", 1)):
        torch.manual_seed(seed)
        net = models.build("resnet8", classes, 8)
        path = result.weights(run)
        path.parent.mkdir(exist_ok=True)
        safetensors.torch.save_file(net.state_dict(), path)
        taught = {
            "id": "t",
            "network": "resnet8",
            "sha256": sha256(result.weights("t")),
            "top1": 50.0,
        }
        result.write(
            make_record(
                run,
                kind="teacher" if run == "t" else "student",
                specification=of,
                metrics=record(run, 0, 50.0).metrics,
                weights=sha256(path),
                teacher=None if run == "t" else taught,
            )
        )
    return result


def taught(results, *runs):
    return [Entry("p", "t", "s", run, 0, results.record(run)) for run in runs]


def test_equal_networks_have_no_difference_and_other_networks_do(results):
    result = differences(taught(results, "twin", "other"), results, "p", device="cpu")
    assert mean_difference(result["twin"][0]) == 0.0
    assert mean_difference(result["other"][0]) > 0.01
    assert result["other"][0].shape == (10, 10)


def test_students_without_weights_are_left_out_and_changed_weights_refused(results):
    results.weights("other").unlink()
    assert set(differences(taught(results, "twin", "other"), results, "p")) == {"twin"}
    results.weights("twin").write_bytes(results.weights("twin").read_bytes() + b" ")
    with pytest.raises(BenchError, match="sha256"):
        differences(taught(results, "twin"), results, "p")
    results.weights("t").unlink()
    with pytest.raises(MissingData, match="teacher's weights"):
        differences(taught(results, "twin"), results, "p")


def test_network_with_constant_logits_is_named(results):
    path = results.weights("other")
    dead = {key: value * 0 for key, value in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(dead, path)
    results.write(results.record("other").model_copy(update={"weights": sha256(path)}))
    with pytest.raises(
        BenchError, match="other.safetensors: class correlations: the logit of a class is"
    ):
        differences(taught(results, "other"), results, "p")


def test_the_ablation_suites_vary_one_option_over_the_papers_range():
    from bench.suite import find, read

    for name, option, values in (
        ("ablation_negatives", "negatives", [16, 64, 256, 1024, 4096, 16384]),
        ("ablation_temperature", "temperature", [0.02, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3]),
    ):
        suite = read(find(name))
        assert [pair.name for pair in suite.pairs] == [PAIR]
        options = [m.terms["crd"].options for m in suite.methods if "crd" in m.terms]
        assert [each[option] for each in options] == values
        assert len({frozenset({**each, option: 0}.items()) for each in options}) == 1
        assert {m.terms["crd"].weight for m in suite.methods if "crd" in m.terms} == {0.8}
