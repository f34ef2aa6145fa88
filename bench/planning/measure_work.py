"""The work of a measure of a finished network: the images that pass through it, and the fit."""

from bench.data import Facts
from bench.planning.measures import WITH_PEER, WITH_STAGES, WITH_TEACHER
from bench.spec import RunSpec
from distillers import Shapes

# A logistic probe with n images, K classes and D features takes as long as a network's
# FIT_WORK n K (D + FIT_WIDTH) + FIT_START multiply-adds: twelve fits of some hundred steps each.
# Fitted to five probes of a resnet8's features (D = 16, 32, 64; n = 2,000; 5,000; K = 200) on one
# core of an AMD EPYC, where a resnet8 trains with 34e9 multiply-adds a second.
FIT_WORK, FIT_WIDTH, FIT_START = 13_000, 30, 8e10


def measure_work(spec: RunSpec, facts: Facts, shapes: Shapes, multiply_adds: int) -> float:
    """Return the multiply-adds of a measure.

    A step of training counts as three forward passes. Outputs that other measures of the network
    share, and the making of corrupted pictures, are not considered.

    Args:
        spec: The specification of the measure.
        facts: Facts of the images.
        shapes: The shapes of the network's features.
        multiply_adds: The multiply-adds of the network for one image.
    """
    measure, recipe = spec.measure, spec.recipe
    match measure["kind"]:
        case "logistic":
            images, fit = facts.train + facts.test, _logistic(measure["features"], facts, shapes)
        case "knn":
            images = facts.train + facts.test
            fit = float(facts.train * facts.test * sum(_widths(measure["features"], shapes)))
        case "sgd" | "finetune":
            step = 1 if "batch_norm" in measure else 3  # a frozen network, or all layers
            evaluations = -(-recipe.epochs // recipe.evaluate_every)
            images = recipe.epochs * step * facts.train + evaluations * facts.test
            fit = 0.0
        case "corrupted" | "cifar100_c":
            images = len(measure["types"]) * len(measure["severities"]) * facts.test
            fit = 0.0
        case kind:
            images, fit = facts.test * (2 if kind in WITH_TEACHER | WITH_PEER else 1), 0.0
    return images * multiply_adds + fit


def _logistic(features: str, facts: Facts, shapes: Shapes) -> float:
    cells = facts.train * facts.classes
    return sum(
        FIT_WORK * cells * (width + FIT_WIDTH) + FIT_START for width in _widths(features, shapes)
    )


def _widths(features: str, shapes: Shapes) -> list[int]:
    """Return the number of features of each classifier of a probe."""
    stages = [channels for channels, *_ in shapes.stages] if features == WITH_STAGES else []
    return [shapes.pooled, *stages]
