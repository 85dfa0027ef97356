"""Commands run in this process, and one small trained run that tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genlearn.cli import app


class Answer:
    """What a command answered."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        result = CliRunner().invoke(app, list(arguments), prog_name="genlearn")
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="session")
def cli() -> Callable[..., Answer]:
    return lambda *arguments: Answer(tuple(map(str, arguments)))


@pytest.fixture(scope="session")
def small() -> list[str]:
    """The arguments of a run of a second."""
    return ["vae", "--data", "digits", "--set", "hidden=16", "--set", "n_latent=2", "--device", "cpu", "--seed", "0"]


@pytest.fixture(scope="session")
def trained(cli, small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "vae"
    answer = cli("train", *small, "--epochs", 2, "--out", folder)
    assert answer.code == 0, answer.err
    return folder
