"use strict";
// The report of one launch. `data` is the JSON that davinci_sim.trace.report writes; see its docstrings.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const NUMBER = new Intl.NumberFormat("en-US");
const cyclesText = (cycles) => NUMBER.format(Math.round(cycles));
const percent = (part) => `${(100 * part).toFixed(1)} %`;

// Colours: one hue for each instruction or cause, spread by the golden angle so that neighbours differ.
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const hue = (index) => (index * 137.508 + 210) % 360;
const colourOf = (index) => `hsl(${hue(index)} 58% ${dark ? 58 : 52}%)`;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function showHeader() {
  for (const [name, value] of data.facts) {
    $("facts").append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  for (const sentence of data.advice) $("advice").append(element("li", {}, sentence));
}

function legend(where, names, colours) {
  where.replaceChildren(...names.map((name, i) =>
    element("span", {}, element("i", { style: `background:${colours[i]}` }), name)));
}

// ---- timeline -----------------------------------------------------------------------------------------

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Int32Array(await new Response(stream).arrayBuffer());
}

// A lane holds the instructions of one pipe of one core: columns of the same length, ordered by start.
async function readLanes() {
  const cores = new Map();
  for (const lane of data.timeline.lanes) {
    const [start, length, op, line] = await Promise.all(["start", "length", "op", "line"].map((c) => unpack(lane[c])));
    if (!cores.has(lane.core)) cores.set(lane.core, []);
    cores.get(lane.core).push({ pipe: lane.pipe, start, length, op, line });
  }
  return cores;
}

// First index whose end lies behind `cycle`.
function firstAfter(lane, cycle) {
  let low = 0, high = lane.start.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane.start[middle] + lane.length[middle] > cycle) high = middle; else low = middle + 1;
  }
  return low;
}

class Timeline {
  constructor(canvas, cores, total) {
    this.canvas = canvas;
    this.cores = cores;
    this.total = Math.max(1, total);
    this.core = [...cores.keys()][0];
    this.from = 0;
    this.to = this.total;
    this.left = 70;
    this.laneHeight = 34;
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  get lanes() { return this.cores.get(this.core) ?? []; }
  get width() { return this.canvas.clientWidth - this.left; }
  x(cycle) { return this.left + (cycle - this.from) / (this.to - this.from) * this.width; }
  cycle(x) { return this.from + (x - this.left) / this.width * (this.to - this.from); }

  show(from, to) {
    const least = Math.min(20, this.total);
    const span = Math.min(this.total, Math.max(least, to - from));
    this.from = Math.min(Math.max(0, from), this.total - span);
    this.to = this.from + span;
    this.draw();
  }

  zoom(factor, x) {
    const centre = this.cycle(x);
    this.show(centre - (centre - this.from) * factor, centre + (this.to - centre) * factor);
  }

  listen() {
    const c = this.canvas;
    let held = null;
    c.addEventListener("wheel", (e) => { e.preventDefault(); this.zoom(Math.exp(e.deltaY * 0.0015), e.offsetX); }, { passive: false });
    c.addEventListener("pointerdown", (e) => { held = { x: e.offsetX, from: this.from, to: this.to, moved: false }; c.setPointerCapture(e.pointerId); });
    c.addEventListener("pointermove", (e) => {
      if (held) {
        const moved = (e.offsetX - held.x) / this.width * (held.to - held.from);
        held.moved ||= Math.abs(e.offsetX - held.x) > 3;
        if (held.moved) this.show(held.from - moved, held.to - moved);
      }
      this.tip(e.offsetX, e.offsetY);
    });
    c.addEventListener("pointerup", (e) => {
      if (held && !held.moved) this.find(e.offsetX, e.offsetY);
      held = null;
    });
    c.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    c.addEventListener("dblclick", () => this.show(0, this.total));
    c.addEventListener("keydown", (e) => {
      const step = (this.to - this.from) * 0.2, middle = this.left + this.width / 2;
      const moves = {
        ArrowLeft: () => this.show(this.from - step, this.to - step),
        ArrowRight: () => this.show(this.from + step, this.to + step),
        "+": () => this.zoom(0.7, middle), "=": () => this.zoom(0.7, middle), "-": () => this.zoom(1 / 0.7, middle),
        Home: () => this.show(0, this.total),
      };
      if (moves[e.key]) { e.preventDefault(); moves[e.key](); }
    });
  }

  draw() {
    const ratio = devicePixelRatio || 1, height = 26 + this.lanes.length * this.laneHeight;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    this.axis(pen, height);
    this.lanes.forEach((lane, i) => this.lane(pen, lane, 24 + i * this.laneHeight));
    const us = (cycles) => (cycles * 1e6 / data.clock_hz).toFixed(3);
    $("window").textContent = `${cyclesText(this.from)} to ${cyclesText(this.to)} cycles (${us(this.from)} to ${us(this.to)} us)`;
  }

  axis(pen, height) {
    const rough = (this.to - this.from) / 8, power = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough));
    pen.strokeStyle = style("--line");
    pen.fillStyle = style("--soft");
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.beginPath(); pen.moveTo(x, 18); pen.lineTo(x, height); pen.stroke();
      pen.fillText(cyclesText(at), x + 3, 13);
    }
  }

  lane(pen, lane, top) {
    const inner = this.laneHeight - 8;
    pen.save();
    pen.beginPath(); pen.rect(this.left, top, this.width, this.laneHeight); pen.clip();
    let i = firstAfter(lane, this.from), covered = -1;
    for (; i < lane.start.length && lane.start[i] < this.to; i++) {
      const x = this.x(lane.start[i]), end = this.x(lane.start[i] + lane.length[i]);
      if (end < covered) continue; // lies within the pixel that was drawn last
      const wide = Math.max(end - x, 1);
      pen.fillStyle = data.timeline.colours[lane.op[i]];
      pen.fillRect(x, top + 4, wide > 3 ? wide - 0.6 : wide, inner);
      covered = Math.floor(end) + 0.5;
      if (wide > 46) this.label(pen, data.timeline.ops[lane.op[i]], x, wide, top + 4 + inner / 2);
      if (wide <= 1) i = Math.max(i, firstAfter(lane, this.cycle(covered)) - 1);
    }
    pen.restore();
    pen.fillStyle = style("--ink");
    pen.fillText(lane.pipe, 10, top + this.laneHeight / 2 + 4);
  }

  label(pen, text, x, wide, y) {
    pen.fillStyle = "#ffffff";
    const from = Math.max(x, this.left) + 4, room = x + wide - from - 4;
    let shown = text;
    while (shown.length > 1 && pen.measureText(shown).width > room) shown = shown.slice(0, -1);
    if (shown.length > 2) pen.fillText(shown, from, y + 4);
  }

  // The instruction at a point, or null.
  at(x, y) {
    const lane = this.lanes[Math.floor((y - 24) / this.laneHeight)];
    if (!lane || x < this.left) return null;
    const cycle = this.cycle(x), i = firstAfter(lane, cycle);
    return i < lane.start.length && lane.start[i] <= cycle ? { lane, i } : null;
  }

  tip(x, y) {
    const found = this.at(x, y), tip = $("tip");
    tip.hidden = !found;
    if (!found) return;
    const { lane, i } = found, line = data.lines[lane.line[i]];
    const where = line ? `\n${line.place}: ${line.text}` : "";
    tip.textContent = `${data.timeline.ops[lane.op[i]]} on ${lane.pipe}\ncycle ${cyclesText(lane.start[i])}, ${cyclesText(lane.length[i])} long${where}`;
    tip.style.left = `${Math.min(x + 14, this.canvas.clientWidth - 320)}px`;
    tip.style.top = `${Math.max(0, y - 8)}px`;
  }

  find(x, y) {
    const found = this.at(x, y);
    if (!found) return;
    document.querySelectorAll(".found").forEach((row) => row.classList.remove("found"));
    const row = $(`line-${found.lane.line[found.i]}`);
    if (row) { row.classList.add("found"); row.scrollIntoView({ block: "center", behavior: "smooth" }); }
  }
}

async function showTimeline() {
  data.timeline.colours = data.timeline.ops.map((_, i) => colourOf(i));
  const cores = await readLanes();
  const timeline = new Timeline($("timeline"), cores, data.cycles);
  for (const core of cores.keys()) $("core").append(element("option", { value: core }, String(core)));
  $("core").addEventListener("change", (e) => { timeline.core = Number(e.target.value); timeline.draw(); });
  legend($("timeline-legend"), data.timeline.ops, data.timeline.colours);
  $("left-out").textContent = data.timeline.left_out;
  timeline.draw();
  return timeline;
}

// ---- ledger -------------------------------------------------------------------------------------------

// Work is green, memory blue, waits from yellow over red to violet; what is no pipe's fault is grey.
const HUES = {
  busy: 145, "ragged fractals": 172, "bank conflict": 118, "transfer head": 190, "short bursts": 200, "l2 share": 210,
  "l2 miss": 220, "hbm share": 232, "write back": 245, "hand off": 160, barrier: 350, flag: 50, "buffer full": 26,
  dispatch: 330, "queue full": 300, "scalar wait": 275,
};
const GREYS = { fill: 62, drain: 68, unused: 80, "block start": 48, imbalance: 56, "no block": 86 };

function causeColour(cause) {
  return cause in HUES ? `hsl(${HUES[cause]} 58% 48%)` : `hsl(210 8% ${GREYS[cause] ?? 40}%)`;
}

function showLedger() {
  const { causes, pipes, cycles } = data.ledger, total = data.ledger.total;
  const colours = causes.map(causeColour);
  for (const [p, pipe] of pipes.entries()) {
    const parts = causes.map((cause, c) => element("span", {
      style: `width:${100 * cycles[p][c] / total}%;background:${colours[c]}`,
      title: `${cause}: ${cyclesText(cycles[p][c])} cycles, ${percent(cycles[p][c] / total)}`,
    }));
    $("ledger-bars").append(element("div", { class: "bar" }, pipe, element("div", {}, ...parts)));
  }
  const used = causes.map((_, c) => c).filter((c) => cycles.some((column) => column[c] > 0));
  legend($("ledger-legend"), used.map((c) => causes[c]), used.map((c) => colours[c]));
  const head = element("tr", {}, element("th", {}, "cause"), ...pipes.map((pipe) => element("th", {}, pipe)));
  const rows = used.map((c) => element("tr", {}, element("td", {}, causes[c]),
    ...pipes.map((_, p) => element("td", {}, cyclesText(cycles[p][c])))));
  const sums = pipes.map((_, p) => cycles[p].reduce((a, b) => a + b, 0));
  const last = element("tr", { class: "total" }, element("td", {}, "sum"), ...sums.map((sum) => element("td", {}, cyclesText(sum))));
  $("ledger").append(head, ...rows, last);
}

// ---- roofline -----------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function draw(parent, tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// Operations a second over operations per byte, both logarithmic; roofs from left to right.
function showRoofline() {
  const { roofs, unit } = data.roofline;
  const points = data.roofline.points.filter((p) => p.intensity > 0 && p.rate > 0);
  const peaks = roofs.filter((roof) => roof.peak).map((roof) => roof.peak);
  const tallest = 2 * Math.max(...peaks, ...points.map((p) => p.rate));
  const lowest = Math.min(...points.map((p) => p.rate), ...peaks) / 20;
  const highest = Math.max(...peaks);
  const knees = roofs.filter((roof) => roof.slope).map((roof) => highest / roof.slope);
  const spots = [...points.map((p) => p.intensity), ...knees];
  const most = 8 * Math.max(...spots), least = Math.min(...spots) / 8;
  const wide = 780, high = 430, left = 70, bottom = 45;
  const x = (v) => left + Math.log(v / least) / Math.log(most / least) * (wide - left - 20);
  const y = (v) => high - bottom - Math.log(v / lowest) / Math.log(tallest / lowest) * (high - bottom - 20);
  const svg = draw($("roofline"), "svg", { viewBox: `0 0 ${wide} ${high}`, role: "img" });
  for (let p = Math.ceil(Math.log10(least)); 10 ** p <= most; p++) {
    draw(svg, "line", { x1: x(10 ** p), x2: x(10 ** p), y1: 20, y2: high - bottom, class: "grid" });
    draw(svg, "text", { x: x(10 ** p), y: high - bottom + 18, "text-anchor": "middle" }, `${10 ** p}`);
  }
  for (let p = Math.ceil(Math.log10(lowest)); 10 ** p <= tallest; p++) {
    draw(svg, "line", { x1: left, x2: wide - 20, y1: y(10 ** p), y2: y(10 ** p), class: "grid" });
    draw(svg, "text", { x: left - 8, y: y(10 ** p) + 4, "text-anchor": "end" }, `${10 ** p}`);
  }
  draw(svg, "text", { x: (left + wide) / 2, y: high - 8, "text-anchor": "middle" }, data.roofline.across);
  draw(svg, "text", { x: 14, y: 14 }, unit);
  for (const roof of roofs) {
    const from = roof.peak ? [least, roof.peak] : [Math.max(least, lowest / roof.slope), 0];
    if (!roof.peak) from[1] = from[0] * roof.slope;
    const to = roof.peak ? [most, roof.peak] : [highest / roof.slope, highest];
    draw(svg, "line", { x1: x(from[0]), y1: y(from[1]), x2: x(to[0]), y2: y(to[1]), class: "roof", "stroke-dasharray": roof.dash ?? "" });
    if (roof.peak) {
      draw(svg, "text", { x: wide - 24, y: y(roof.peak) - 6, "text-anchor": "end" }, roof.name);
    } else { // the steepest roof is named on its left, the others on their right
      const isSteepest = roof.slope === Math.max(...roofs.map((r) => r.slope ?? 0));
      const at = [x(Math.sqrt(from[0] * to[0])), y(Math.sqrt(from[1] * to[1]))];
      const [dx, dy, anchor] = isSteepest ? [-10, -4, "end"] : [10, 12, "start"];
      draw(svg, "text", { x: at[0] + dx, y: at[1] + dy, "text-anchor": anchor }, roof.name);
    }
  }
  for (const point of points) {
    draw(svg, "circle", { cx: x(point.intensity), cy: y(point.rate), r: 7, class: "point" });
    draw(svg, "text", { x: x(point.intensity) + 11, y: y(point.rate) + 14 }, point.name);
  }
  const head = element("tr", {}, ...["ceiling", "least cycles", "of the time"].map((t) => element("th", {}, t)));
  $("ceilings").append(head, ...data.roofline.ceilings.map((each) => element("tr", {},
    element("td", {}, each.name), element("td", {}, cyclesText(each.cycles)), element("td", {}, percent(each.cycles / data.cycles)))));
}

// ---- source -------------------------------------------------------------------------------------------

function showSource() {
  const longest = Math.max(1, ...data.lines.map((line) => line.busy + line.waiting));
  for (const file of data.files) {
    const head = element("tr", {}, ...["line", "busy", "waiting", ""].map((t) => element("th", {}, t)));
    const rows = file.lines.map((line) => {
      const known = line.index === null ? null : data.lines[line.index];
      const shade = (part, name) => known && part > 0 ? `background:rgba(var(${name}),${(0.12 + 0.6 * part / longest).toFixed(3)})` : "";
      const row = element("tr", {},
        element("td", { class: "number" }, String(line.number)),
        element("td", { style: shade(known?.busy, "--heat") }, known ? cyclesText(known.busy) : ""),
        element("td", { style: shade(known?.waiting, "--wait") }, known ? cyclesText(known.waiting) : ""),
        element("td", { class: "text" }, line.text));
      if (known) row.id = `line-${line.index}`;
      return row;
    });
    $("source").append(element("p", { class: "file" }, file.path), element("div", { class: "code" }, element("table", {}, head, ...rows)));
  }
}

async function showAll() {
  showHeader();
  showLedger();
  showRoofline();
  showSource();
  window.timeline = await showTimeline();
  document.body.dataset.ready = "yes";
}

showAll();
