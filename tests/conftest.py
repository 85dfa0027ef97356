"""Shared data of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config):
    if getattr(config.option, "numprocesses", None):
        return  # it hands the tests to its workers, and needs none of this
    import torch

    from shapes import install

    install()
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """1,797 real 8x8 digits as rows of float32 in [0, 1]."""
    from sklearn.datasets import load_digits

    return (load_digits().data / 16).astype("float32")


@pytest.fixture(scope="session")
def digit_labels():
    """What the digits show [1797]."""
    from sklearn.datasets import load_digits

    return load_digits().target


@pytest.fixture(scope="session")
def real_mnist() -> None:
    """Skip where the full MNIST is not at hand."""
    if not (Path(os.environ.get("GENLEARN_DATA", "/nowhere")) / "mnist").is_dir():
        pytest.skip("full MNIST is needed: GENLEARN_DATA names no folder that holds mnist/")
