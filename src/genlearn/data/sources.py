"""The catalogue: what can be loaded by name, whose it is, and where it is found now."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .idx import IdxSet
from .part import Data, Entry, PrepareReport
from .places import data_folder
from .split import describe, digests, parts, sides
from .stacked import ABOUT, STACKED
from .toys import DENSITIES

DIGITS = tuple("0123456789")
MNIST_LICENCE = "CC BY-SA 3.0 (LeCun, Cortes, Burges)"
MNIST_SOURCE = "LeCun, Cortes, Burges: The MNIST database, http://yann.lecun.com/exdb/mnist/"

IDX = {
    s.name: s
    for s in (
        IdxSet(
            "mnist-mini",
            "handwritten digits: the first 10,000 + 2,000 of MNIST",
            MNIST_LICENCE,
            MNIST_SOURCE + " (first 10,000 training and 2,000 test images)",
            12_000,
            DIGITS,
            (
                "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
                "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
                "3f6bd66dee48df299584c67669bceee490faa25f931496bd7473b42106d7daed",
                "7b098e5f6a3065807cebeabf36fb1724a8aff19f2673ac08b4923e0e8c715bce",
            ),
            folders=(Path(__file__).parent / "mnist_mini",),
        ),
        IdxSet(
            "mnist",
            "handwritten digits",
            MNIST_LICENCE,
            MNIST_SOURCE,
            70_000,
            DIGITS,
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            megabytes=11,
        ),
        IdxSet(
            "fashion-mnist",
            "articles of clothing",
            "MIT (Zalando)",
            "Xiao, Rasul, Vollgraf 2017: Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist",
            70_000,
            ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            folders=(Path("/usr/share/datasets/fashion-mnist"),),  # Debian's package dataset-fashion-mnist
            mirrors=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            megabytes=31,
        ),
    )
}


class _Cifar10(NamedTuple):
    name: str = "cifar10"
    file: str = "cifar10-jpeg.zip"
    what: str = "photographs of ten things, lossy JPEG copies of CIFAR-10 (Krizhevsky 2009): not for published figures"
    licence: str = "none stated (Krizhevsky 2009)"


CIFAR10 = _Cifar10()


def cifar10_file() -> Path:
    """The archive train/CLASS/NNNN.jpg, test/CLASS/NNNN.jpg in the user's folder.

    Raises FileNotFoundError where it is missing.
    """
    folder = data_folder()
    if folder is not None and (folder / CIFAR10.file).is_file():
        return folder / CIFAR10.file
    looked = "nowhere (GENLEARN_DATA is not set)" if folder is None else str(folder)
    raise FileNotFoundError(
        f"{CIFAR10.name} not found, looked in {looked}: put {CIFAR10.file} with train/CLASS/*.jpg and test/CLASS/*.jpg "
        "into the folder that GENLEARN_DATA names"
    )


def digits() -> Data:
    """scikit-learn's 1,797 digits of 8x8 pixels, 0..16 scaled to 0..255; split by content hash."""
    from sklearn.datasets import load_digits  # slow to import, needed here only

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    keys = digests(x)
    train, valid, test = parts(x, bunch.target.astype(np.int64), keys, sides(keys))
    entry = next(e for e in catalogue() if e.name == "digits")
    source = "scikit-learn load_digits: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998"
    return Data(entry.name, train, valid, test, DIGITS, describe(None), entry.licence, source, PrepareReport())


def names() -> list[str]:
    """The names of the catalogue, in its order."""
    return ["digits", *IDX, STACKED, CIFAR10.name, *DENSITIES]


def catalogue() -> list[Entry]:
    """Every data set that has a name, with where it is found now; nothing is loaded or downloaded."""
    folder = data_folder()
    cifar = folder / CIFAR10.file if folder else None
    cifar_where = f"file {cifar}" if cifar and cifar.is_file() else f"not found: {CIFAR10.file} in GENLEARN_DATA"
    return [
        Entry("digits", "handwritten digits", (1, 8, 8), 1797, "CC BY 4.0 (UCI)", "inside scikit-learn"),
        *(Entry(s.name, s.what, (1, 28, 28), s.n, s.licence, s.where()) for s in IDX.values()),
        Entry(STACKED, ABOUT, (3, 28, 28), 153_600, MNIST_LICENCE, "drawn on demand from mnist"),
        Entry(CIFAR10.name, CIFAR10.what, (3, 32, 32), 60_000, CIFAR10.licence, cifar_where),
        *(Entry(k, what, (2,), 120_000, "none needed", "drawn on demand") for k, what in DENSITIES.items()),
    ]
