"""From a file to a resolved suite, or to all of its problems."""

import hashlib
import os
from pathlib import Path

import pytest

import distillers
from bench.errors import ConfigError
from bench.suite import canonical, find, read, shipped, warnings

from .conftest import BASE, Read, Write

WRONG = """\
suite_version: 1
titel: x
title: no
dataset: {name: cifar10O, per_class: 0}
recipe: {epochs: "240", lr: 5e-4, nesterov: no, lr: 3}
teachers: {checkpoints: {resnet65: x.pth}}
seeds: 3
pairs:
  - {teacher: resnet32x5, student: resnet8x4}
  - {teacher: resnet56}
  - {teacher: resnet56, student: tim:resnet18}
  - {teacher: resnet56, student: resnet20}
  - {student: resnet20, teacher: resnet56}
methods:
  crd-1k: {ce: 1, crd: {weight: 0.8, negative: 1024}}
  kd: papers
  kdx:
  x: {ce: true, kq: 1}
  y: {ce: {weight: 1, temperature: 3}, crd: {weight: 1, negatives: 1e3}}
  z: {ce: 0}
options: {crd: {negatives: 1_000}, kdd: {x: 1}}
plugins: [nope.py]
"""

NETWORKS = (
    "Allowed: mobilenet_v1, mobilenet_v2, resnet110, resnet14, resnet20, resnet32, resnet32x4, "
    "resnet44, resnet50, resnet56, resnet8, resnet8x4, shufflenet_v1, shufflenet_v2, vgg11, vgg13, "
    "vgg16, vgg19, vgg8, wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2, timm:<name>, torchvision:<name>"
)
METHODS = f"Allowed: {', '.join(sorted(canonical()))}"
DISTILLERS = f"Allowed: {', '.join(distillers.names())}"
WHOLE = "Allowed: a whole number"


def problems(path: Path, *changes: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(path, changes)
    return [line.removeprefix(f"{path}:") for line in error.value.lines]


def test_all_problems_are_reported_in_the_order_of_the_file(write: Write, tmp_path: Path) -> None:
    assert problems(write(WRONG)) == [
        "2  titel: no key 'titel'. Did you mean 'title'? Allowed: suite_version, title, caption, "
        "dataset, recipe, teachers, ensemble, seeds, views, pairs, networks, methods, options, "
        "plugins, published, probes, evaluate, tune, controls",
        "4  dataset.name: no data set 'cifar10O'. Did you mean 'cifar10'? Allowed: cifar10, "
        "cifar100, digits, fashion_mnist, folder:/path/to/images, imagenet, stl10, tiny_imagenet",
        "4  dataset.per_class: found the number 0. Allowed: a whole number of images, at least 1",
        f"5  recipe.epochs: found the text '240'. {WHOLE}, at least 1",
        "5  recipe.lr: duplicate key, first defined on line 5",
        "5  recipe.nesterov: found the text 'no'. Allowed: true or false",
        "6  teachers.checkpoints.resnet65: no teacher 'resnet65'. Did you mean 'resnet56'? "
        "Allowed: resnet32x5, resnet56",
        "7  seeds: found the number 3. "
        "Allowed: a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000",
        f"9  pairs.0.teacher: no network 'resnet32x5'. Did you mean 'resnet32x4'? {NETWORKS}",
        "10  pairs.1.student: missing. Allowed: the name of a network",
        "11  pairs.2.student: no library of networks 'tim'. Did you mean 'timm'? "
        "Allowed: timm, torchvision",
        "13  pairs.4: duplicate pair resnet56/resnet20, first defined on line 12. Allowed: another "
        "pair, or a new `name` for the pair",
        "15  methods.crd-1k.crd.negative: no option 'negative'. Did you mean 'negatives'? "
        "CRD takes width, negatives, temperature, momentum, negatives_from",
        f"17  methods.kdx: no method of the papers 'kdx'. Did you mean 'kd'? {METHODS}",
        "18  methods.x.ce: found true. Allowed: a number, 0 or more",
        f"18  methods.x.kq: no distiller 'kq'. {DISTILLERS}",
        "19  methods.y.ce.temperature: no option 'temperature'. CE takes no options",
        f"19  methods.y.crd.negatives: found the number 1000.0. {WHOLE}, at least 1",
        "20  methods.z: all weights are 0. Allowed: at least one weight above 0",
        f"21  options.crd.negatives: found the text '1_000'. {WHOLE}, at least 1",
        f"21  options.kdd: no distiller 'kdd'. Did you mean 'kd'? {DISTILLERS}",
        f"22  plugins.0: no file '{tmp_path / 'nope.py'}'.",
    ]


def test_options_out_of_range_are_refused(write: Write) -> None:
    methods = """
  kd: {ce: 1, kd: {weight: 1, temperature: 0}}
  wcord: {ce: 1, wcord: {weight: 1, rounds: 10001, momentum: 1.5, local_weight: -1}}
  dcd: {ce: 1, dcd: {weight: 1, width: 1, alpha: 0}}
  crd: papers"""
    added = "options: {crd: {width: 100000, negatives: 0}}"
    assert problems(write(BASE.replace(" [student, kd]", methods), added)) == [
        "7  methods.kd.kd.temperature: found the number 0. Allowed: a number, above 0",
        f"8  methods.wcord.wcord.rounds: found the number 10001. {WHOLE}, at least 1 and at most "
        "10000",
        "8  methods.wcord.wcord.momentum: found the number 1.5. "
        "Allowed: a number, at least 0 and at most 1",
        "8  methods.wcord.wcord.local_weight: found the number -1. Allowed: a number, at least 0",
        f"11  options.crd.width: found the number 100000. {WHOLE}, at least 1 and at most 65536",
        f"11  options.crd.negatives: found the number 0. {WHOLE}, at least 1",
    ]


def test_duplicate_method_is_refused(write: Write) -> None:
    lines = problems(write(BASE.replace("[student, kd]", "\n  - kd\n  - crd\n  - kd")))
    assert lines == ["9  methods.2: duplicate method 'kd', first defined on line 7"]


def test_impossible_selection_and_recipe_are_refused(write: Write) -> None:
    text = BASE.replace("cifar100", "{name: cifar100, per_class: 501}")
    added = "recipe: {momentum: 0}\nteachers: {recipe: {nesterov: true}}\n"
    lines = problems(write(text, added))
    assert len(lines) == 2
    assert lines[0].startswith(
        "3  dataset: cifar100: per_class 501 is not possible; allowed: 1 to "
    )
    sentence = "nesterov needs a momentum. Allowed: nesterov false, or a momentum above 0"
    assert lines[1] == f"8  teachers.recipe.nesterov: {sentence}"


def test_suite_is_resolved(reading: Read) -> None:
    suite = reading("recipe: {lr: 0.1, epochs: 20}\nteachers: {recipe: {epochs: 40}, seed: same}\n")
    (pair,) = suite.pairs
    assert (suite.name, suite.title, suite.seeds, suite.teacher_seed) == (
        "s",
        "A test",
        (0, 1, 2),
        "same",
    )
    assert pair.name == "resnet56/resnet20"
    assert (pair.recipe.lr, pair.recipe.epochs) == (0.1, 20)
    assert (pair.teacher.recipe.lr, pair.teacher.recipe.epochs) == (0.1, 40)
    assert pair.teacher.checkpoint is None
    assert [method.name for method in suite.methods] == ["student", "kd"]
    kd = suite.methods[1]
    assert {name: term.weight for name, term in kd.terms.items()} == {"ce": 0.1, "kd": 0.9}
    assert kd.terms["kd"].options == {"temperature": 4.0}
    assert (kd.label, kd.note) == ("KD", None)


def test_pairs_recipe_changes_only_the_student(reading: Read) -> None:
    pair = "{teacher: resnet56, student: resnet20, recipe: {lr: 1e-2}}"
    text = BASE.replace("{teacher: resnet56, student: resnet20}", pair)
    suite = reading("recipe: {lr: 0.1}\n", text=text)
    assert suite.pairs[0].recipe.lr == 0.01
    assert suite.pairs[0].teacher.recipe.lr == 0.1


def test_group_is_an_optional_text_of_a_pair(write: Write) -> None:
    pairs = [
        "{teacher: resnet56, student: resnet20, group: same architecture style}",
        "{teacher: resnet56, student: vgg8}",
        "{teacher: vgg13, student: vgg8, group: [x]}",
    ]
    text = BASE.replace("{teacher: resnet56, student: resnet20}", "\n  - ".join(pairs[:2]))
    suite = read(write(text))
    assert [pair.group for pair in suite.pairs] == ["same architecture style", ""]
    assert suite.origins["pairs.0.group"] == "suite:5"
    assert "pairs.1.group" not in suite.origins
    assert problems(write(text.replace(pairs[1], pairs[2]))) == [
        "6  pairs.1.group: found a list. Allowed: one line of at most 200 characters"
    ]


OWN = """\
suite_version: 1
title: Own methods
dataset: cifar100
pairs: [{teacher: resnet56, student: resnet20}]
methods:
  wcord: papers
  crd:
  crd-4: {ce: 1, crd: {weight: 0.5, negatives: 4}}
  kd: {ce: 0.5, kd: 1}
options:
  crd: {negatives: 64, temperature: 1}
  wcord: {local_weight: 0}
"""


def test_own_options_override_suite_options_override_papers(reading: Read) -> None:
    suite = reading(text=OWN)
    method = {m.name: m for m in suite.methods}
    crd, crd_4 = method["crd"].terms["crd"], method["crd-4"].terms["crd"]
    assert (crd.weight, crd.options["negatives"], crd.options["temperature"]) == (0.8, 64, 1.0)
    assert (crd_4.weight, crd_4.options["negatives"], crd_4.options["temperature"]) == (0.5, 4, 1.0)
    assert type(crd_4.options["temperature"]) is float
    wcord = method["wcord"]
    assert wcord.terms["wcord"].options["local_weight"] == 0.0
    assert (wcord.note, method["crd"].note) == ("reconstruction", None)
    assert method["kd"].terms["ce"].weight == 0.5


def test_each_value_has_its_origin(reading: Read) -> None:
    text = OWN + "recipe: {lr: 0.1, epochs: 9}\nteachers: {recipe: {lr: 1}}\n"
    suite = reading("", "recipe.epochs=2", "options.crd.temperature=2", "seeds=0-4", text=text)
    origins = suite.origins
    expected = {
        "title": "suite:2",
        "caption": "default",
        "dataset.name": "suite:3",
        "dataset.validation": "default",
        "recipe.lr": "suite:13",
        "recipe.epochs": "command line",
        "recipe.momentum": "papers",
        "teachers.seed": "papers",
        "teachers.recipe.lr": "suite:14",
        "seeds": "command line",
        "pairs.0.student": "suite:4",
        "methods.wcord": "suite:6",
        "methods.wcord.wcord.weight": "papers",
        "methods.wcord.wcord.global_weight": "papers",
        "methods.wcord.wcord.local_weight": "suite:12",
        "methods.wcord.wcord.rounds": "default",
        "methods.crd.crd.negatives": "suite:11",
        "methods.crd.crd.temperature": "command line",
        "methods.crd.crd.width": "default",
        "methods.crd-4.crd.weight": "suite:8",
        "methods.crd-4.crd.negatives": "suite:8",
        "methods.crd-4.ce.weight": "suite:8",
        "methods.kd.kd.temperature": "default",
    }
    assert {key: origins.get(key) for key in expected} == expected
    assert "pairs.0.recipe.lr" not in origins
    assert "teachers.recipe.epochs" not in origins


def test_changes_override_the_file(reading: Read) -> None:
    suite = reading(
        "",
        "recipe.epochs=2",
        "recipe.lr=1e-3",
        "recipe.lr=5e-4",
        "dataset.per_class=50",
        "teachers.seed=same",
        "pairs.0.recipe.lr=0.1",
        "methods={kd: papers, mine: {ce: 1, kd: 0.5}}",
        "methods.mine.kd.temperature=2",
        'seeds="0,4"',
        "title=a=b",
    )
    assert (suite.recipe.epochs, suite.recipe.lr) == (2, 5e-4)
    assert (suite.data.name, suite.data.per_class) == ("cifar100", 50)
    assert suite.teacher_seed == "same"
    assert suite.pairs[0].recipe.lr == 0.1
    assert suite.methods[1].terms["kd"].weight == 0.5
    assert suite.methods[1].terms["kd"].options == {"temperature": 2.0}
    assert suite.seeds == (0, 4)
    assert suite.title == "a=b"


def test_key_with_dots_can_be_changed(write: Write) -> None:
    text = BASE.replace("[student, kd]", "{kd-2.5: {ce: 1, kd: 1}}")
    suite = read(write(text), ["methods.kd-2.5.kd.temperature=2.5"])
    assert suite.methods[0].terms["kd"].options == {"temperature": 2.5}


def test_invalid_changes_are_reported_after_the_files_problems(write: Write) -> None:
    path = write(BASE.replace("A test", "3"))
    lines = problems(
        path,
        "recipe.epoch=2",
        "recipe.lr=fast",
        "recipe.decay=[",
        "pairs.7.student=vgg8",
        "pairs.0.student=vgg9",
        "methods.kd=1",
        "title.x=1",
        "foo",
        "seeds=2",
        "teachers={seed: x}",
    )
    assert lines == [
        "2  title: found the number 3. Allowed: one line of at most 200 characters",
        "--set recipe.lr=fast: found the text 'fast'. Allowed: a number above 0",
        "--set recipe.epoch=2: no key 'epoch'. Did you mean 'epochs'? Allowed: epochs, "
        "batch_size, lr, milestones, decay, momentum, weight_decay, nesterov, crop, flip, "
        "resized_crop, precision, evaluate_every, randaugment, erasing, mixup, cutmix, smoothing, "
        "optimizer, schedule, warmup, min_lr, clip, ema, layer_decay, drop_path",
        "--set teachers={seed: x}: teachers.seed: found the text 'x'. "
        "Allowed: a whole number, 0 or more, or same (the student's seed)",
        "--set seeds=2: found the number 2. "
        "Allowed: a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000",
        f"--set pairs.0.student=vgg9: no network 'vgg9'. Did you mean 'vgg8'? {NETWORKS}".replace(
            "Did you mean 'vgg8'? ", "Did you mean 'vgg19'? "
        ),
        "--set recipe.decay=[: not YAML: expected the node content, but found '<stream end>' "
        "(column 2)",
        "--set pairs.7.student=vgg8: no item '7' in this list. Allowed: 0 to 0",
        "--set methods.kd=1: no item 'kd' in this list. Allowed: 0 to 1",
        "--set title.x=1: found the number 3 at title, which has no keys",
        "--set foo: not a change. Allowed: key=value, e.g. recipe.epochs=2",
    ]


@pytest.mark.case("all-mistakes")
def test_a_missing_weight_and_a_misspelt_option_are_reported_together(write: Write) -> None:
    text = BASE.replace("[student, kd]", "{kd: {ce: 1, kd: {temprature: 4}}}")
    weight, option = problems(write(text))
    assert "methods.kd.kd.weight: missing" in weight
    assert "no option 'temprature'. Did you mean 'temperature'?" in option


@pytest.mark.case("batch-size-one")
@pytest.mark.parametrize("place", ["recipe", "teachers.recipe", "pairs.0.recipe"])
def test_batches_of_one_image_are_refused(write: Write, place: str) -> None:
    (line,) = problems(write(BASE), f"{place}.batch_size=1")
    assert "batch_size=1: found the number 1. Allowed: a whole number, at least 2" in line


@pytest.mark.case("crop-too-large")
@pytest.mark.parametrize("place", ["recipe", "teachers.recipe", "pairs.0.recipe"])
def test_padding_larger_than_the_image_is_refused(write: Write, place: str) -> None:
    (line,) = problems(write(BASE), f"{place}.crop=33")
    assert (
        "crop=33: found the number 33. Allowed: at most 32, the side of an image in pixels" in line
    )
    read(write(BASE), [f"{place}.crop=32"])
    read(write(BASE), [f"{place}.crop=33", "dataset={name: cifar100, size: 48}"])


@pytest.mark.case("unique-labels")
def test_a_canonical_name_with_other_distillers_has_no_canonical_label(write: Write) -> None:
    methods = "{student: {ce: 0.1, kd: 0.9}, kd: {ce: 1}, at: {ce: 1, at: 5}}"
    suite = read(write(BASE.replace("[student, kd]", methods)))
    assert [method.label for method in suite.methods] == ["student", "kd", "AT"]


@pytest.mark.case("unique-labels")
def test_methods_can_have_labels(write: Write) -> None:
    methods = '{kd: {label: Hinton}, ours: {label: "Ours (T=1)", ce: 1, kd: 1}, crd: papers}'
    suite = read(write(BASE.replace("[student, kd]", methods)))
    assert [method.label for method in suite.methods] == ["Hinton", "Ours (T=1)", "CRD"]
    assert list(suite.methods[0].terms) == list(suite.methods[1].terms) == ["ce", "kd"]
    assert suite.methods[0].terms["kd"].weight == 0.9


@pytest.mark.case("unique-labels")
def test_duplicate_labels_are_refused(write: Write) -> None:
    methods = "{student: papers, mine: {label: Student, ce: 1}}"
    (line,) = problems(write(BASE.replace("[student, kd]", methods)))
    assert "methods.mine: has the label 'Student' of method 'student'" in line


@pytest.mark.case("unique-labels")
@pytest.mark.parametrize("label", ["'X '", "' X'", "Teacher"])
def test_labels_that_look_equal_are_refused(label: str, write: Write) -> None:
    methods = f"{{a: {{label: X, ce: 1}}, b: {{label: {label}, ce: 2}}}}"
    (line,) = problems(write(BASE.replace("[student, kd]", methods)))
    owner = "'Teacher' of the teachers' row" if label == "Teacher" else "'X' of method 'a'"
    assert f"methods.b: has the label {owner}. Allowed: a new `label` for this method" in line


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        (BASE.replace("student, kd", "student, KD"), "Did you mean 'kd'?"),
        (BASE + "SEEDS: [0]\n", "Did you mean 'seeds'?"),
        (BASE + "recipe: {flip: False}\n", "Did you mean 'false'?"),
        (BASE.replace("suite_version: 1", "suite_version: '1'"), "Write it without quotes."),
    ],
)
def test_the_nearest_match_ignores_case(text: str, guess: str, write: Write) -> None:
    assert any(guess in line for line in problems(write(text)))


@pytest.mark.parametrize("name", ["loop.yaml", "missing.yaml", "pipe.yaml"])
def test_a_path_that_is_not_a_file_is_described(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "missing.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError) as error:
        find(tmp_path / name)
    kind = "not a file" if name == "pipe.yaml" else "a link to a missing file"
    assert f"{name}: {kind}. Allowed: a suite file" in str(error.value)


def test_a_name_too_long_for_the_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{'é' * 76}.yaml"
    path.write_text(BASE)
    (line,) = problems(path)
    assert "the file's name has 152 bytes. Allowed: at most 150" in line


@pytest.mark.case("aliases")
def test_top_level_keys_that_begin_with_x_are_for_merging(write: Write) -> None:
    text = "x-base: &base {ce: 1}\n" + BASE.replace("[student, kd]", "{mine: {<<: *base, kd: 2}}")
    (method,) = read(write(text)).methods
    assert {name: term.weight for name, term in method.terms.items()} == {"ce": 1, "kd": 2}


@pytest.mark.case("one-table")
def test_pairs_of_all_libraries_are_in_one_group(write: Write) -> None:
    more = "  - {teacher: timm:resnet18, student: resnet8}\n"
    suite = read(write(BASE.replace("pairs:\n", f"pairs:\n{more}")))
    assert len(suite.pairs) > 1
    assert {pair.group for pair in suite.pairs} == {""}


def test_networks_of_torchvision_are_checked(reading: Read, write: Write) -> None:
    good = BASE.replace("resnet56", "torchvision:resnet18")
    assert reading(text=good).pairs[0].name == "torchvision:resnet18/resnet20"
    (line,) = problems(write(good.replace("resnet18", "resnet19")))
    assert line.startswith(
        "5  pairs.0.teacher: no network 'resnet19' in torchvision. Did you mean 'resnet18'?"
    )


def test_checkpoint_is_identified_by_its_sha256(write: Write, tmp_path: Path) -> None:
    (tmp_path / "t.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    added = "teachers: {checkpoints: {resnet56: {path: t.pth, top1: 72.34}}}\n"
    for text in (added, added.replace("{path: t.pth, top1: 72.34}", "t.pth")):
        checkpoint = read(write(added=text)).pairs[0].teacher.checkpoint
        assert checkpoint is not None
        assert (checkpoint.path, checkpoint.sha256) == (tmp_path / "t.pth", digest)
        assert checkpoint.top1 == (72.34 if "top1" in text else None)
    other_digest = "0" * 64
    absent = added.replace("t.pth", f"u.pth, sha256: {other_digest}")
    assert read(write(added=absent)).pairs[0].teacher.checkpoint.sha256 == other_digest
    assert problems(write(added=added.replace("t.pth", f"t.pth, sha256: {other_digest}"))) == [
        f"7  teachers.checkpoints.resnet56: the SHA-256 of '{tmp_path / 't.pth'}' is {digest}. "
        f"Allowed: {other_digest}"
    ]
    assert problems(write(added=added.replace("t.pth", "u.pth"))) == [
        f"7  teachers.checkpoints.resnet56: no file '{tmp_path / 'u.pth'}'. "
        "Allowed: an existing file; or the key sha256, if another machine has the file"
    ]


def test_deviations_from_the_papers_are_warnings(reading: Read) -> None:
    added = "recipe: {batch_size: 128, epochs: 200}\nseeds: [0]\noptions: {wcord: {negatives: 1}}\n"
    text = BASE.replace("student: resnet20", "student: mobilenet_v2")
    suite = reading(added, text=text.replace("[student, kd]", "[sp, kd, dcd+kd, itrd, crd]"))
    assert warnings(suite) == [
        "seeds: 1 seed is too few to compare methods; the papers use 3 or 5",
        "options.wcord: no method of this suite contains wcord",
        "pairs.0: mobilenet_v2 is trained with lr 0.05; the papers use 0.01 (recipe: {lr: 0.01})",
        "recipe.milestones: training ends before 210, so lr is not reduced there",
        "recipe.batch_size: 128; the weights of sp, dcd+kd, itrd are for batches of 64, because "
        "these losses compare the samples of a batch",
    ]
    assert warnings(reading()) == []


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_suites_are_valid(path: Path) -> None:
    read(path)


def test_shipped_suites_have_the_pairs_of_the_papers() -> None:
    same, cross = read(find("cifar100_same_arch")), read(find("suites/cifar100_cross_arch.yaml"))
    assert [pair.name for pair in same.pairs] == [
        "wrn_40_2/wrn_16_2",
        "wrn_40_2/wrn_40_1",
        "resnet56/resnet20",
        "resnet110/resnet20",
        "resnet110/resnet32",
        "resnet32x4/resnet8x4",
        "vgg13/vgg8",
    ]
    assert [(pair.name, pair.recipe.lr) for pair in cross.pairs] == [
        ("vgg13/mobilenet_v2", 0.01),
        ("resnet50/mobilenet_v2", 0.01),
        ("resnet50/vgg8", 0.05),
        ("resnet32x4/shufflenet_v1", 0.01),
        ("resnet32x4/shufflenet_v2", 0.01),
        ("wrn_40_2/shufflenet_v1", 0.01),
    ]
    assert (len(same.seeds), len(cross.seeds)) == (5, 3)
    assert [len(s.methods) for s in (same, cross)] == [14, 14]
    assert warnings(same) == warnings(cross) == []
    assert {pair.teacher.recipe.lr for pair in cross.pairs} == {0.05}


def test_find_returns_files_and_shipped_suites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    path = write()
    assert find(path) == path
    monkeypatch.chdir(tmp_path)
    assert find("s.yaml") == Path("s.yaml")
    table = next(p for p in shipped() if p.stem == "cifar100_same_arch")
    for name in ("cifar100_same_arch", "cifar100_same_arch.yaml", "suites/cifar100_same_arch.yaml"):
        assert find(name) == table
    with pytest.raises(ConfigError) as error:
        find("cifar100_same_arhc")
    names = ", ".join(p.stem for p in shipped())
    assert str(error.value) == (
        "cifar100_same_arhc: no such suite. Did you mean 'cifar100_same_arch'? "
        f"Allowed: a suite file, {names}"
    )
    with pytest.raises(ConfigError, match=r"^elsewhere/cifar100_same_arch.yaml: no such suite"):
        find("elsewhere/cifar100_same_arch.yaml")
