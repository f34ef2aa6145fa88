"""The JSON Schema of suites and cluster files: complete, true to `bench validate`, committed."""

import copy
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import distillers
from bench.cli.schema import MODELINE
from bench.config import loader
from bench.config.fields import validate
from bench.errors import ConfigError
from bench.execution.cluster import ClusterFile
from bench.plugins import BUILTIN, Registry
from bench.suite import canonical, json_schema, read, shipped
from bench.suite.checks import options
from tests.command import ROOT, bench, wrong
from tests.soak import times
from tests.test_document_commands import DOCUMENTS

SUITES: dict[str, Any] = json_schema.of_suites(BUILTIN)
CLUSTER: dict[str, Any] = json_schema.of_model(ClusterFile, "distillbench cluster file")
GOOD: dict[str, Any] = {
    "suite_version": 1,
    "title": "t",
    "dataset": "cifar100",
    "pairs": [{"teacher": "resnet56", "student": "resnet20"}],
    "methods": {"kd": "papers", "ours": {"ce": 1, "kd": {"weight": 1, "temperature": 2}}},
}


def faults(content: Any, schema: dict[str, Any] = SUITES) -> list[str]:
    """Return the place of each fault that the schema sees."""
    errors = Draft202012Validator(schema).iter_errors(content)
    return [".".join(map(str, error.absolute_path)) for error in errors]


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the good suite with another value at a place, such as `recipe.lr`."""
    content = copy.deepcopy(GOOD)
    *parents, key = place.split(".")
    part: Any = content
    for parent in parents:
        part = part[int(parent)] if isinstance(part, list) else part.setdefault(parent, {})
    part[key] = value
    return content


@pytest.mark.parametrize("schema", [SUITES, CLUSTER], ids=["suite", "cluster"])
def test_schemas_are_valid(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_committed_schema_is_the_one_that_is_printed() -> None:
    committed = (ROOT / "suites" / "schema.json").read_text("utf-8")
    printed = bench("schema").stdout
    assert printed == committed, "stale: bench schema --output suites/schema.json"


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_suites_are_valid_and_name_the_schema_in_their_first_line(path: Path) -> None:
    first, *_ = path.read_text("utf-8").splitlines()
    assert (path.parent / first.removeprefix(MODELINE)).is_file()
    assert faults(loader.load(path).data) == []


BLOCKS = [
    textwrap.dedent(block)
    for page in DOCUMENTS
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_examples_of_the_documentation_are_valid(block: str) -> None:
    content = loader.parse(block, "block").data
    if content.keys() <= {"ray", "slurm"}:
        assert faults(content, CLUSTER) == []
    elif content.keys() <= SUITES["properties"].keys():
        wrong = ["recipe", "methods"] if "# mistakes.yaml" in block else []  # of TROUBLESHOOTING
        assert faults({**GOOD, "plugins": ["my_method.py"], **content}) == wrong


def documented_keys(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the schema of each key, without the conditions on names."""
    if isinstance(schema, dict):
        for key, content in schema.get("properties", {}).items():
            yield f"{place}.{key}", content
        for key, content in schema.items():
            if key not in ("if", "then", "else", "examples", "default"):
                yield from documented_keys(content, f"{place}/{key}")
    elif isinstance(schema, list):
        for content in schema:
            yield from documented_keys(content, place)


@pytest.mark.parametrize("schema", [SUITES, CLUSTER], ids=["suite", "cluster"])
def test_every_key_has_a_description_and_a_default_or_an_example(schema: dict[str, Any]) -> None:
    keys = dict(documented_keys(schema))
    assert len(keys) > 10
    assert {place for place, key in keys.items() if len(key.get("description", "")) < 10} == set()
    assert {
        place for place, key in keys.items() if not key.keys() & {"default", "examples"}
    } == set()
    texts = [key["description"] for key in keys.values()]
    assert [text for text in texts if "Option of" in text] == []


def test_examples_and_defaults_of_keys_are_valid() -> None:
    for place, key in documented_keys(SUITES):
        values = [*key.get("examples", []), *([key["default"]] if "default" in key else [])]
        for value in values:
            assert faults(value, {**key, "$defs": SUITES["$defs"]}) == [], place


def test_every_method_distiller_and_option_is_a_key() -> None:
    methods = SUITES["properties"]["methods"]["oneOf"]
    assert methods[0]["items"]["enum"] == [*methods[1]["properties"]] == [*canonical()]
    for name in distillers.names():
        keys = SUITES["$defs"][f"options.{name}"]["properties"]
        assert list(keys) == list(options(distillers.load(name)))
        assert all(re.search(r"\w", keys[key]["description"]) for key in keys)


VALID = [
    ("seeds", "0-4"),
    ("seeds", "0, 3-4"),
    ("recipe.lr", 5e-4),
    ("recipe.milestones", []),
    ("dataset", {"name": "folder:images", "size": 32}),
    ("teachers.seed", "same"),
    ("teachers.checkpoints", {"resnet56": "weights.pth"}),
    ("views", {"teacher": "rgb", "student": {"channels": [0, 2]}}),
    ("evaluate", {"corrupted": True, "cka": "stages"}),
    ("methods.random", {}),
    ("methods.kd", None),
    ("methods.kd", {"label": "Ours"}),
    ("methods.ours.kd", 0.9),
    ("tune", {"images": 100, "methods": {"kd": {"weight": {"low": 0.1, "high": 10, "log": True}}}}),
    ("tune", {"images": 100, "methods": {"ours": {"kd": {"temperature": [1, 2]}}}}),
    ("x-mine", {"anything": [1]}),
    ("pairs.0.student", "timm:resnet18"),
]


@pytest.mark.parametrize(("place", "value"), VALID)
def test_short_forms_and_ranges_are_valid(place: str, value: Any, tmp_path: Path) -> None:
    content = changed(place, value)
    assert faults(content) == []
    assert validate(content, json_schema.SuiteFile)[1] == []


WRONG = [
    ("titel", "x"),
    ("title", 3),
    ("suite_version", 2),
    ("dataset", "cifar10O"),
    ("dataset", {"name": "cifar10O"}),
    ("dataset", {"name": "cifar100", "per_class": 0}),
    ("recipe.epochs", "240"),
    ("recipe.epochs", 0),
    ("recipe.nesterov", "no"),
    ("recipe.precision", "bf15"),
    ("recipe.momentum", 1),
    ("recipe.epoch", 3),
    ("teachers.recipe", {"lr": 0}),
    ("teachers.seed", "sam"),
    ("teachers.checkpoints", {"resnet56": {"path": "p", "sha256": "12"}}),
    ("seeds", 3),
    ("seeds", []),
    ("pairs", []),
    ("pairs.0.lr", 0.01),
    ("pairs.0.student", "resnet21"),
    ("pairs.0.student", "tim:resnet18"),
    ("pairs.0.teacher", {"pair": "a/b"}),
    ("methods", ["student", "kdd"]),
    ("methods", []),
    ("methods.kd", "paper"),
    ("methods.mine", "papers"),
    ("methods.mine", {"label": "Mine"}),
    ("methods.ours", {"ce": 1, "kdd": 1}),
    ("methods.ours", {"ce": -1}),
    ("methods.ours", {"kd": {"temperature": 2}}),
    ("methods.ours", {"kd": {"weight": 1, "temprature": 2}}),
    ("methods.ours", {"kd": {"weight": 1, "temperature": 0}}),
    ("methods.ours", {"crd": {"weight": 1, "negatives": 16.5}}),
    ("methods.a b", {"ce": 1}),
    ("options", {"crd": {"negative": 1}}),
    ("options", {"kdd": {"x": 1}}),
    ("plugins", "x.py"),
    ("published", "crdd"),
    ("probes", {"stl10": {"kind": "knn"}}),
    ("evaluate", {"cka": "all"}),
    ("tune", {"images": 100, "methods": {"kd": {"temperature": 3}}}),
    ("controls", 1),
    ("networks", {"resnet21": {"stages": ["a"]}}),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_wrong_suites_are_refused_as_by_validate(place: str, value: Any, tmp_path: Path) -> None:
    content = changed(place, value)
    assert faults(content) != []
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError):
        read(path)


@pytest.mark.parametrize("key", ["suite_version", "title", "dataset", "pairs", "methods"])
def test_required_keys_are_required(key: str) -> None:
    assert faults({name: value for name, value in GOOD.items() if name != key}) == [""]


@pytest.mark.parametrize(
    "content", [{"slrum": {}}, {"slurm": {}}, {"ray": {"gpus": -1}}, {"ray": {"address": "x"}}]
)
def test_wrong_cluster_files_are_refused(content: dict[str, Any]) -> None:
    assert faults(content, CLUSTER) != []


PLACES = sorted({place for place, _ in [*VALID, *WRONG]})
VALUES = [value for _, value in [*VALID, *WRONG]]


@pytest.mark.slow
@pytest.mark.soak
@settings(max_examples=times(300, 20_000), derandomize=True, deadline=None, database=None)
@given(st.sampled_from(PLACES), st.sampled_from(VALUES) | st.integers(-1, 9) | st.text(max_size=3))
def test_no_suite_that_bench_accepts_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: str, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "s.yaml"
    content = changed(place, value)
    path.write_text(json.dumps(content))
    try:
        read(path)
    except ConfigError:
        return
    assert faults(content) == []


PLUGIN = '''\
"""A plugin for the schema."""

import torch.nn.functional as F
from distillers import Distiller, Setting


class Cosine(Distiller):
    """L = mean (1 - cos).

    Args:
        setting: Not used.
        power: Exponent of the loss, above 0; 2 by default.
        choice: An object without a JSON type.
    """

    paper = "None. 2026"
    reads = ("logits",)

    def __init__(self, setting: Setting, *, power: float = 2.0, choice: type = int) -> None:
        super().__init__(setting)

    def forward(self, student, teacher, batch):
        return F.mse_loss(student.logits, teacher.logits)
'''


def test_suites_with_plugins_may_have_other_names(here: Path) -> None:
    content = {**changed("methods.ours", {"cosine": {"weight": 1, "x": 2}}), "dataset": "mine"}
    assert faults(content) != []
    assert faults({**content, "plugins": ["mine.py"]}) == []


def test_a_plugin_adds_its_names_and_options(here: Path) -> None:
    (here / "mine.py").write_text(PLUGIN)
    schema = json_schema.of_suites(Registry.of([here / "mine.py"]))
    Draft202012Validator.check_schema(schema)
    text = "Exponent of the loss, above 0; 2 by default."
    power = schema["$defs"]["options.cosine"]["properties"]["power"]
    assert power == {"type": "number", "default": 2.0, "description": text}
    assert faults(changed("methods.ours", {"cosine": 1}), schema) == []
    assert faults(changed("methods.ours", {"cosine": {"weight": 1, "powr": 1}}), schema) != []
    printed = json.loads(bench("schema", "--plugin", "mine.py").stdout)
    assert printed["$defs"].keys() - SUITES["$defs"].keys() == {"options.cosine", "term.cosine"}
    refused = wrong(bench("schema", "--plugin", "mine.py", "--no-plugins"))
    assert "mine.py is not loaded: --no-plugins" in refused


def test_schema_is_written_to_a_file_with_the_line_that_names_it(here: Path) -> None:
    result = bench("schema", "cluster", "--output", "cluster.schema.json")
    assert json.loads((here / "cluster.schema.json").read_text("utf-8")) == CLUSTER
    assert result.stdout.splitlines() == [
        "written: cluster.schema.json",
        f"First line of a file in the same folder: {MODELINE}cluster.schema.json",
    ]
    assert wrong(bench("schema", "--output", "no/s.json")) == "--output no/s.json: no folder 'no'"
