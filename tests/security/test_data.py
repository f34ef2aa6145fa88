"""Data sets are data: nothing runs, nothing unfolds beyond bounds, no path leaves its folder."""

import gzip
import hashlib
import io
import os
import pickle
import random
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from PIL import Image

from bench import data
from bench.data import Selection
from bench.data.archive import download_lock
from bench.data.builtin import TINY_IMAGENET, FashionMnist
from bench.data.folder import MAX_DEPTH
from bench.data.images import MAX_PIXELS, decode
from bench.errors import BenchError, MissingData
from tests.data.toys import CPU, image_folder, noise, write
from tests.security.hostile import Payload
from tests.soak import times

COUNTS = {"train": {"ant": 2, "bee": 2}, "test": {"ant": 1, "bee": 1}}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads fail at once: what lies in the data root is all there is."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


def load(top: Path, size: int = 8, *, stream: bool = False) -> data.Data:
    asked = Selection(f"folder:{top}", size=size)
    return data.load(asked, top.parent, CPU, stream=stream, workers=0)


def evil_archive(path: Path, mark: Path) -> None:
    """A tar with everything that a tar must not hold, and a pickle that makes a file."""
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../escaped", str(mark.parent / "absolute"), "cifar-100-python/train"):
            content = pickle.dumps(Payload(mark))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, kind, target in [
            ("cifar-100-python/link", tarfile.SYMTYPE, "/etc/passwd"),
            ("cifar-100-python/hard", tarfile.LNKTYPE, "../../outside"),
            ("cifar-100-python/device", tarfile.CHRTYPE, ""),
            ("cifar-100-python/pipe", tarfile.FIFOTYPE, ""),
        ]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)


@pytest.mark.parametrize("archive", ["cifar-100-python.tar.gz", "cifar-10-python.tar.gz"])
def test_an_archive_that_is_not_the_official_one_is_not_opened(
    archive: str, tmp_path: Path
) -> None:
    root, mark = tmp_path / "data", tmp_path / "executed"
    root.mkdir()
    evil_archive(root / archive, mark)
    with pytest.raises(MissingData, match="no intact"):
        data.load(Selection("cifar100" if "100" in archive else "cifar10"), root, CPU)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", archive]


def test_pickled_batches_are_loaded_only_with_their_official_sum(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for top, names in [
        (
            "cifar-10-batches-py",
            ["test_batch", "batches.meta", *(f"data_batch_{i}" for i in range(1, 6))],
        ),
        ("cifar-100-python", ["train", "test", "meta"]),
    ]:
        (tmp_path / top).mkdir()
        for name in names:
            (tmp_path / top / name).write_bytes(pickle.dumps(Payload(mark)))
    for name in ("cifar10", "cifar100"):
        with pytest.raises(MissingData, match="no intact"):
            data.load(Selection(name), tmp_path, CPU)
    assert not mark.exists()


def idx(pixels: torch.Tensor) -> bytes:
    """A compressed file as those of Fashion-MNIST."""
    head = bytes([0, 0, 8, pixels.dim()]) + struct.pack(f">{pixels.dim()}I", *pixels.shape)
    return gzip.compress(head + pixels.numpy().tobytes(), mtime=0)


def test_fashion_mnist_is_read_only_with_its_official_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, known = tmp_path / "FashionMNIST" / "raw", torchvision.datasets.FashionMNIST.resources
    folder.mkdir(parents=True)
    labels = torch.arange(20, dtype=torch.uint8) % 10
    images = noise(20, 28, 28)
    for name, _ in known:
        (folder / name).write_bytes(idx(labels if "labels" in name else images))
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(idx(images)))
    processed = folder.parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(MissingData, match="no intact FashionMNIST"):
        data.load(Selection("fashion_mnist"), tmp_path, CPU)
    sums = [(name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for name, _ in known]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", sums)
    read = FashionMnist().read(tmp_path)
    assert torch.equal(read.train, images[:, None])
    assert torch.equal(read.test_labels, labels.long())
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name", ["../../../outside.JPEG", "../../../../../../etc/passwd", "link.JPEG", "large.JPEG"]
)
def test_tiny_imagenet_reads_nothing_but_its_folder(name: str, tmp_path: Path) -> None:
    top = tmp_path / "data" / TINY_IMAGENET
    write(tmp_path / "outside.JPEG", noise(64, 64, 3).numpy())
    write(top / "train" / "n1" / "images" / "n1_0.JPEG", noise(64, 64, 3).numpy())
    images = top / "val" / "images"
    images.mkdir(parents=True)
    (images / "link.JPEG").symlink_to(tmp_path / "outside.JPEG")
    with (images / "large.JPEG").open("wb") as file:
        file.truncate(100 * 1024**2)
    (top / "wnids.txt").write_text("n1\n")
    (top / "val" / "val_annotations.txt").write_text(f"{name}\tn1\t0\t0\t1\t1\n")
    with pytest.raises(BenchError, match="is outside this folder|more than 16,777,216 bytes"):
        data.load(Selection("tiny_imagenet"), tmp_path / "data", CPU)


def test_a_lock_is_no_way_to_empty_a_file(tmp_path: Path) -> None:
    victim, root = tmp_path / "victim", tmp_path / "data"
    victim.write_text("precious")
    root.mkdir()
    (root / ".downloading").symlink_to(victim)
    with download_lock(root):
        assert victim.read_text() == "precious"


def png(width: int, height: int) -> bytes:
    """A picture of so many pixels in a few bytes: it claims them, and has none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 10**6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("width", "height"), [(50_000, 50_000), (8_193, 8_193), (2**31 - 1, 1), (1, 600_000)]
)
def test_a_picture_that_would_burst_is_not_decoded(
    width: int, height: int, stream: bool, tmp_path: Path
) -> None:
    assert min(width, 4096) * min(height, 4096) < MAX_PIXELS  # it is the file's claim that counts
    top = image_folder(tmp_path / "images", COUNTS)
    (top / "train" / "ant" / "0.png").write_bytes(png(width, height))
    with pytest.raises(BenchError, match=r"ant/0\.png cannot be read as an image: "):
        list(load(top, 64, stream=stream).evaluation("train", 4))


def test_a_large_picture_is_decoded(tmp_path: Path) -> None:
    Image.new("L", (8192, 64)).save(tmp_path / "wide.png")
    assert decode(tmp_path / "wide.png", 32).size == (8192, 64)
    with pytest.raises(BenchError, match="8192 x 64 pixels, resized to a shorter side of 4096"):
        decode(tmp_path / "wide.png", 4096)


def test_a_picture_is_no_program(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    mark = tmp_path / "executed"
    program = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({mark}) (w) file closefile\nshowpage\n"
    )
    (tmp_path / "x.png").write_text(program)
    with pytest.raises(BenchError, match="cannot identify image file"):
        decode(tmp_path / "x.png", 8)
    assert not mark.exists()


@pytest.mark.soak
@pytest.mark.parametrize("ending", ["bmp", "gif", "jpeg", "png", "ppm", "tiff", "webp"])
def test_damaged_pictures_are_read_or_refused(ending: str) -> None:
    out, refused = io.BytesIO(), 0
    Image.fromarray(noise(12, 9, 3).numpy()).save(out, ending)
    for number in range(times(60, 10_000)):
        rng, content = random.Random(number), bytearray(out.getvalue())
        for _ in range(rng.choice((1, 2, 8))):
            at = rng.randrange(min(len(content), rng.choice((60, len(content)))))
            content[at : at + rng.choice((1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 4)))
        try:
            assert decode(bytes(content), 8).mode == "RGB"
        except BenchError:
            refused += 1
    assert refused


def test_links_stay_within_the_data_root(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    write(outside / "0.png", noise(8, 8, 3).numpy())
    top = image_folder(root / "images", COUNTS)
    beside = image_folder(root / "beside", COUNTS)
    (top / "train" / "ant" / "friend.png").symlink_to(beside / "train" / "ant" / "0.png")
    assert load(top).facts.train == 5
    for link, target in [
        (top / "train" / "ant" / "x.png", outside / "0.png"),
        (top / "train" / "bee" / "more", outside),
        (top / "train" / "cat", outside),
    ]:
        link.symlink_to(target)
        with pytest.raises(BenchError, match=rf"is a link to .*outside.*paths below {root}"):
            load(top)
        link.unlink()
    with pytest.raises(BenchError, match=rf"friend\.png is a link to .*paths below {top}"):
        data.facts(Selection(f"folder:{top}", size=8), tmp_path / "elsewhere")


def test_circles_of_links_devices_and_pipes_are_passed_over(tmp_path: Path) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    ant = top / "train" / "ant"
    for name in "abc":
        (ant / name).symlink_to(ant)
        (ant / f"{name}.png").symlink_to(ant / f"{name}.png")
    os.mkfifo(ant / "pipe.png")
    (ant / "folder.png").mkdir()
    assert load(top).facts.train == 4


def test_folders_within_folders_have_an_end(tmp_path: Path) -> None:
    top = image_folder(tmp_path / "images", COUNTS)
    write(Path(top, "train", "ant", *"d" * MAX_DEPTH, "0.png"), noise(8, 8, 3).numpy())
    assert load(top).facts.train == 5
    Path(top, "train", "ant", *"d" * (MAX_DEPTH + 1)).mkdir()
    with pytest.raises(BenchError, match=r"train/ant: more than 64 nested folders"):
        load(top)
