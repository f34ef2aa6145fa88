"""The worked example for authors of data sets."""

import textwrap

from bench.data import base


def test_worked_example_agrees_with_its_facts(tmp_path):
    _, example = base.__doc__.split("`DATASETS`:\n", 1)
    namespace = {}
    exec(textwrap.dedent(example.partition("\nA suite")[0]), namespace)
    source = namespace["DATASETS"]["squares"]
    arrays = base.check_arrays(source.read(tmp_path), source.facts)
    assert arrays.train.shape == (20, 3, 8, 8)
    assert set(arrays.train[arrays.train_labels == 1].unique().tolist()) == {255}
