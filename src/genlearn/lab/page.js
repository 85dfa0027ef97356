"use strict";
const { topics, pool } = JSON.parse(document.getElementById("data").textContent);
const byName = new Map(topics.map(topic => [topic.name, topic]));
const place = name => document.getElementById("topic-" + name);
let current = null, timer = null;

// An element with attributes and children; of SVG where the parent is.
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
function shape(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// The place of the current setting in every column: the last control runs fastest.
function index(topic) {
  return topic.controls.reduce((sum, control, i) => sum * control.texts.length + topic.at[i], 0);
}
function column(topic, key) {
  const { numbers, arrays } = topic.columns[key], i = index(topic);
  return numbers ? numbers[i] : pool[arrays[i]];
}
const plain = text => text.replace(/^'|'$/g, "").replace(/^True$/, "yes").replace(/^False$/, "no").replace(/\.0$/, "");

// Six figures, as all numbers of the page are shown.
function shown(value) {
  if (typeof value === "string") return { nan: "–", inf: "∞", "-inf": "−∞" }[value];
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size < 1e-4 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(6)));
  return text.replace("-", "−").replace("e-", "e−");
}

function scale(low, high, log, from, to) {
  const f = log ? Math.log10 : v => v;
  return v => from + (f(v) - f(low)) / (f(high) - f(low)) * (to - from);
}
function ticks(low, high, log, most) {
  const found = [];
  if (log) {
    const first = Math.ceil(Math.log10(low)), last = Math.floor(Math.log10(high));
    const step = Math.max(1, Math.ceil((last - first + 1) / most));
    for (let e = first; e <= last; e += step) found.push(10 ** e);
    return found;
  }
  const rough = (high - low) / most, base = 10 ** Math.floor(Math.log10(rough));
  const step = base * [1, 2, 5, 10].find(k => k * base >= rough);
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}
function label(value, log) {
  if (log && (value < 1e-2 || value > 999)) return "1e" + Math.round(Math.log10(value));
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

const list = value => Array.isArray(value) ? value : [value];
const round = value => Math.round(value * 10) / 10;

function draw(topic, panel, figure) {
  const space = figure.clientWidth - 26;
  const width = panel.square ? Math.min(space, 420) : space;
  const left = 50, right = 10, top = 6, bottom = 40;
  const height = panel.square ? width - left - right + top + bottom : Math.min(330, Math.max(220, 0.62 * width));
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": panel.title });
  const logs = { x: panel.log.includes("x"), y: panel.log.includes("y") };
  const X = scale(...panel.xlim, logs.x, left, width - right), Y = scale(...panel.ylim, logs.y, height - bottom, top);
  for (const v of ticks(...panel.xlim, logs.x, width / 75)) {
    svg.append(shape("line", { class: "grid", x1: round(X(v)), x2: round(X(v)), y1: top, y2: height - bottom }));
    svg.append(shape("text", { x: round(X(v)), y: height - bottom + 16, "text-anchor": "middle" }, label(v, logs.x)));
  }
  for (const v of ticks(...panel.ylim, logs.y, height / 45)) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: round(Y(v)), y2: round(Y(v)) }));
    svg.append(shape("text", { x: left - 6, y: round(Y(v)) + 4, "text-anchor": "end" }, label(v, logs.y)));
  }
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, panel.xlabel));
  const middle = (top + height - bottom) / 2;
  svg.append(shape("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, panel.ylabel));
  const id = `clip-${topic.name}-${topic.panels.indexOf(panel)}`;
  const clip = shape("clipPath", { id });
  clip.append(shape("rect", { x: left - 5, y: top - 5, width: width - left - right + 10, height: height - top - bottom + 10 }));
  const marks = shape("g", { "clip-path": `url(#${id})` });
  for (const mark of panel.marks) drawMark(topic, mark, marks, X, Y, Y(panel.ylim[0]));
  svg.append(clip, marks);
  figure.querySelector("svg").replaceWith(svg);
}

function drawMark(topic, mark, into, X, Y, ground) {
  let x = list(column(topic, mark.x)), y = list(column(topic, mark.y));
  if (mark.until) x = x.slice(0, column(topic, mark.until) + 1), y = y.slice(0, column(topic, mark.until) + 1);
  const colour = `var(--c${mark.colour})`;
  const points = x.map((v, i) => v === null || y[i] === null ? null : [X(v), Math.max(-1e4, Math.min(1e4, Y(y[i])))]);
  if (mark.style === "dots") {
    const radius = x.length === 1 ? 5 : x.length > 100 ? 2 : 3.5;
    for (const p of points) if (p) into.append(shape("circle", { cx: round(p[0]), cy: round(p[1]), r: radius, fill: colour }));
  } else if (mark.style === "arrows") {
    const u = column(topic, mark.u), v = column(topic, mark.v);
    const gap = Math.abs(X(x[1]) - X(x[0])), longest = Math.max(...u.map((a, i) => Math.hypot(a, v[i])));
    let d = "";
    points.forEach(([px, py], i) => {
      const size = Math.hypot(u[i], v[i]);
      if (size < 1e-9) return;
      const length = gap * 0.9 * Math.sqrt(size / longest), a = Math.atan2(-v[i], u[i]), b = Math.min(4, length / 2);
      const ex = px + length * Math.cos(a), ey = py + length * Math.sin(a);
      d += `M${round(px)} ${round(py)}L${round(ex)} ${round(ey)}`;
      d += `M${round(ex - b * Math.cos(a - .5))} ${round(ey - b * Math.sin(a - .5))}L${round(ex)} ${round(ey)}`;
      d += `L${round(ex - b * Math.cos(a + .5))} ${round(ey - b * Math.sin(a + .5))}`;
    });
    into.append(shape("path", { d, fill: "none", stroke: colour, "stroke-width": 1, opacity: .75 }));
  } else {
    let d = "", pen = "M";
    for (const p of points) {
      d += p ? `${pen}${round(p[0])} ${round(p[1])}` : "";
      pen = p ? "L" : "M";
    }
    const line = { d, fill: "none", stroke: colour, "stroke-width": 2, "stroke-linejoin": "round" };
    if (mark.style === "dash") line["stroke-dasharray"] = "6 5";
    if (mark.style === "area" && points.length) {
      const closed = `${d}L${round(points.at(-1)[0])} ${round(ground)}L${round(points[0][0])} ${round(ground)}Z`;
      into.append(shape("path", { d: closed, fill: colour, opacity: .22 }));
    }
    into.append(shape("path", line));
  }
}

// Controls, empty pictures and rows of a topic, once.
function build(topic) {
  const section = place(topic.name), form = section.querySelector("form");
  form.addEventListener("submit", event => event.preventDefault());
  topic.controls.forEach((control, i) => {
    const id = `${topic.name}-${control.key}`, output = element("output", { for: id });
    const input = control.slider
      ? element("input", { type: "range", id, min: 0, max: control.texts.length - 1, step: 1 })
      : element("select", { id }, ...control.texts.map((text, k) => element("option", { value: k }, plain(text))));
    input.dataset.key = control.key;
    const top = element("span", { class: "top" }, element("span", {}, control.label), ...(control.slider ? [output] : []));
    form.append(element("label", { for: id }, top, input));
    input.addEventListener("input", () => { stop(); topic.at[i] = Number(input.value); update(); });
  });
  if (topic.play) {
    const button = element("button", { type: "button", class: "play" }, "Play");
    button.addEventListener("click", () => timer ? stop() : play(topic, button));
    form.append(button);
  }
  const panels = section.querySelector(".panels");
  for (const panel of topic.panels) {
    const legend = element("div", { class: "legend" });
    for (const mark of panel.marks.filter(m => m.label)) {
      const key = element("i", { class: mark.style, style: `color: var(--c${mark.colour}); border-color: var(--c${mark.colour})` });
      legend.append(element("span", {}, key, mark.label));
    }
    panels.append(element("figure", {}, element("h3", {}, panel.title), legend, shape("svg", {})));
  }
  const body = section.querySelector("tbody");
  for (const number of topic.numbers) {
    body.append(element("tr", {}, element("th", { scope: "row" }, number.label),
      element("td", { class: "value", "data-number": number.key }),
      element("td", { class: "unit" }, number.unit), element("td", { class: "how" }, number.how)));
  }
  topic.built = true;
}

function play(topic, button) {
  const i = topic.controls.findIndex(control => control.key === topic.play), n = topic.controls[i].texts.length;
  if (topic.at[i] === n - 1) { topic.at[i] = 0; update(); }
  button.textContent = "Stop";
  timer = setInterval(() => { topic.at[i] += 1; update(); if (topic.at[i] >= n - 1) stop(); }, 140);
}
function stop() {
  clearInterval(timer);
  timer = null;
  for (const button of document.querySelectorAll(".play")) button.textContent = "Play";
}

// Show the current setting, and keep it in the address.
function update(keep = true) {
  const topic = current, section = place(topic.name);
  topic.controls.forEach((control, i) => {
    const input = document.getElementById(`${topic.name}-${control.key}`), text = plain(control.texts[topic.at[i]]);
    input.value = topic.at[i];
    if (control.slider) {
      input.setAttribute("aria-valuetext", text);
      section.querySelector(`output[for="${input.id}"]`).textContent = text.replace("-", "−");
    }
  });
  for (const cell of section.querySelectorAll("[data-number]")) cell.textContent = shown(column(topic, cell.dataset.number));
  const code = topic.controls.reduce((text, c, i) => text.replaceAll(`{${c.key}}`, c.texts[topic.at[i]]), topic.code);
  section.querySelector("code").textContent = code;
  const figures = section.querySelectorAll("figure");
  topic.panels.forEach((panel, i) => draw(topic, panel, figures[i]));
  if (keep) history.replaceState(null, "", address(topic));
}
function address(topic) {
  const pairs = topic.controls.map((c, i) => [c.key, c.texts[topic.at[i]].replace(/^'|'$/g, "")]);
  return `#${topic.name}?${new URLSearchParams(pairs)}`;
}

// Read the address: #topic?control=value&..; what is not known stays at its start.
function open() {
  stop();
  const [name, query] = location.hash.slice(1).split("?");
  current = byName.get(decodeURIComponent(name)) || topics[0];
  const given = new URLSearchParams(query);
  current.at = current.controls.map(control => {
    const k = control.texts.findIndex(text => given.has(control.key) && text.replace(/^'|'$/g, "") === given.get(control.key));
    return k >= 0 ? k : control.start;
  });
  for (const topic of topics) place(topic.name).hidden = topic !== current;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#" + current.name) { link.setAttribute("aria-current", "page"); link.scrollIntoView({ block: "nearest", inline: "nearest" }); }
    else link.removeAttribute("aria-current");
  }
  if (!current.built) build(current);
  update(false);
}
addEventListener("hashchange", open);
addEventListener("resize", () => update(false));
open();
