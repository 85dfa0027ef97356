"""The page: its data are the numbers of the functions, its Python runs, and Chromium shows what the data say."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from browser import BINARY, Browser
from genlearn import lab
from genlearn.lab.contrastive import bars
from genlearn.lab.mathml import mathml
from genlearn.lab.page import figure
from genlearn.lab.topic import limits

HERE = "section:not([hidden])"
TRAINED = {"start", "critic", "line", "ring"}  # topics that train for seconds
QUICK = [name for name in lab.TOPICS if name not in TRAINED]
SHOWN = [name for name in QUICK if name not in {"cd", "time"}]  # on the page of every commit


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the topics that take no time."""
    return lab.write_lab(tmp_path_factory.mktemp("lab") / "lab.html", [lab.TOPICS[name] for name in SHOWN])


@pytest.fixture(scope="module")
def data(page):
    return read(page)


def read(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)[1])


def stored(data, name, setting, key):
    """What the page holds for a number at a setting."""
    topic = next(t for t in data["topics"] if t["name"] == name)
    index = 0
    for control in topic["controls"]:
        index = index * len(control["texts"]) + control["texts"].index(repr(setting[control["key"]]))
    return topic["columns"][key]["numbers"][index]


def run(topic, setting):
    """`result` of the Python that the page prints, and what it prints."""
    scope, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(topic.python(setting), scope)
    return scope["result"], out.getvalue()


def corners(topic):
    """The start, and the first and the last value of every control."""
    first, last = ({c.key: c.values[i] for c in topic.controls} for i in (0, -1))
    return [topic.start(), first, last]


@pytest.mark.parametrize("name", QUICK)
def test_the_python_of_a_picture_gives_its_numbers(data, name):
    topic = lab.TOPICS[name]
    for setting in corners(topic):
        result, printed = run(topic, setting)
        assert printed.strip()
        state = topic.state(**setting)
        for number in topic.numbers:
            value = figure(float(state[number.key]))
            if name in SHOWN:
                assert stored(data, name, setting, number.key) == value
            if number.key in result._fields:
                assert figure(float(getattr(result, number.key))) == value
            else:
                assert re.search(rf"{state[number.key]:.9f}".rstrip("0")[:9], printed)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRAINED))
def test_the_python_of_a_trained_picture_runs_as_printed(name):
    topic = lab.TOPICS[name]
    for setting in corners(topic):
        result, printed = run(topic, setting)
        assert printed.strip()
        state = topic.state(**setting)
        assert all(getattr(result, n.key) == state[n.key] for n in topic.numbers)


def test_every_topic_is_whole():
    assert len(lab.TOPICS) >= 13
    for name, topic in lab.TOPICS.items():
        assert name == topic.name and topic.source and topic.about
        assert all(c.start in c.values and c.label for c in topic.controls)
        assert topic.play in {c.key for c in topic.controls if c.slider}
        settings = [*topic.settings()]
        assert len(settings) == math.prod(len(c.values) for c in topic.controls)
        assert set(re.findall(r"\{(\w+)\}", topic.code)) == {c.key for c in topic.controls}
        assert all(n.how or n.unit for n in topic.numbers)


def test_sample_numbers_say_their_n():
    for name in TRAINED - {"line"}:
        assert any("N = " in n.how and ("floor" in n.how or "data:" in n.how) for n in lab.TOPICS[name].numbers), name


def test_floors_in_words_are_those_of_the_functions():
    said = {(name, n.key): n.how for name, topic in lab.TOPICS.items() for n in topic.numbers}
    _, counts = bars().unique(dim=0, return_counts=True)
    for place, words in {
        ("likelihood", "kl"): f"floor {lab.likelihood(0.0, 2, 0).kl:.4f} at theta = 0",
        ("cd", "log_likelihood"): f"at most {-lab.entropy(counts.numpy() / 16):.3f}",
        ("ring", "kl"): f"ceiling {math.log(8):.3f}",
        ("line", "bound"): f"floor {-math.log(4):.3f}",
        ("dirac", "radius"): f"from {math.sqrt(2):.3f}",
    }.items():
        assert words in said[place], place


def folded(mean, sd):
    """E|mean + sd e|, e ~ N(0, 1)."""
    if sd == 0:
        return abs(mean)
    return sd * math.sqrt(2 / math.pi) * math.exp(-((mean / sd) ** 2) / 2) + mean * math.erf(mean / sd / math.sqrt(2))


def test_all_numbers_of_the_page_are_right_to_their_six_figures(data):
    """No law is cut off by the quadrature: residuals are rounding; W1(N(0, 1), N(m, s^2)) = E|m + (s - 1) e|."""
    columns = {t["name"]: {k: c.get("numbers") for k, c in t["columns"].items()} for t in data["topics"]}
    for name in ("optimality", "likelihood"):
        assert max(map(abs, columns[name]["residual"])) < 1e-13, name
    for i, setting in enumerate(lab.TOPICS["divergences"].settings()):
        if setting["law"] == "normal":
            m, s = setting["mean"], setting["sd"]
            found = {key: columns["divergences"][key][i] for key in ("w1", "kl_pq", "kl_qp", "entropy_q")}
            assert found["w1"] == pytest.approx(folded(m, abs(s - 1)), abs=5e-7)
            assert found["kl_pq"] == pytest.approx(math.log(s) + (1 + m**2) / (2 * s**2) - 0.5, rel=1e-8, abs=1e-12)
            assert found["kl_qp"] == pytest.approx(-math.log(s) + (s**2 + m**2) / 2 - 0.5, rel=1e-8, abs=1e-12)
            assert found["entropy_q"] == pytest.approx(math.log(s) + math.log(2 * math.pi * math.e) / 2, rel=1e-8)
    for key in ("js_slope", "w1_slope", "value", "js", "w1"):  # what is 0 is told as 0
        assert all(v == 0 or abs(v) > 1e-3 for v in columns["supports"][key]), key


def test_a_topic_reads_its_controls_from_text():
    dirac = lab.topic("dirac")
    assert dirac.set({"variant": "r1", "rate": ".2"})["rate"] == 0.2
    assert dirac.set({}) == dirac.start()
    assert lab.topic("depth").set({"residual": "True"})["residual"] is True
    for bad, said in (
        ({"variant": "wgan_gp"}, "unknown value of variant 'wgan_gp': did you mean 'wgan-gp'"),
        ({"speed": "1"}, "unknown control of dirac 'speed'"),
        ({"rate": "fast"}, "unknown value of rate 'fast': expected one of 0.05, 0.1, 0.2"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            dirac.set(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="unknown topic 'dirak': did you mean 'dirac'"):
        lab.topic("dirak")


def test_axes_hold_all_states():
    topic = lab.topic("likelihood")
    states = [topic.state(**setting) for setting in list(topic.settings())[::7]]
    for panel, (xlim, ylim) in zip(topic.panels, limits(topic, states), strict=True):
        for mark in panel.marks:
            x, y = (np.asarray([s[k] for s in states], float).ravel() for k in (mark.x, mark.y))
            assert x.min() >= xlim[0] and x.max() <= xlim[1]
            assert panel.ylim or (y.min() >= ylim[0] and y.max() <= ylim[1])


def test_formulas():
    whole = r"D^*(x) = \frac{p_{data}(x)}{p_g(x)} + \sqrt{f'(0)^2} \le \KL"
    tree = ElementTree.fromstring(mathml(whole))
    assert tree.tag == "math"
    assert [len(tree.findall(f".//{tag}")) for tag in ("mfrac", "msup", "msub", "msqrt")] == [1, 2, 2, 1]
    assert "≤" in "".join(tree.itertext())
    assert "<msubsup>" in mathml("p_d^2")
    with pytest.raises(ValueError, match=r"unknown command \\foo"):
        mathml(r"\foo")
    for topic in lab.TOPICS.values():
        for formula in topic.formulas:
            for part in formula.split(r"\quad"):
                ElementTree.fromstring(mathml(part))


class Links(HTMLParser):
    """Whatever a page would load, and the tags that it leaves open."""

    def __init__(self):
        super().__init__()
        self.loads, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.loads += [value for key, value in attributes if key in ("src", "href") and value[0] != "#"]
        if tag not in ("meta", "link", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(page, data):
    links = Links()
    links.feed(page.read_text())
    assert links.loads == ["data:,"] and not links.open
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert [t["name"] for t in data["topics"]] == SHOWN
    assert page.stat().st_size < 2_000_000


def test_pictures_for_print():
    for name in ("divergences", "dirac", "cd", "depth"):
        with Image.open(io.BytesIO(lab.lab_picture(name))) as image:
            assert min(image.size) > 300
            assert len(np.unique(np.asarray(image))) > 20
            assert (np.asarray(image.convert("L"))[:, [0, -1]] == 255).all()  # no line of text is cut off
    assert lab.lab_picture("dirac", variant="r1") != lab.lab_picture("dirac") == lab.lab_picture("dirac", steps=120)


# --- in the browser

needs_browser = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def look(browser, page, hash_, **size):
    browser.open(f"file://{page}#{hash_}", **size)


def numbers(browser):
    return browser.js(
        "Object.fromEntries([...document.querySelectorAll('section:not([hidden]) [data-number]')]"
        ".map(cell => [cell.dataset.number, cell.textContent]))"
    )


def text_of(value):
    """A number as the page writes it."""
    if isinstance(value, str):
        return {"nan": "\u2013", "inf": "\u221e", "-inf": "\u2212\u221e"}[value]
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        return np.format_float_positional(float(f"{value:.6g}"), trim="-").replace("-", "\u2212")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent):+d}".replace("-", "\u2212")


@needs_browser
@pytest.mark.parametrize("name", SHOWN)
def test_a_topic_renders_and_a_slider_shows_the_number_of_the_data(browser, page, data, name):
    topic = lab.TOPICS[name]
    look(browser, page, name)
    assert browser.js("[...document.querySelectorAll('section:not([hidden])')].map(s => s.dataset.topic)") == [name]
    drawn = browser.js(f"document.querySelectorAll('{HERE} svg path, {HERE} circle').length")
    assert drawn >= len(topic.panels)
    assert browser.js("document.querySelectorAll('section:not([hidden]) math').length") == sum(
        f.count(r"\quad") + 1 for f in topic.formulas
    )
    setting = topic.start()
    for control in topic.controls:
        k = len(control.values) - 1 if control.values.index(control.start) < len(control.values) - 1 else 0
        setting[control.key] = control.values[k]
        browser.js(
            f"(() => {{ const input = document.getElementById('{name}-{control.key}');"
            f"input.value = {k}; input.dispatchEvent(new Event('input')); }})()"
        )
        wanted = {n.key: text_of(stored(data, name, setting, n.key)) for n in topic.numbers}
        assert numbers(browser) == wanted
    assert browser.js("document.querySelector('section:not([hidden]) code').textContent") == topic.python(setting)
    assert browser.problems == []


DRAWN = f"""[...document.querySelectorAll('{HERE} svg')].map(svg => ({{
  texts: [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getAttribute('text-anchor'),
    Number(t.getAttribute('x')), Number(t.getAttribute('y')), t.hasAttribute('transform')]),
  marks: [...svg.querySelector('g').children].map(m => m.tagName === 'circle'
    ? [[Number(m.getAttribute('cx')), Number(m.getAttribute('cy'))], m.getAttribute('fill'), null]
    : [m.getAttribute('d').match(/-?[0-9.]+/g).map(Number), m.getAttribute('stroke') || m.getAttribute('fill'),
       m.getAttribute('stroke-dasharray')]) }}))"""


def axis(ticks, log):
    """What turns pixels into values (logarithms of them), read off the numbers beside an axis: all lie on one line."""
    values = np.array([float(text.replace("\u2212", "-")) for text, _ in ticks])
    values = np.log10(values) if log else values
    slope, start = np.polyfit([at for _, at in ticks], values, 1)
    np.testing.assert_allclose([start + slope * at for _, at in ticks], values, atol=abs(slope))
    return lambda pixels: start + slope * pixels, 2 * slope


@needs_browser
@pytest.mark.parametrize("name", SHOWN)
def test_what_is_drawn_lies_at_its_numbers(browser, page, name):
    """Every point to two pixels, in the colour and the dash of its legend."""
    topic = lab.TOPICS[name]
    state = topic.state(**topic.start())
    look(browser, page, name)
    for panel, seen in zip(topic.panels, browser.js(DRAWN), strict=True):
        *ticks, xlabel, ylabel = seen["texts"]
        assert (xlabel[0], xlabel[4], ylabel[0], ylabel[4]) == (panel.xlabel, False, panel.ylabel, True)
        X, near_x = axis([(t[0], t[2]) for t in ticks if t[1] == "middle"], "x" in panel.log)
        Y, near_y = axis([(t[0], t[3] - 4) for t in ticks if t[1] == "end"], "y" in panel.log)
        assert near_x > 0 > near_y  # more is to the right, and up, where pixels count downwards
        found = iter(seen["marks"])
        for mark in panel.marks:
            x, y = (np.atleast_1d(np.asarray(state[key], float)) for key in (mark.x, mark.y))
            if mark.until:
                x, y = x[: int(state[mark.until]) + 1], y[: int(state[mark.until]) + 1]
            parts = [next(found) for _ in range({"area": 2, "dots": len(x)}.get(mark.style, 1))]
            assert {colour for _, colour, _ in parts} == {f"var(--c{mark.colour})"}
            assert parts[-1][2] == ("6 5" if mark.style == "dash" else None)
            if mark.style == "arrows":
                u, v = state[mark.u], state[mark.v]
                moves = np.hypot(u, v) > 1e-9
                ends = np.reshape(parts[0][0], (-1, 10))  # from, to, and the two sides of the head
                np.testing.assert_allclose([X(ends[:, 0]), Y(ends[:, 1])], [x[moves], y[moves]], atol=near_x)
                ways = ends[:, 2] - ends[:, 0] + 1j * (ends[:, 1] - ends[:, 3])
                wanted, far = (u + 1j * v)[moves], np.abs(ways) > 5  # of shorter ones the rounding turns the way
                np.testing.assert_allclose((ways / abs(ways))[far], (wanted / abs(wanted))[far], atol=0.05)
                continue
            pixels = np.reshape(parts[-1][0] if mark.style != "dots" else [at for at, _, _ in parts], (-1, 2))
            for at, wanted, near, log in (
                (X(pixels[:, 0]), x, near_x, "x" in panel.log),
                (Y(pixels[:, 1]), y, -near_y, "y" in panel.log),
            ):
                np.testing.assert_allclose(at, np.log10(wanted) if log else wanted, atol=near)
        assert next(found, None) is None
    assert browser.problems == []


@needs_browser
@pytest.mark.slow
def test_the_whole_page(browser, tmp_path):
    page = lab.write_lab(tmp_path / "lab.html")
    assert page.stat().st_size < 3_000_000
    data = read(page)
    for name, topic in lab.TOPICS.items():
        for setting in corners(topic):
            values = "&".join(f"{key}={value}" for key, value in setting.items())
            for size in ({}, {"width": 390, "height": 844}):
                look(browser, page, f"{name}?{values}", **size)
                wanted = {n.key: text_of(stored(data, name, setting, n.key)) for n in topic.numbers}
                assert numbers(browser) == wanted
                assert browser.js("document.documentElement.scrollWidth") <= size.get("width", 1200)
    assert browser.problems == []


@needs_browser
def test_the_same_address_gives_the_same_pixels(browser, page):
    look(browser, page, "dirac")
    browser.js("document.getElementById('dirac-variant').focus()")
    for key in ("steps", "rate"):
        browser.js(
            f"(() => {{ const input = document.getElementById('dirac-{key}');"
            "input.value = 2; input.dispatchEvent(new Event('input')); document.activeElement.blur(); })()"
        )
    address, moved, shown = browser.js("location.hash"), browser.picture(), numbers(browser)
    assert "steps=30" in address and "rate=0.2" in address and "variant=minimax" in address
    look(browser, page, address[1:])
    assert numbers(browser) == shown
    assert browser.picture() == moved
    look(browser, page, "dirac")
    assert browser.picture() != moved
    look(browser, page, "nonsense?x=%%&steps=banana")
    assert numbers(browser)["kl_pq"] == "0.5"  # the first topic, at its start
    assert browser.problems == []


@needs_browser
def test_the_keyboard_is_enough(browser, page, data):
    look(browser, page, "supports")
    browser.js("document.querySelector('nav a').focus()")
    for _ in range(40):
        browser.press("Tab")
        if browser.js("document.activeElement.id") == "supports-shift":
            break
    assert browser.js("document.activeElement.id") == "supports-shift"
    browser.press("ArrowRight")
    assert numbers(browser)["w1"] == "0.6"
    browser.press("End")
    setting = {"shape": "intervals", "shift": 2.0}
    assert numbers(browser)["js"] == text_of(stored(data, "supports", setting, "js")) == "0.693147"
    assert browser.js("document.activeElement.getAttribute('aria-valuetext')") == "2"
    browser.press("Tab")
    assert browser.js("document.activeElement.textContent") == "Play"
    browser.press("Enter")
    assert browser.js("document.activeElement.textContent") == "Stop"
    browser.press("Enter")
    assert browser.js("document.activeElement.textContent") == "Play"


@needs_browser
@pytest.mark.parametrize("name", SHOWN)
def test_a_telephone_shows_it_all(browser, page, name):
    look(browser, page, name, width=390, height=844)
    assert browser.js("document.documentElement.scrollWidth") <= 390
    widths = browser.js(f"[...document.querySelectorAll('{HERE} svg')].map(s => s.getBoundingClientRect().right)")
    assert widths and max(widths) <= 390
    small = "Math.min(...[...document.querySelectorAll('section:not([hidden]) svg text')].map(t => t.getBBox().height))"
    assert browser.js(small) >= 10
    assert browser.problems == []
