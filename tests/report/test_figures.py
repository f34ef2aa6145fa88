"""Figures: the numbers in them, and the same bytes for the same records."""

import numpy as np
import pytest
import safetensors.torch
import torch
from page_factory import entries
from report_factory import record

from bench import data, models
from bench.data import Selection
from bench.errors import BenchError, MissingData
from bench.report import ablation, diagrams, figures
from bench.report.cells import Entry
from bench.report.correlation import differences
from bench.report.diagrams import class_correlation, groups, mean_difference
from bench.report.ranking import average_ranks
from bench.report.table import About, table
from bench.results import Results, sha256

PAIR = "wrn_40_2/wrn_16_2"


def varied(values):
    """Records of crd with other numbers of negatives, a few seeds each, KD and the student."""
    made = []
    for name, terms, means in (
        ("student", {"ce": {}}, [73.0, 73.4]),
        ("kd", {"ce": {}, "kd": {"options": {}}}, [74.0, 74.2]),
        *(
            (f"crd-{n}", {"ce": {}, "crd": {"options": {"negatives": n}}}, means)
            for n, means in values.items()
        ),
    ):
        role = "student" if name == "student" else "method"
        for seed, mean in enumerate(means):
            found = {**record(f"{name}{seed}", seed, mean), "specification": {"method": terms}}
            made.append(Entry(PAIR, "wrn_40_2", "wrn_16_2", name, seed, found, role=role))
    return made


def test_an_ablation_shows_means_against_the_recorded_option():
    figure = ablation.ablation(varied({16: [74.0, 74.4], 1024: [75.0, 75.2]}), "crd", "negatives")
    [axes] = figure.axes
    curve = next(line for line in axes.lines if line.get_label() == "CRD")
    assert list(curve.get_xdata()) == [16, 1024]
    assert list(curve.get_ydata()) == pytest.approx([74.2, 75.1])
    levels = {line.get_ydata()[0] for line in axes.lines if line is not curve}
    assert {73.2, 74.1} <= {round(level, 6) for level in levels}
    assert {"student", "kd"} <= {text.get_text() for text in axes.texts}
    assert axes.get_xscale() == "log"


def test_an_ablation_needs_two_values():
    with pytest.raises(BenchError, match="no two values of crd's negatives"):
        ablation.ablation(varied({16: [74.0]}), "crd", "negatives")


def test_learning_curves_are_means_over_the_seeds():
    figure = figures.learning_curves(entries(), PAIR, "loss")
    [axes] = figure.axes
    assert list(axes.lines[0].get_xdata()) == list(range(1, 13))
    assert axes.lines[0].get_ydata()[1] == pytest.approx(2.0)
    assert {text.get_text() for text in axes.texts} == {"ce", "KD", "AT", "CRD", "WCoRD"}
    with pytest.raises(BenchError, match="no record has a curve of kl"):
        figures.learning_curves(entries(), PAIR, "kl")


def test_the_same_records_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        for name, made in (
            ("curves", figures.learning_curves(entries(), PAIR)),
            ("ablation", ablation.ablation(varied({16: [74.0], 64: [75.0]}), "crd", "negatives")),
            ("ranks", diagrams.rank_diagram({"A": 1.0, "B": 2.5, "C": 2.5}, 4, 1.2)),
            ("correlations", diagrams.correlations({"KD $x$": [np.eye(3)[::-1] * 0.1]}, "_")),
        ):
            paths = figures.save(made, tmp_path / folder, name)
            assert [path.suffix for path in paths] == [".png", ".pdf"]
    for first in sorted((tmp_path / "a").iterdir()):
        assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes()
        assert b"matplotlib" not in first.read_bytes()


def test_labels_are_moved_apart_and_stay_below_the_top():
    assert figures._apart([1.0, 1.0, 5.0], 1.0, 10.0) == [1.0, 2.0, 5.0]
    assert figures._apart([9.9, 10.0], 1.0, 10.0) == [9.0, 10.0]


def test_class_correlations_are_pearsons():
    logits = np.array([[1.0, 2.0, -1.0], [2.0, 4.0, -2.0], [3.0, 7.0, -3.0], [5.0, 9.0, -5.0]])
    found = class_correlation(logits)
    assert np.diag(found) == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(-1.0)
    x, y = logits[:, 0] - logits[:, 0].mean(), logits[:, 1] - logits[:, 1].mean()
    assert found[0, 1] == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
    assert class_correlation(logits * 3 + 7) == pytest.approx(found)
    with pytest.raises(BenchError, match="the same for all images"):
        class_correlation(np.ones((4, 2)))


def test_the_mean_difference_leaves_the_diagonal_out():
    assert mean_difference(np.array([[9.0, -1.0], [3.0, 9.0]])) == 2.0


def test_methods_within_the_critical_distance_are_joined_once():
    ranks = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 6.0}
    assert groups(ranks, 1.0) == [["a", "b"], ["b", "c"]]
    assert groups(ranks, 2.0) == [["a", "b", "c"]]
    assert groups(ranks, 0.5) == []
    with pytest.raises(BenchError, match="fewer than two methods"):
        diagrams.rank_diagram({"a": 1.0}, 3)


def test_average_ranks_leave_out_methods_with_holes():
    made = table(entries(), About("T"))
    assert average_ranks(made) == {"KD": 2.0, "CRD": 1.0}


@pytest.fixture
def results(tmp_path):
    """A teacher and two students, one of them its twin, with records and weights."""
    found = Results(tmp_path)
    of = {"data": {"name": "digits", "test_per_class": 3}, "recipe": {"precision": "float32"}}
    classes = data.facts(Selection("digits"), None).classes
    for run, seed in (("t", 0), ("twin", 0), ("other", 1)):
        torch.manual_seed(seed)
        net = models.build("resnet8", classes, 8)
        path = found.weights(run)
        path.parent.mkdir(exist_ok=True)
        safetensors.torch.save_file(net.state_dict(), path)
        found.write(
            {
                **record(run, 0, 50.0),
                "specification": {**of, "network": "resnet8"},
                "weights": sha256(path),
                "teacher": None
                if run == "t"
                else {"id": "t", "sha256": sha256(found.weights("t"))},
            }
        )
    return found


def taught(results, *runs):
    return [Entry("p", "t", "s", run, 0, results.record(run)) for run in runs]


def test_a_twin_differs_nowhere_and_another_network_does(results):
    found = differences(taught(results, "twin", "other"), results, "p")
    assert mean_difference(found["twin"][0]) == 0.0
    assert mean_difference(found["other"][0]) > 0.01
    assert found["other"][0].shape == (10, 10)


def test_students_without_weights_are_left_out_and_changed_weights_refused(results):
    results.weights("other").unlink()
    assert set(differences(taught(results, "twin", "other"), results, "p")) == {"twin"}
    results.weights("twin").write_bytes(results.weights("twin").read_bytes() + b" ")
    with pytest.raises(BenchError, match="sha256"):
        differences(taught(results, "twin"), results, "p")
    results.weights("t").unlink()
    with pytest.raises(MissingData, match="teacher's weights"):
        differences(taught(results, "twin"), results, "p")


def test_the_ablation_suites_vary_one_option_over_the_papers_range():
    from bench.suite import find, read

    for name, option, values in (
        ("ablation_negatives", "negatives", [16, 64, 256, 1024, 4096, 16384]),
        ("ablation_temperature", "temperature", [0.02, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3]),
    ):
        suite = read(find(name))
        assert [pair.name for pair in suite.pairs] == [PAIR]
        options = [m.terms["crd"].options for m in suite.methods if "crd" in m.terms]
        assert [one[option] for one in options] == values
        assert len({frozenset({**one, option: 0}.items()) for one in options}) == 1
        assert {m.terms["crd"].weight for m in suite.methods if "crd" in m.terms} == {0.8}
