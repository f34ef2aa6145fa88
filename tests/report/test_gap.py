"""The capacity-gap figure: one student, many teachers."""

from dataclasses import replace

import pytest
from test_figures import runs, texts

from bench.errors import BenchError
from bench.report.figures import gap, style

ACCURACIES = {"resnet110": 74.0, "resnet32": 71.0, "resnet56": 72.0}


def entries(teachers=ACCURACIES, student="resnet20"):
    """A student with each teacher: plain, KD and AT, two seeds each."""
    result = []
    for teacher, accuracy in teachers.items():
        pair = f"{teacher}/{student}"
        taught = runs("teacher", {"ce": 1}, [accuracy] * 2, pair)
        result += [replace(entry, role="teacher", label="Teacher") for entry in taught]
        result += runs("student", {"ce": 1}, [69.0, 69.4], pair, label="Student")
        result += runs("kd", {"ce": 1, "kd": 1}, [accuracy - 2, accuracy - 1.8], pair, label="KD")
        result += runs("at", {"ce": 1, "at": 1}, [70.0, 70.2], pair, label="AT")
    return result


def lines(figure, name):
    """The points of the line of a method: all places, then all heights."""
    [axes] = figure.axes
    [line] = [line for line in axes.lines if str(line.get_gid()).startswith(f"tooltip:{name}:")]
    return [*line.get_xdata(), *line.get_ydata()]


def test_each_method_has_a_line_over_the_accuracies_of_the_teachers():
    figure = gap.capacity_gap(entries(), "resnet20")
    assert lines(figure, "KD") == pytest.approx([71, 72, 74, 69.1, 70.1, 72.1])
    assert lines(figure, "AT") == pytest.approx([71, 72, 74, 70.1, 70.1, 70.1])
    [axes] = figure.axes
    assert texts(figure) == {"KD", "AT", "Student", "resnet32", "resnet56", "resnet110"}
    title = "resnet20 and its teachers, means of 2 seeds ± standard deviation"
    assert axes.get_title("left") == title
    assert axes.get_xlabel() == "top-1 test accuracy of the teacher (%)"
    low, high = axes.get_ylim()
    assert low < 68.9 < 72.3 < high  # every error bar is inside


def test_the_plain_student_is_a_level_with_a_band():
    figure = gap.capacity_gap(entries(), "resnet20")
    [axes] = figure.axes
    levels = [line for line in axes.lines if set(line.get_ydata()) == {69.2}]
    assert list(levels[0].get_xdata()) == [71, 72, 74]
    [band] = [each for each in axes.collections if each.get_alpha()]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (min(heights), max(heights)) == pytest.approx((69.2 - 0.2828, 69.2 + 0.2828), abs=1e-3)


def test_names_of_near_teachers_do_not_overlap():
    near = {"resnet110": 72.02, "resnet44": 72.01, "resnet56": 72.0, "resnet8x4": 79.0}
    figure = gap.capacity_gap(entries(near), "resnet20")
    [axes] = figure.axes
    places = sorted(t.get_position()[0] for t in axes.texts if t.get_rotation() == 90)
    inch = (axes.get_xlim()[1] - axes.get_xlim()[0]) * figure.dpi / axes.get_window_extent().width
    assert all(b - a > 0.16 * inch for a, b in zip(places, places[1:], strict=False))


def test_a_teacher_that_was_a_student_has_the_name_of_its_pair():
    chain = [replace(e, pair="resnet56@kd/resnet20") for e in entries({"resnet56": 72.5})]
    named = [replace(e, pair="born again") for e in entries({"resnet20": 69.5})]
    figure = gap.capacity_gap([*entries(), *chain, *named], "resnet20")
    assert {"resnet56", "resnet56@kd", "born again"} <= texts(figure)


def test_a_student_needs_three_teachers_with_results():
    few = entries({"resnet32": 71.0, "resnet56": 72.0})
    assert gap.students(few) == []
    unfinished = [replace(e, record=None) for e in entries({"resnet110": 74.0})]
    assert gap.students([*few, *unfinished, *entries(student="vgg8")]) == ["resnet20", "vgg8"]
    with pytest.raises(
        BenchError, match="^2 teachers of resnet20 with results; the figure needs 3"
    ):
        gap.capacity_gap([*few, *unfinished], "resnet20")


def test_the_same_records_give_the_same_bytes(tmp_path):
    paths = [
        style.save_figure(gap.capacity_gap(entries(), "resnet20"), tmp_path / folder, "gap")
        for folder in "ab"
    ]
    for first, second in zip(*paths, strict=True):
        assert first.read_bytes() == second.read_bytes()
