"""Folders as users have them: deep images, odd names, other files, broken files, swapped files."""

import io
import os
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import data
from bench.data import Selection, fingerprint
from bench.data.folder import Folder
from bench.data.images import decode
from bench.errors import BenchError
from tests.data.toys import image_folder, write

COUNTS = {"train": {"cat": 3, "dog": 3}, "val": {"cat": 2, "dog": 2}}
RAMP = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)  # 0, 257, 514, …
EXPECTED = np.arange(256, dtype=np.uint8).reshape(16, 16)


def folder(top: Path) -> Folder:
    return Folder(top, 8, top)


def fingerprint_of(top: Path) -> str:
    return folder(top).facts.fingerprint


def grey(path: Path) -> np.ndarray:
    picture = decode(path, 16)
    assert picture.mode == "RGB"
    pixels = np.asarray(picture)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    return pixels[..., 0]


@pytest.mark.case("deep-images")
@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_images_are_scaled(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 16 16 65535\n" + RAMP.astype(">u2").tobytes())
    else:
        Image.fromarray(RAMP).save(path)
    assert np.array_equal(grey(path), EXPECTED)


@pytest.mark.case("deep-images")
def test_big_endian_tiff_is_scaled(tmp_path: Path) -> None:
    big = Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes())
    big.save(tmp_path / "x.tiff")
    assert np.array_equal(grey(tmp_path / "x.tiff"), EXPECTED)


@pytest.mark.case("deep-images")
def test_floats_from_0_to_1_are_scaled(tmp_path: Path) -> None:
    Image.fromarray((EXPECTED / 255).astype(np.float32)).save(tmp_path / "x.tiff")
    assert np.array_equal(grey(tmp_path / "x.tiff"), EXPECTED)


@pytest.mark.case("deep-images")
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (EXPECTED.astype(np.float32), "its numbers are 0 to 255"),
        (EXPECTED.astype(np.float32) / 255 - 1, "its numbers are -1 to 0"),
        (np.full((16, 16), np.nan, np.float32), "its numbers are nan to nan"),
        (RAMP.astype(np.int32) * 30_000, "Allowed: unsigned integers of 8 or 16 bits"),
    ],
)
def test_other_numbers_are_refused_by_name(
    pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / "deep.tiff")
    with pytest.raises(BenchError, match=r"deep\.tiff cannot be read as an image") as error:
        decode(tmp_path / "deep.tiff", 16)
    assert message in str(error.value)


@pytest.mark.case("deep-images")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_8_bit_modes_keep_their_brightness(mode: str, tmp_path: Path) -> None:
    pixels = np.where(EXPECTED > 127, 255, 0).astype(np.uint8)
    suffix = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    picture = Image.fromarray(np.kron(pixels, np.ones((8, 8), np.uint8))).convert(mode)
    picture.save(tmp_path / f"x.{suffix}", **({"quality": 100} if suffix == "jpg" else {}))
    decoded = np.asarray(decode(tmp_path / f"x.{suffix}", 128))[4::8, 4::8, 0].astype(int)
    assert abs(decoded - pixels).max() <= 3


def tiff(pixels: np.ndarray, photometric: int, sample_format: int) -> bytes:
    """A TIFF of one strip, with tags that Pillow does not write."""
    height, width = pixels.shape
    content = pixels.tobytes()
    tags = {256: width, 257: height, 258: 8 * pixels.itemsize, 259: 1, 262: photometric, 273: 8,
            277: 1, 278: height, 279: len(content), 339: sample_format}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(content))
    return head + content + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.case("deep-images")
@pytest.mark.parametrize(
    ("pixels", "sample_format"),
    [(EXPECTED, 1), (RAMP.astype("<u2"), 1), ((EXPECTED / 255).astype("<f4"), 3)],
    ids=["8 bits", "16 bits", "floats"],
)
def test_tiff_whose_zero_is_white_is_inverted(
    pixels: np.ndarray, sample_format: int, tmp_path: Path
) -> None:
    (tmp_path / "x.tiff").write_bytes(tiff(pixels, 0, sample_format))
    assert np.array_equal(grey(tmp_path / "x.tiff"), 255 - EXPECTED)


@pytest.mark.case("deep-images")
@pytest.mark.parametrize("type_", ["<i1", "<i2", "<i4"])
def test_signed_integers_are_refused(type_: str, tmp_path: Path) -> None:
    (tmp_path / "x.tiff").write_bytes(tiff(np.ones((4, 4), type_), 1, 2))
    with pytest.raises(BenchError, match=r"x\.tiff .*: its numbers are signed integers"):
        decode(tmp_path / "x.tiff", 4)


@pytest.mark.case("deep-images")
def test_colours_that_pillow_cannot_convert_are_refused(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4), (255, 0, 0)).save(tmp_path / "x.tiff")
    with pytest.raises(BenchError, match=r"x\.tiff .*: its colours are CIELAB"):
        decode(tmp_path / "x.tiff", 4)


@pytest.mark.case("deep-images")
def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1), 1)
    picture.putpalette([255, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    assert np.asarray(decode(tmp_path / "x.png", 1)).tolist() == [[[0, 200, 0]] * 2]


@pytest.mark.case("exif")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_orientation_is_applied(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:16, :8] = 255  # bright at the top left
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    turns = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1], 5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2), 8: lambda x: np.rot90(x),
    }  # fmt: skip
    picture = Image.fromarray(np.ascontiguousarray(turns[inverse](upright)))
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(tmp_path / f"x.{suffix}", exif=exif)
    decoded = decode(tmp_path / f"x.{suffix}", 8)
    assert decoded.size == (16, 32)
    assert np.asarray(decoded)[:12, :6].min() > 200
    assert np.asarray(decoded)[20:].max() < 60


@pytest.mark.case("content-fingerprint")
def test_swapped_contents_change_the_fingerprint(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    before = fingerprint_of(top)
    cat, dog = sorted((top / "train").rglob("*.png"))[::3][:2]
    assert (cat.parent.name, dog.parent.name) == ("cat", "dog")
    contents = cat.read_bytes(), dog.read_bytes()
    cat.write_bytes(contents[1])
    dog.write_bytes(contents[0])
    assert fingerprint_of(top) != before
    cat.write_bytes(contents[0])
    dog.write_bytes(contents[1])
    assert fingerprint_of(top) == before


@pytest.mark.case("content-fingerprint")
def test_a_replaced_image_of_equal_size_and_name_changes_the_fingerprint(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    path = top / "val/cat/0.bmp"
    write(path, np.zeros((8, 8, 3), np.uint8))
    before, size = fingerprint_of(top), path.stat().st_size
    write(path, np.ones((8, 8, 3), np.uint8))
    assert path.stat().st_size == size
    assert fingerprint_of(top) != before


@pytest.mark.case("content-fingerprint")
def test_a_moved_folder_keeps_its_fingerprint(tmp_path: Path) -> None:
    top = image_folder(tmp_path / "a", COUNTS)
    before = fingerprint_of(top)
    shutil.copytree(top, tmp_path / "b")
    assert fingerprint_of(tmp_path / "b") == before


@pytest.mark.case("content-fingerprint")
def test_an_image_in_the_other_split_changes_the_fingerprint(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    before = fingerprint_of(top)
    last = sorted((top / "train/dog").iterdir())[-1]
    last.rename(top / "val/cat" / f"0{last.name}")
    assert fingerprint_of(top) != before


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own cache, which also remembers files that have just been written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "SETTLED_S", -1.0)


@pytest.mark.case("content-fingerprint")
def test_hashes_are_remembered(tmp_path: Path, remembered: None) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    checked: list[str] = []

    def check(path: str, content: bytes) -> None:
        checked.append(path)

    paths = sorted(map(str, top.rglob("*.png")))
    first = fingerprint.hash_files(paths, check)
    assert sorted(checked) == paths
    assert fingerprint.hash_files(paths, check) == first
    assert sorted(checked) == paths
    write(Path(paths[0]), np.ones((8, 8, 3), np.uint8))
    assert fingerprint.hash_files(paths, check) != first
    assert sorted(checked) == sorted([*paths, paths[0]])


DAMAGE = ["random bytes", "cut", "overwritten pages", "no bytes", "another table", "more columns",
          "digests as text"]  # fmt: skip


def break_cache(file: Path, damage: str) -> None:
    content = file.read_bytes()
    if damage in ("another table", "more columns", "digests as text"):
        statements = {
            "another table": "DROP TABLE hashes; CREATE TABLE hashes (x)",
            "more columns": "ALTER TABLE hashes ADD COLUMN more",
            "digests as text": "UPDATE hashes SET digest = 'text'",
        }
        with closing(sqlite3.connect(file)) as database:
            database.executescript(statements[damage])
        return
    file.write_bytes(
        {
            "random bytes": bytes(range(256)) * 40,
            "cut": content[: len(content) // 2],
            "overwritten pages": content[:4096] + b"\xff" * (len(content) - 4096),
            "no bytes": b"",
        }[damage]
    )


@pytest.mark.case("content-fingerprint")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_changes_nothing_and_is_replaced(
    damage: str, tmp_path: Path, remembered: None
) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    paths, checked = sorted(map(str, top.rglob("*.png"))), []

    def check(path: str, content: bytes) -> None:
        checked.append(path)

    before = fingerprint.hash_files(paths, check)
    break_cache(fingerprint.cache_file(), damage)
    for _ in range(2):
        assert fingerprint.hash_files(paths, check) == before
    assert sorted(checked) == sorted([*paths, *paths]), "hashed once more, then remembered"


@pytest.mark.case("content-fingerprint")
def test_a_cache_that_is_damaged_before_it_is_written_to_keeps_all_hashes(
    tmp_path: Path, remembered: None
) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    first, *paths = sorted(map(str, top.rglob("*.png")))
    checked: list[str] = []
    fingerprint.hash_files(paths, lambda path, _: checked.append(path))

    def damage(path: str, content: bytes) -> None:
        checked.append(path)
        fingerprint.cache_file().write_bytes(b"damaged" * 1000)

    fingerprint.hash_files([first, *paths], damage)
    fingerprint.hash_files([first, *paths], lambda path, _: checked.append(path))
    assert sorted(checked) == [first, *paths]


@pytest.mark.case("content-fingerprint")
def test_a_folder_in_place_of_the_cache_changes_nothing(tmp_path: Path, remembered: None) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    before, file = fingerprint_of(top), fingerprint.cache_file()
    file.unlink()
    file.mkdir()
    assert fingerprint_of(top) == before
    assert file.is_dir()


@pytest.mark.case("content-fingerprint")
def test_a_restored_time_of_modification_does_not_hide_a_change(
    tmp_path: Path, remembered: None
) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    path = top / "val/cat/0.bmp"
    write(path, np.zeros((8, 8, 3), np.uint8))
    before, status = fingerprint_of(top), path.stat()
    write(path, np.ones((8, 8, 3), np.uint8))  # in place: the inode is the same
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        status.st_size, status.st_mtime_ns, status.st_ino,
    )  # fmt: skip
    assert fingerprint_of(top) != before


@pytest.mark.case("undecodable-names")
@pytest.mark.parametrize("stream", [False, True])
def test_names_that_are_not_utf8_are_read(stream: bool, tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    for split in ("train", "val"):
        os.rename(top / split / "cat", os.path.join(os.fsencode(top / split), b"c\xe9t"))
    source = next((top / "train/dog").iterdir())
    os.rename(source, os.path.join(os.fsencode(source.parent), b"caf\xe9.png"))
    selection = Selection(f"folder:{top}", size=8)
    loaded = data.load(selection, None, torch.device("cpu"), stream=stream, workers=0)
    assert loaded.facts.classes == 2
    assert sum(len(labels) for _, labels in loaded.evaluation("test", 2)) == 4


@pytest.mark.case("undecodable-names")
def test_a_broken_file_with_such_a_name_is_reported(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    with open(os.path.join(os.fsencode(top / "train/cat"), b"\xe9.png"), "wb"):
        pass
    with pytest.raises(BenchError, match=r"/\\xe9\.png cannot be .*: the file is empty") as error:
        fingerprint_of(top)
    str(error.value).encode()


@pytest.mark.case("hidden-files")
def test_hidden_files_and_folders_are_ignored_and_counted(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    before = folder(top).facts
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (top / "train/cat" / name).write_bytes(b"x")
    for name in (".ipynb_checkpoints", "__MACOSX", ".git"):
        shutil.copytree(top / "train/cat", top / "train" / name)
        (top / "train/dog" / name).mkdir()
        shutil.copy(next((top / "train/dog").glob("*.png")), top / "train/dog" / name)
    after = folder(top).facts
    assert (after.fingerprint, after.classes) == (before.fingerprint, before.classes)
    assert (before.ignored, after.ignored) == (0, 5 + 3 * (3 + 5) + 3)
    loaded = data.load(Selection(f"folder:{top}", size=8), None, torch.device("cpu"))
    assert loaded.counts["ignored_files"] == 32


@pytest.mark.case("more-suffixes")
@pytest.mark.parametrize("suffix", ["pgm", "ppm", "pnm", "jfif", "jpe", "JPG", "Tif", "webp"])
def test_more_suffixes_are_read(suffix: str, tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    picture = Image.fromarray(np.full((8, 8), 7, np.uint8)).convert("L")
    format_ = {"p": "PPM", "j": "JPEG", "t": "TIFF", "w": "WEBP"}[suffix[0].lower()]
    picture.save(top / f"train/cat/x.{suffix}", format_)
    assert folder(top).facts.train == 7


@pytest.mark.case("more-suffixes")
@pytest.mark.parametrize("train", ["train", "training"])
@pytest.mark.parametrize("test", ["test", "val", "validation", "valid"])
def test_splits_have_several_names(train: str, test: str, tmp_path: Path) -> None:
    top = image_folder(tmp_path, {train: COUNTS["train"], test: COUNTS["val"]})
    facts = folder(top).facts
    assert (facts.train, facts.test) == (6, 4)


def broken(top: Path) -> list[Path]:
    """An empty file, two that are cut off, and text."""
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    paths = [top / "train/cat/empty.png", top / "train/dog/cut.jpg", top / "val/cat/cut.png"]
    paths[0].write_bytes(b"")
    for path in paths[1:]:
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:1500])
    paths.append(top / "val/dog/text.jpg")
    paths[-1].write_text("not an image")
    return paths


@pytest.mark.case("broken-images")
def test_all_broken_images_are_listed_before_training(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    paths = broken(top)
    with pytest.raises(BenchError) as error:
        folder(top).digests(folder(top).train)
    assert all(str(path) in str(error.value) for path in paths)
    for _ in range(2):  # broken files are not remembered
        with pytest.raises(BenchError) as error:
            _ = folder(top).facts
    assert "the file is empty" in str(error.value)


@pytest.mark.case("broken-images")
def test_decoding_lists_all_broken_images() -> None:
    buffer = io.BytesIO()
    Image.fromarray(EXPECTED).save(buffer, "PNG")
    good = buffer.getvalue()
    files = {"a": good, "b": b"", "c": good, **{f"x{number}": b"x" for number in range(41)}}
    with pytest.raises(BenchError) as error:
        data.images.decode_all(list(files), 8, files.__getitem__)
    lines = str(error.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("b cannot be read as an image")
    assert lines[-1] == "and 22 more"


@pytest.mark.case("broken-images")
def test_trailing_bytes_after_an_image_are_allowed(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    picture = top / "train/cat/tail.jpg"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    picture.write_bytes(picture.read_bytes() + bytes(500))
    assert folder(top).facts.train == 7


@pytest.mark.case("teacher-at-chance")
@pytest.mark.parametrize("stream", [False, True])
def test_test_images_among_the_training_images_are_counted(stream: bool, tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    image = next((top / "train/cat").iterdir())
    shutil.copy(image, top / "val/cat/copy.png")
    shutil.copy(image, top / "val/dog/wrong_label.png")
    selection = Selection(f"folder:{top}", size=8)
    loaded = data.load(selection, None, torch.device("cpu"), stream=stream, workers=0)
    assert loaded.counts == {"classes": 2, "test_images": 6, "test_images_in_train": 2}


@pytest.mark.case("broken-images")
def test_a_picture_of_too_many_pixels_is_found_before_training(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    content = bytearray((top / "val/cat/0.png").read_bytes())
    content[16:24] = struct.pack(">II", 9_000, 9_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (top / "val/cat/0.png").write_bytes(content)
    with pytest.raises(BenchError, match=r"0\.png .*: 9000 x 9000 pixels, .* are too many"):
        fingerprint_of(top)


@pytest.mark.case("incomplete-data-set")
@pytest.mark.parametrize("target", ["gone", "bird"])
def test_a_class_that_links_to_nothing_is_named(target: str, tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    for split in ("train", "val"):
        (top / split / "bird").symlink_to(target)
    with pytest.raises(BenchError, match="train/bird is a link to a path that does not exist"):
        fingerprint_of(top)


@pytest.mark.case("more-suffixes")
def test_files_outside_class_folders_are_counted(tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    shutil.copy(top / "val/cat/0.png", top / "train/loose.png")
    shutil.copytree(top / "val/cat", top / "val/.cache")
    assert (folder(top).facts.train, folder(top).facts.ignored) == (6, 3)


@pytest.mark.case("pipes")
@pytest.mark.parametrize("name", ["x.png", "x.bin"])
def test_pipes_and_links_to_them_are_not_images(name: str, tmp_path: Path) -> None:
    top = image_folder(tmp_path, COUNTS)
    os.mkfifo(top / "train/cat" / name)
    os.symlink(top / "train/cat" / name, top / "train/dog/link.png")
    facts = folder(top).facts
    assert (facts.train, facts.ignored) == (6, 2)
