"""What is measured, against values found by hand."""

import math

import pytest
import torch

from bench.training import metrics


def logits_that_predict(classes: list[int], k: int = 7) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), k).float() * 9


def test_top1_counts_hits_in_percent() -> None:
    logits = logits_that_predict([0, 1, 2, 3])
    assert metrics.measure(logits, torch.tensor([0, 1, 2, 0]))["top1"] == 75.0


def test_top5_counts_labels_among_the_five_highest() -> None:
    logits = torch.arange(7.0).expand(2, 7)
    assert metrics.measure(logits, torch.tensor([2, 1]))["top5"] == 50.0


def test_top5_of_fewer_classes_is_everything() -> None:
    assert metrics.measure(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))["top5"] == 100.0


def test_nll_of_uniform_predictions_is_log_k() -> None:
    found = metrics.measure(torch.zeros(5, 7), torch.arange(5))
    assert found["nll"] == pytest.approx(math.log(7))


def test_calibration_error_by_hand() -> None:
    """Two bins: confidence 0.9, right in 1 of 2; confidence 0.6, right in both."""
    confidence = torch.tensor([0.9, 0.9, 0.6, 0.6])
    log_p = torch.stack([confidence, 1 - confidence], 1).log()
    found = metrics.calibration_error(log_p, torch.tensor([0, 1, 0, 0]))
    assert float(found) == pytest.approx(100 * (2 / 4 * 0.4 + 2 / 4 * 0.4), abs=1e-4)


def test_calibration_error_equals_a_plain_loop() -> None:
    logits = torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % 7
    p = logits.softmax(1)
    confidence, predicted = p.max(1)
    expected = 0.0
    for low in range(metrics.ECE_BINS):
        chosen = [i for i in range(500) if min(int(confidence[i] * metrics.ECE_BINS), 14) == low]
        if chosen:
            right = sum(int(predicted[i] == labels[i]) for i in chosen) / len(chosen)
            sure = sum(float(confidence[i]) for i in chosen) / len(chosen)
            expected += len(chosen) / 500 * abs(right - sure)
    assert metrics.measure(logits, labels)["ece"] == pytest.approx(100 * expected, rel=1e-4)


def test_agreement_and_kl_with_a_teacher() -> None:
    student, teacher = logits_that_predict([0, 1, 2, 3]), logits_that_predict([0, 1, 1, 1])
    found = metrics.measure(student, torch.zeros(4, dtype=torch.long), teacher)
    assert found["agreement"] == 50.0
    p, q = student.log_softmax(1), teacher.log_softmax(1)
    assert found["kl"] == pytest.approx(float((q.exp() * (q - p)).sum(1).mean()), rel=1e-5)


def test_a_teacher_agrees_with_itself() -> None:
    logits = torch.randn(6, 7)
    found = metrics.measure(logits, torch.arange(6), logits)
    assert found["agreement"] == 100.0
    assert found["kl"] == pytest.approx(0, abs=1e-6)
