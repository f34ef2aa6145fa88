"""A user's own file, or an installed package, in a suite."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from bench import data
from bench.errors import BenchError, ConfigError
from bench.plugins import Registry
from bench.suite import Suite, read
from distillers.base import FeatureName

from .conftest import BASE, Read, Write

PLUGIN = '''\
"""All three kinds."""

from typing import Literal

import torch
from torch import nn

from bench.data import Arrays, Facts
from distillers import Distiller, Setting


class Gap(Distiller):
    """L = mean |z_s - z_t|"""

    paper = "none"
    reads = ("logits",)
    note = "an example"

    def __init__(
        self, setting: Setting, *, power: float = 1.0, kind: Literal["l1", "l2"] = "l1"
    ) -> None:
        super().__init__(setting)
        self.power = power

    def forward(self, student, teacher, batch):
        return (student.logits - teacher.logits).abs().mean() ** self.power


class Dots:
    """Ten random images of two classes."""

    facts = Facts("dots", 2, 8, 10, 10, (0.5,) * 3, (0.5,) * 3, "none")

    def read(self, root):
        images = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
        labels = torch.arange(10) % 2
        return Arrays(images, labels, images, labels)


NETWORKS = {"flat": lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(192, classes))}
DATASETS = {"dots": Dots()}
'''

SUITE = """\
suite_version: 1
title: A test
dataset: dots
pairs: [{teacher: flat, student: flat}]
methods:
  gap: {ce: 1, gap: {weight: 2, power: 3}}
plugins: [mine.py]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(BenchError) as error:
        Registry().load(path)
    return str(error.value)


def test_suite_uses_a_plugins_distiller_network_and_data_set(mine: Path, reading: Read) -> None:
    suite = reading(text=SUITE)
    assert suite.plugins == (mine.resolve(),)
    assert suite.data.name == "dots"
    (method,) = suite.methods
    assert method.terms["gap"].options == {"power": 3.0, "kind": "l1"}
    assert method.note == "an example"
    registry = suite.registry
    assert registry.distiller("gap").__name__ == "Gap"
    assert data.facts(suite.data, None, registry.datasets).classes == 2
    assert isinstance(registry.build_network("flat", 2), torch.nn.Module)
    assert {"gap", "kd"} < {*registry.names("distiller")}
    assert {"flat", "vgg8"} < {*registry.names("network")}
    assert {"dots", "cifar100"} < {*registry.names("dataset")}


SENSORS = """\
suite_version: 1
title: A test
dataset: dots
views: {teacher: warm, student: channels:0+2}
recipe: {crop: 0, epochs: 1, milestones: []}
pairs:
  - {teacher: resnet8, student: resnet8}
methods: {kd: {kd: 1}}
evaluate: {calibration: true}
plugins: [mine.py]
"""


def test_randaugment_and_corruptions_of_other_than_three_channels_are_refused(
    mine: Path, reading: Read
) -> None:
    channels = '(0.5,) * 5, (0.5,) * 5, "none", modalities=(("warm", (4,)),)'
    mine.write_text(PLUGIN.replace('(0.5,) * 3, (0.5,) * 3, "none"', channels))
    assert reading(text=SENSORS).pairs[0].teacher.view == "warm"
    text = SENSORS.replace("crop: 0", "crop: 0, randaugment: 9").replace(
        "calibration: true", "corrupted: true"
    )
    student = "student: resnet8"
    text = text.replace(f"{student}}}", f"{student}, recipe: {{randaugment: 3}}}}")
    with pytest.raises(ConfigError) as error:
        reading(text=text)
    needs = "needs images of 3 channels, and these have 5"
    lines = str(error.value).splitlines()
    assert [line.partition("s.yaml:")[2] for line in lines] == [
        f"5  recipe.randaugment: found the number 9; RandAugment {needs}. Allowed: 0",
        f"7  pairs.0.recipe.randaugment: found the number 3; RandAugment {needs}. Allowed: 0",
        "9  evaluate.corrupted: corruptions need images of 3 channels, and these have 5. "
        "Allowed: leave out corrupted",
    ]


def test_the_source_of_each_name_is_known(mine: Path) -> None:
    registry = Registry.of([mine])
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert registry.source_of("distiller", "gap") == digest
    assert registry.source_of("network", "flat") == digest
    assert registry.source_of("dataset", "dots") == digest
    assert registry.source_of("distiller", "kd") is None
    assert registry.source_of("network", "gap") is None


def test_loading_a_file_twice_runs_it_once(mine: Path) -> None:
    registry = Registry.of([mine, mine.parent / "." / mine.name])
    again = Registry.of([mine])
    assert registry.distiller("gap") is again.distiller("gap")
    assert registry == again != Registry()
    assert hash(registry) == hash(again)


def test_names_are_defined_once(mine: Path) -> None:
    other = mine.with_name("other.py")
    other.write_text(PLUGIN)
    with pytest.raises(BenchError, match="^other.py: a distiller 'gap' exists already; choose an"):
        Registry.of([mine, other])


def test_suites_with_different_plugins_live_in_one_process(tmp_path: Path) -> None:
    def suite(folder: str, power: str) -> Suite:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.py").write_text(PLUGIN.replace("= 1.0", f"= {power}"))
        path = tmp_path / folder / "s.yaml"
        path.write_text(SUITE.replace("power: 3", "kind: l1"))
        return read(path)

    first, second, edited = suite("one", "1.0"), suite("two", "2.0"), suite("one", "3.0")
    plain = tmp_path / "plain.yaml"
    plain.write_text(BASE)
    assert "gap" not in read(plain).registry.names("distiller")
    powers = [s.methods[0].terms["gap"].options["power"] for s in (first, second, edited)]
    assert powers == [1.0, 2.0, 3.0]
    assert len({s.registry.distiller("gap") for s in (first, second, edited)}) == 3
    assert len({s.registry.source_of("distiller", "gap") for s in (first, second, edited)}) == 3
    assert len({s.registry for s in (first, second, edited)}) == 3


def test_invalid_options_of_a_plugin_are_refused(mine: Path, reading: Read) -> None:
    with pytest.raises(ConfigError) as error:
        reading(text=SUITE.replace("power: 3", "power: x, kind: l11, pwer: 1"))
    assert [line.split("  ", 1)[1] for line in error.value.lines] == [
        "methods.gap.gap.power: found the text 'x'. Allowed: a number",
        "methods.gap.gap.kind: found the text 'l11'. Did you mean 'l1'? Allowed: l1, l2",
        "methods.gap.gap.pwer: no option 'pwer'. Did you mean 'power'? Gap takes power, kind",
    ]


HEAD = "from distillers import Distiller\n"
CLASS = HEAD + "class Own(Distiller):\n    paper = ''\n    reads = ('logits',)\n"
TAKEN = "exists already; choose another name"
FEATURES = ", ".join(map(repr, get_args(FeatureName)))
READS = f"Own.reads is not a tuple of features. Allowed in it: {FEATURES}"
FORWARD = "    def forward(self, s, t, b): return 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\n\nimport nothing_such\n",
            "mine.py:3: ModuleNotFoundError: No module named 'nothing_such'",
        ),
        ("x = 1\ny = (\n", "mine.py:2: SyntaxError: '(' was never closed"),
        ("def f():\n    1 / 0\n\nf()\n", "mine.py:2: ZeroDivisionError: division by zero"),
        (
            "import json\njson.loads('x')\n",
            "mine.py:2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        ),
        ("raise SystemExit(0)\n", "mine.py:1: SystemExit: 0"),
        (
            "x = 1\n",
            "mine.py defines nothing to benchmark. "
            "Allowed: subclasses of Distiller, NETWORKS = {…}, DATASETS = {…}",
        ),
        ("NETWORKS = [1]\n", "mine.py: NETWORKS is not a dict with names as keys"),
        (
            "NETWORKS = {'resnet8': 1}\n",
            f"mine.py: a network 'resnet8' {TAKEN}",
        ),
        (
            CLASS.replace("('logits',)", "('logits')") + FORWARD,
            f"mine.py:2: {READS}",
        ),
        (
            CLASS.replace("logits", "logit") + FORWARD,
            f"mine.py:2: {READS}",
        ),
        (
            CLASS.replace("paper", "papers") + FORWARD,
            "mine.py:2: Own.paper is missing. Allowed: a text that names the source",
        ),
        (
            CLASS.replace("Own", "KD") + FORWARD,
            f"mine.py: a distiller 'kd' {TAKEN}",
        ),
        (
            CLASS + FORWARD + "    def __init__(self): pass\n",
            "mine.py:2: Own.__init__ takes no setting. Allowed: (self, setting, *, options)",
        ),
        (
            CLASS + FORWARD + "    def __init__(self, setting, *, weight: float = 1.0): pass\n",
            "mine.py:2: Own: rename the option 'weight', because suites already use this key",
        ),
        (
            CLASS + FORWARD + "    def __init__(self, setting, *, x: 'Nope' = 1): pass\n",
            "mine.py:2: Own.__init__ has types that are not defined: name 'Nope' is not defined",
        ),
    ],
)
def test_invalid_plugin_file_is_refused_with_its_line(mine: Path, text: str, message: str) -> None:
    assert refused(mine, text) == message


def test_repaired_plugin_file_is_loaded(mine: Path) -> None:
    refused(mine, "1 / 0")
    mine.write_text(CLASS + FORWARD)
    assert "own" in Registry.of([mine]).names("distiller")


def test_plugin_errors_name_the_suites_line(write: Write, mine: Path, reading: Read) -> None:
    (mine.parent / "broken.py").write_text("1 / 0")
    text = SUITE.replace("[mine.py]", "\n  - mine.py\n  - mime.py\n  - broken.py")
    with pytest.raises(ConfigError) as error:
        reading(text=text)
    path = mine.parent / "s.yaml"
    assert error.value.lines == (
        f"{path}:9  plugins.1: no file '{mine.parent / 'mime.py'}'. Did you mean 'mine.py'?",
        f"{path}:10  plugins.2: broken.py:1: ZeroDivisionError: division by zero",
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with an entry point, as pip would leave it."""
    site = tmp_path / "site"
    package, facts = site / "gap_package", site / "gap_package-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text(
        "from gap_package.gap import Gap\nfrom distillers import Distiller\n"
    )
    (package / "gap.py").write_text(PLUGIN)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gap_package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[distillbench.plugins]\ngap = gap_package\n")
    monkeypatch.syspath_prepend(site)
    yield site
    for name in ("gap_package", "gap_package.gap"):
        sys.modules.pop(name, None)


def test_entry_point_is_loaded(installed: Path, reading: Read) -> None:
    suite = reading(text=SUITE.replace("dots", "cifar100").replace("flat", "vgg8")[:-19])
    assert suite.methods[0].terms["gap"].weight == 2.0
    before = suite.registry.source_of("distiller", "gap")
    (installed / "gap_package/unused.py").write_text("")
    assert Registry.of([]).source_of("distiller", "gap") != before


@pytest.mark.case("plugin-modules")
@pytest.mark.parametrize(
    "imported",
    [
        "import helper",
        "from helper import scale",
        "from . import helper",
        "from .helper import scale",
        "import part.helper",
        "from part import helper",
        "from .part.helper import scale",
        "def late():\n    import helper",
    ],
)
def test_an_edited_module_beside_a_plugin_changes_its_hash(mine: Path, imported: str) -> None:
    (mine.parent / "part").mkdir()
    (mine.parent / "part/__init__.py").write_text("")
    helpers = [mine.parent / "helper.py", mine.parent / "part/helper.py"]
    for helper in helpers:
        helper.write_text("def scale(x): return x\n")
    mine.write_text(f"{PLUGIN}\n\n{imported}\n")
    before = Registry.of([mine]).source_of("distiller", "gap")
    for helper in helpers:
        helper.write_text("def scale(x): return 2\n")
    assert Registry.of([mine]).source_of("distiller", "gap") != before


@pytest.mark.case("plugin-modules")
def test_a_module_that_a_sibling_imports_changes_the_hash(mine: Path) -> None:
    folder = mine.parent
    mine.write_text(f"import outer\n{PLUGIN}")
    (folder / "outer.py").write_text("import inner_of_outer\n")
    (folder / "inner_of_outer.py").write_text("VALUE = 1\n")
    before = Registry.of([mine]).source_of("distiller", "gap")
    (folder / "inner_of_outer.py").write_text("VALUE = 2\n")
    assert Registry.of([mine]).source_of("distiller", "gap") != before


@pytest.mark.case("plugin-modules")
def test_files_that_a_plugin_does_not_import_leave_its_hash(mine: Path) -> None:
    before = Registry.of([mine]).source_of("distiller", "gap")
    assert before == hashlib.sha256(mine.read_bytes()).hexdigest()
    (mine.parent / "other.py").write_text("1 / 0\n")
    assert Registry.of([mine]).source_of("distiller", "gap") == before


@pytest.mark.case("plugin-modules")
def test_an_edited_sibling_is_executed_again(mine: Path) -> None:
    mine.write_text(f"from sibling_power import POWER\n{PLUGIN}\nGap.power_of_file = POWER\n")
    for power in (1, 2):
        (mine.parent / "sibling_power.py").write_text(f"POWER = {power}\n")
        assert Registry.of([mine]).distiller("gap").power_of_file == power


@pytest.mark.case("plugin-modules")
def test_two_folders_can_have_siblings_of_one_name(tmp_path: Path) -> None:
    for folder, power in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shared_name.py").write_text(f"POWER = {power}\n")
        text = f"from shared_name import POWER\n{PLUGIN}\nGap.power_of_file = POWER\n"
        (tmp_path / folder / "mine.py").write_text(text)
    registries = [Registry.of([tmp_path / folder / "mine.py"]) for folder in "ab"]
    assert [registry.distiller("gap").power_of_file for registry in registries] == [1, 2]


@pytest.mark.case("plugin-modules")
def test_a_distiller_of_a_sibling_is_part_of_the_plugin(mine: Path) -> None:
    (mine.parent / "losses_of_mine.py").write_text(PLUGIN)
    mine.write_text("from losses_of_mine import Gap\n")
    registry = Registry.of([mine])
    assert "gap" in registry.names("distiller")
    assert registry.names("network") == Registry.of([]).names("network")


def test_an_error_in_a_sibling_is_reported_with_its_line(mine: Path) -> None:
    (mine.parent / "broken_sibling.py").write_text("\n1 / 0\n")
    mine.write_text(f"import broken_sibling\n{PLUGIN}")
    message = "mine.py:1: ZeroDivisionError: division by zero (broken_sibling.py:2)"
    assert refused(mine, mine.read_text()) == message


def test_a_distiller_cannot_have_the_name_of_a_key(mine: Path) -> None:
    assert "Label: methods in suites already have a key label; rename the class" in refused(
        mine, PLUGIN.replace("Gap", "Label")
    )


def test_broken_entry_point_is_reported(installed: Path, reading: Read) -> None:
    (installed / "gap_package/gap.py").write_text("1 / 0")
    with pytest.raises(ConfigError) as error:
        reading()
    assert str(error.value).endswith(
        "s.yaml:1  entry point 'gap' (gap_package) cannot be loaded: "
        "ZeroDivisionError: division by zero"
    )


def test_missing_required_option_is_refused(mine: Path, reading: Read) -> None:
    mine.write_text(PLUGIN.replace("power: float = 1.0", "power: float"))
    with pytest.raises(ConfigError) as error:
        reading(text=SUITE.replace("power: 3", "kind: l2"))
    assert str(error.value).endswith("methods.gap.gap.power: missing. Gap requires this option")
    suite = reading("options: {gap: {power: 2}}\n", text=SUITE.replace("power: 3", "kind: l2"))
    assert suite.methods[0].terms["gap"].options == {"power": 2.0, "kind": "l2"}


@pytest.mark.case("plugin-modules")
@pytest.mark.parametrize(
    ("head", "file", "text"),
    [
        ("import spread.helper\nV = spread.helper.V", "spread/helper.py", "V = {}"),
        ("from spread_2 import helper\nV = helper.V", "spread_2/helper.py", "V = {}"),
        ("import a_1.b_1.c_1\nV = a_1.b_1.c_1.V", "a_1/b_1/c_1.py", "V = {}"),
        ("V = __import__('by_name').V", "by_name.py", "V = {}"),
        (
            "import importlib\nV = importlib.import_module('.late', __package__).V",
            "late.py",
            "V = {}",
        ),
        (
            "import json\nfrom pathlib import Path\n"
            "V = json.loads((Path(__file__).parent / 'data' / 'v.json').read_text())",
            "data/v.json",
            "{}",
        ),
        (
            "import sys\nfrom pathlib import Path\n"
            "sys.path.insert(0, str(Path(__file__).parent / 'src'))\nfrom in_src.m import V",
            "src/in_src/m.py",
            "V = {}",
        ),
        ("from outer_1 import V", "inner_1.py", "V = {}"),
    ],
)
def test_whatever_a_plugin_reads_changes_its_hash_and_its_values(
    mine: Path, monkeypatch: pytest.MonkeyPatch, head: str, file: str, text: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (mine.parent / "outer_1.py").write_text("from inner_1 import V\n")
    mine.write_text(f"{head}\n{PLUGIN}\nGap.value = V\n")
    path = mine.parent / file
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = set()
    for value in (1, 2):
        path.write_text(text.format(value))
        registry = Registry.of([mine])
        assert registry.distiller("gap").value == value
        hashes.add(registry.source_of("distiller", "gap"))
        assert registry == Registry.of([mine])
    assert len(hashes) == 2


@pytest.mark.case("plugin-modules")
def test_a_data_file_of_a_package_is_part_of_its_hash(installed: Path) -> None:
    data_file = installed / "gap_package/table.json"
    (installed / "gap_package/__pycache__").mkdir(exist_ok=True)
    hashes = []
    for text, compiled in (("1", "a"), ("1", "b"), ("2", "b")):
        data_file.write_text(text)
        (installed / "gap_package/__pycache__/x.pyc").write_text(compiled)
        hashes.append(Registry.of([]).source_of("distiller", "gap"))
    assert hashes[0] == hashes[1] != hashes[2]
