"""Logistic regression and neighbours against scikit-learn's own, and on cases done by hand."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from bench.measures import logistic, neighbours
from bench.measures.logistic import MAX_GRADIENT, PENALTIES


def digits(count=600, classes=10):
    bundle = load_digits()
    x, y = torch.from_numpy(bundle.data[:count]), torch.from_numpy(bundle.target[:count]).long()
    kept = y < classes
    return x[kept], y[kept]


def test_a_probe_of_raw_pixels_equals_scikit_learns_own():
    x, y = digits(300)
    penalty = 10**-1.5
    ours = logistic.fit(x, y, 10, penalty)
    scaler = StandardScaler().fit(x.numpy())
    theirs = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=5000)
    theirs.fit(scaler.transform(x.numpy()), y.numpy())
    assert ours.gradient <= MAX_GRADIENT
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, atol=2e-4)
    shift = ours.bias - ours.bias.mean()  # adding a number to all biases changes nothing
    np.testing.assert_allclose(shift.numpy(), theirs.intercept_, atol=2e-4)
    expected = theirs.predict_proba(scaler.transform(x.numpy()))
    np.testing.assert_allclose(ours(x).softmax(1).numpy(), expected, atol=1e-5)


def test_the_start_does_not_change_the_minimum():
    x, y = digits(200, 4)
    from_zero = logistic.fit(x, y, 4, 1e-2)
    warm = logistic.fit(x, y, 4, 1e-2, logistic.fit(x, y, 4, 1.0))
    assert torch.allclose(from_zero.weight, warm.weight, atol=1e-3)


def test_a_constant_feature_and_an_absent_class_do_no_harm():
    x = torch.tensor([[0.0, 5.0], [1.0, 5.0], [0.1, 5.0], [0.9, 5.0]])
    y = torch.tensor([0, 2, 0, 2])
    predicted, details = logistic.classify((x, y), x, 3)
    assert predicted.tolist() == [0, 2, 0, 2]
    assert details["l2"] in PENALTIES


def test_a_tenth_of_each_class_is_held_out():
    y = torch.cat([torch.full((n,), k) for k, n in enumerate((40, 19, 5, 1))])
    held = logistic.held_out(y)
    assert y[held].bincount(minlength=4).tolist() == [4, 1, 1, 0]
    assert torch.equal(held, logistic.held_out(y))


def test_noise_chooses_a_stronger_penalty_than_a_clear_signal():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    noise = torch.randn(200, 100, generator=rng)
    noisy = noise.clone()
    noisy[:, 0] += 1.5 * y
    assert logistic.choose_penalty(noisy, y, 2) >= 10**-1.5
    clear = noise * 1e-3 + y[:, None]
    assert logistic.choose_penalty(clear, y, 2) == PENALTIES[0]  # all are right: the strongest


def test_fits_report_their_progress():
    x, y = digits(100, 3)
    beats = []
    logistic.fit(x, y, 3, 0.1, beat=lambda: beats.append(1))
    assert len(beats) > 5


def test_neighbours_by_hand():
    train = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [0.1, 1.0], [-1.0, 0.0]])
    y = torch.tensor([0, 0, 1, 1, 2])
    test = torch.tensor([[5.0, 0.0], [0.0, 1.0], [1.0, 0.9]])
    assert neighbours.classify((train, y), test, 3, 1).tolist() == [0, 1, 0]
    # two votes each for the classes 0 and 1; the third image is closer to those of class 0
    assert neighbours.classify((train, y), test, 3, 4).tolist() == [0, 1, 0]
    assert neighbours.classify((train, y), test, 3, 99).tolist()[:2] == [0, 1]


def test_neighbours_equal_scikit_learns_own():
    x, y = digits(900)
    train, test = (x[:600], y[:600]), x[600:]
    theirs = KNeighborsClassifier(1).fit(normalize(train[0].numpy()), train[1].numpy())
    ours = neighbours.classify(train, test, 10, 1)
    assert ours.tolist() == theirs.predict(normalize(test.numpy())).tolist()
