"""Metrics against values computed by hand, and the epochs that are evaluated."""

import math

import pytest
import torch

from bench.spec import Recipe
from bench.training.evaluation import (
    ECE_BINS,
    calibration_error,
    is_evaluation_due,
    measure,
)


def logits_of(classes: list[int], k: int = 7) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), k).float() * 9


def test_top1_is_the_percentage_of_correct_predictions() -> None:
    logits = logits_of([0, 1, 2, 3])
    assert measure(logits, torch.tensor([0, 1, 2, 0]))["top1"] == 75.0


def test_top5_is_the_percentage_of_labels_among_the_five_highest_logits() -> None:
    logits = torch.arange(7.0).expand(2, 7)
    assert measure(logits, torch.tensor([2, 1]))["top5"] == 50.0


def test_top5_of_fewer_than_five_classes_is_100() -> None:
    assert measure(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))["top5"] == 100.0


def test_nll_of_uniform_predictions_is_log_k() -> None:
    metrics = measure(torch.zeros(5, 7), torch.arange(5))
    assert metrics["nll"] == pytest.approx(math.log(7))


def test_calibration_error_equals_a_value_computed_by_hand() -> None:
    """Two bins: confidence 0.9, 1 of 2 correct; confidence 0.6, both correct."""
    confidence = torch.tensor([0.9, 0.9, 0.6, 0.6])
    log_p = torch.stack([confidence, 1 - confidence], 1).log()
    error = calibration_error(log_p, torch.tensor([0, 1, 0, 0]))
    assert float(error) == pytest.approx(100 * (2 / 4 * 0.4 + 2 / 4 * 0.4), abs=1e-4)


def test_calibration_error_equals_a_loop_over_bins() -> None:
    logits = torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % 7
    p = logits.softmax(1)
    confidence, predicted = p.max(1)
    expected = 0.0
    for low in range(ECE_BINS):
        in_bin = [i for i in range(500) if min(int(confidence[i] * ECE_BINS), 14) == low]
        if in_bin:
            hits = sum(int(predicted[i] == labels[i]) for i in in_bin) / len(in_bin)
            mean = sum(float(confidence[i]) for i in in_bin) / len(in_bin)
            expected += len(in_bin) / 500 * abs(hits - mean)
    assert measure(logits, labels)["ece"] == pytest.approx(100 * expected, rel=1e-4)


def test_agreement_and_kl_with_a_teacher_equal_their_definitions() -> None:
    student, teacher = logits_of([0, 1, 2, 3]), logits_of([0, 1, 1, 1])
    metrics = measure(student, torch.zeros(4, dtype=torch.long), teacher)
    assert metrics["agreement"] == 50.0
    p, q = student.log_softmax(1), teacher.log_softmax(1)
    assert metrics["kl"] == pytest.approx(float((q.exp() * (q - p)).sum(1).mean()), rel=1e-5)


def test_teacher_agrees_fully_with_itself() -> None:
    logits = torch.randn(6, 7)
    metrics = measure(logits, torch.arange(6), logits)
    assert metrics["agreement"] == 100.0
    assert metrics["kl"] == pytest.approx(0, abs=1e-6)


def test_networks_are_evaluated_every_n_epochs_and_after_the_last() -> None:
    recipe = Recipe(epochs=5, evaluate_every=2)
    assert [epoch for epoch in range(1, 6) if is_evaluation_due(recipe, epoch)] == [2, 4, 5]
