"""`genlearn lab`."""

from __future__ import annotations

import json

from PIL import Image


def test_a_page_of_one_topic(cli, tmp_path):
    out = tmp_path / "deep" / "lab.html"
    answer = cli("lab", "saturation", "--out", out, "--json")
    assert json.loads(answer.out) == {"page": str(out), "topics": ["saturation"]}, answer.err
    assert "<!DOCTYPE html>" in out.read_text()


def test_a_picture_of_one_topic(cli, tmp_path):
    out = tmp_path / "dirac.png"
    for settings in ([], ["--set", "variant=r1", "--set", "steps=240"]):
        answer = cli("lab", "dirac", "--png", "--out", out, *settings)
        assert (answer.code, answer.out.strip()) == (0, str(out)), answer.err
        with Image.open(out) as image:
            assert image.format == "PNG" and min(image.size) > 300


def test_what_is_refused(cli, tmp_path):
    for arguments, said in (
        (["dirak"], "unknown topic 'dirak': did you mean 'dirac'?"),
        (["--png"], "for the picture of one topic"),
        (["dirac", "--set", "steps=10"], "for the picture of one topic"),
        (["dirac", "--png", "--set", "step=10"], "unknown control of dirac 'step': did you mean 'steps'?"),
        (["dirac", "--png", "--set", "steps=11"], "unknown value of steps '11'"),
    ):
        answer = cli("lab", *arguments, "--out", tmp_path / "x")
        assert answer.code == 1 and answer.out == ""
        assert said in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "x").exists()
