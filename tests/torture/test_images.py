"""A thousand image files of which most are damaged, in folders of some dozens: each is used, or named."""

from __future__ import annotations

import io
import os
import random
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import hurt
import numpy as np
import pytest
from PIL import Image
from served import GIB, Served, verdict

IMAGES, DOZENS = 1000, 40
SECONDS, MEMORY = 120, 3 * GIB
MODES = {
    "PNG": ("L", "RGB", "RGBA", "P", "1", "I;16", "LA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("P", "L"),
    "BMP": ("L", "RGB", "1", "P"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("L", "RGB", "F", "I;16", "CMYK", "P", "1"),
}
SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
FOREIGN = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch MARKER) (w) file\nshowpage\n%%EOF\n",
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><script>1</script></svg>',
    "ppm": b"P6\n99999 99999\n255\n" + bytes(50),
    "html": b"<html>404 Not Found</html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
}
HUGE = (70_000, 2**31 - 1, 2**16 - 1, 13_000, 12_345, 2**32 - 1, 0)


def valid(rng: random.Random, kind: str, scale: int = 1) -> bytes:
    """A small image of a format."""
    w, h, mode = scale * rng.randint(4, 24), scale * rng.randint(4, 24), rng.choice(MODES[kind])
    if mode == "I;16":
        image = Image.fromarray(np.frombuffer(rng.randbytes(2 * w * h), np.uint16).reshape(h, w))
    elif mode == "F":
        values = np.frombuffer(rng.randbytes(w * h), np.uint8).reshape(h, w) / np.float32(255)
        image = Image.fromarray(values if rng.random() < 0.7 else values * np.float32("nan"))
    else:
        colours = Image.fromarray(np.frombuffer(rng.randbytes(3 * w * h), np.uint8).reshape(h, w, 3))
        image = colours.convert(mode)
    more: dict[str, Any] = {}
    if kind == "TIFF" and mode in ("L", "RGB"):
        more["compression"] = rng.choice(["raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"])
    if kind == "GIF" and rng.random() < 0.3:
        more |= {"save_all": True, "append_images": [image.rotate(90)]}
    if kind in ("JPEG", "PNG", "WEBP") and rng.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = rng.randint(0, 9)
        more["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge(rng: random.Random, kind: str, content: bytes) -> bytes:
    """The image with a header that claims other dimensions."""
    w, h = rng.choice(HUGE), rng.choice(HUGE)
    c = bytearray(content)
    if kind == "PNG":
        c[8:33] = chunk(b"IHDR", struct.pack(">II", w, h) + bytes(c[24:29]))
    elif kind == "GIF":
        c[6:10] = struct.pack("<HH", w & 0xFFFF, h & 0xFFFF)
    elif kind == "BMP":
        c[18:26] = struct.pack("<II", w, h)
    elif kind == "JPEG" and (at := max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))) > 0:
        c[at + 5 : at + 9] = struct.pack(">HH", h & 0xFFFF, w & 0xFFFF)
    elif kind == "TIFF":
        for tag, value in ((256, w), (257, h)):
            if (at := content.find(struct.pack("<H", tag))) > 0:
                c[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    elif kind == "WEBP":
        c[12:] = b"VP8X" + struct.pack("<I", 10) + bytes([16, 0, 0, 0]) + b"\xff\x3f\x00\xff\x3f\x00" + c[12:]
    return bytes(c)


def bomb(rng: random.Random) -> bytes:
    """A small file that truly is an image of 150 million pixels."""
    w, h = 15_000, 10_000
    depth, colour, per = rng.choice([(8, 0, 1), (16, 0, 2), (8, 6, 4), (1, 0, 1 / 8)])
    pack, parts, row = zlib.compressobj(1), [], bytes(1 + int(w * per))
    for _ in range(h // 100):
        parts.append(pack.compress(row * 100))
    pixels = b"".join(parts) + pack.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def place(rng: random.Random, folder: Path, i: int, clean: float, scale: int) -> str:
    """Put the i-th file (or what looks like one) into the folder; what it is."""
    kind = rng.choice(list(MODES))
    content, suffix = valid(rng, kind, scale), SUFFIX[kind]
    ways = ["flip", "flip", "cut", "splice", "huge", "huge", "suffix", "foreign", "empty", "noise", "ico", "pickle"]
    ways += ["folder", "loop", "up", "fifo", "odd"]
    way = "clean" if rng.random() < clean else rng.choice(ways)
    if way == "foreign" or way == "ico" or way == "pickle":
        suffix = rng.choice([*SUFFIX.values(), ".ico", ".npy"])
    below = folder / rng.choice(["", "", "a", "b/c"])
    start = rng.choice(["x\n", "\udcff", "-", "\x1b[2J"] if way == "odd" else ["", "IMG ", "ä", "a: b"])
    name = below / f"{start}{i:04d}{suffix}"
    below.mkdir(parents=True, exist_ok=True)
    if way == "folder":
        name.mkdir()
    elif way == "loop":
        name.symlink_to(name.name)
    elif way == "up":
        name.symlink_to(folder)
    elif way == "fifo":
        os.mkfifo(name)
    else:
        other = valid(rng, rng.choice(list(MODES)))
        name.write_bytes(
            {
                "clean": lambda: content,
                "odd": lambda: hurt.flip(rng, content),
                "flip": lambda: hurt.flip(rng, content),
                "cut": lambda: hurt.cut(rng, content),
                "splice": lambda: hurt.splice(rng, content, other),
                "huge": lambda: huge(rng, kind, content),
                "suffix": lambda: other,
                "foreign": lambda: rng.choice(list(FOREIGN.values())).replace(b"MARKER", bytes(folder / "MARKER")),
                "empty": lambda: b"",
                "noise": lambda: content[:8] + hurt.noise(rng),
                "ico": lambda: b"\x00\x00\x01\x00\x01\x00" + hurt.noise(rng, 200),
                "pickle": lambda: hurt.payload(folder / "MARKER"),
            }[way]()
        )
    return f"{str(name.relative_to(folder))!r} {way}"


def load_there(folder: Path) -> dict[str, Any]:
    """What becomes of a folder: the counts and names of its report, or the ValueError."""
    import warnings

    from genlearn.data import load

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            data = load(folder)
        except Exception as error:
            return {"error": (type(error).__name__, str(error)), "warned": [str(w.message) for w in caught]}
    r = data.report
    rows = [sum(len(part) for part in (data.train, data.valid, data.test)), float(data.train.x.float().mean())]
    named = [*r.corrupt, *r.duplicates, *r.small]
    return {"read": r.read, "named": named, "other": r.other, "rows": rows, "warned": [str(w.message) for w in caught]}


def wrong(folder: Path, answer: Any) -> list[str]:
    """What a load must not do."""
    from genlearn.data.images import SUFFIXES
    from genlearn.words import shown

    if isinstance(answer, str):
        return [answer]
    found = []
    if "Traceback" in answer["leaked"]:  # decoders in C have their say there too
        found.append(f"on stderr: {answer['leaked'][-1000:]}")
    if answer["events"]:
        found.append(f"forbidden: {answer['events']}")
    if list(folder.rglob("MARKER*")):
        found.append("code was run")
    if answer["peak"] > MEMORY:
        found.append(f"{answer['peak'] / GIB:.1f} GiB of memory")
    if "error" in answer:
        kind, text = answer["error"]
        if kind != "ValueError" or not text or len(text.splitlines()) != 1:
            found.append(f"{kind}: {text!r}")
        return found
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or p.is_file()}
    files -= {name for name in files if (folder / name).is_dir()}
    images = {shown(name) for name in files if name.lower().endswith(SUFFIXES)}
    starts = [line for line in answer["named"] if any(line.startswith(f"{name}: ") for name in images)]
    if answer["read"] != len(images) or len(answer["other"]) != len(files) - len(images):
        found.append(f"{len(files)} files, {len(images)} of them images; {answer['read']} read")
    if len(starts) != len(answer["named"]) or answer["rows"][0] != len(images) - len(starts):
        found.append(f"{answer['rows'][0]} rows of {len(images)} files of which {len(answer['named'])} are named")
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fuzzed_images(tmp_path):
    failed, began, most, slowest = [], time.perf_counter(), 0, 0.0
    served = Served(8 * GIB, {"GENLEARN_CACHE": str(tmp_path / "cache")})
    for seed in range(IMAGES // DOZENS):
        rng = random.Random(f"images {seed}")
        folder = tmp_path / f"folder-{seed}"
        clean = rng.choice([0, 0.2, 0.5])
        scale = rng.choice([1, 1, 1, 8])  # large ones are decoded by threads
        placed = [place(rng, folder, i, clean, scale) for i in range(DOZENS)]
        if seed % 5 == 0:
            placed.append("bomb.png")
            (folder / "bomb.png").write_bytes(bomb(rng))
        for again in ("first", "from the cache"):
            answer = served.ask(load_there, folder, seconds=SECONDS)
            if found := wrong(folder, answer):
                failed.append(f"seed {seed}, {again}: {'; '.join(found)}; {placed}")
            if isinstance(answer, dict):
                most, slowest = max(most, answer["peak"]), max(slowest, answer["seconds"])
        served.close()  # for the memory of the next folder to be its own
    print(f"at most {most / GIB:.2f} GiB and {slowest:.1f} s a folder")
    verdict("fuzzed images", IMAGES, failed, began)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
