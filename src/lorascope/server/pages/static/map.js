// The map: every LoRA as a point on a canvas, from one array of the API; where there is room, as its picture. Sliders and
// lines filter in the browser, and a search highlights what it finds.

import { blend, roundPoint } from "./points.js";
import { KDBush, select, zoom, zoomIdentity } from "./vendor/map.min.js";

const MARGIN = { left: 52, right: 18, top: 18, bottom: 40 };
const REACH = 14; // px within which a point counts as pointed at
const PICTURE = 3.25; // rem of a picture's side; there is at most one in each square of this size
const LARGEST = 1.85; // times as large pictures become as one zooms in
const TINY = 128; // px up to which pictures are drawn with sharp pixels, as everywhere
const KEPT = 1000; // pictures in memory: more than a screen shows
const FAINT = 0.15; // how much is seen of what a search does not find
const GRIP = 7; // px within which a threshold's line can be taken

const box = document.getElementById("map");
const canvas = box.querySelector("canvas");
const tip = box.querySelector(".tip");
const told = document.getElementById("map-told");
const search = document.getElementById("map-ask");
const sliders = { strength: document.getElementById("map-strength"), consistency: document.getElementById("map-consistency") };
const pen = canvas.getContext("2d");
const dots = document.createElement("canvas").getContext("2d");

let data; // the API's arrays
let view; // "directions": what they do; "figures": how strong, how reliable
let fates; // of each LoRA, by the thresholds
let labels = []; // words for parts of the map
let lit = null; // the places of what a search has found
const colours = new Map();
const pictures = new Map(); // by place: a picture, or null while there is none; those used last come last
let area; // before zooming: x, y turn numbers into pixels; left, top are the points; index finds them
let transform = zoomIdentity;
let pointed = -1;
let tapped = -1;
let waiting = false;
let written = null; // the transform with which the points were written; null if they have to be written anew
let moving = 0; // gestures under way; pictures are fetched when there is none: of most that pass by nothing would be seen

const zooming = zoom()
  .scaleExtent([1, 60])
  // one finger scrolls the page, two move the map
  .filter((event) => !event.button && !lineAt(event) && (!event.touches || event.touches.length > 1))
  .on("start", () => moving++)
  .on("zoom", (event) => {
    transform = event.transform;
    draw();
  })
  .on("end", () => {
    moving--;
    draw();
  });

start();

async function start() {
  try {
    const answer = await fetch(box.dataset.source);
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    data = await answer.json();
  } catch (error) {
    told.textContent = `The map cannot be drawn: ${error.message}. The table holds the same.`;
    return;
  }
  document.querySelector("[data-view=directions]").disabled = !data.x;
  choose(data.x ? "directions" : "figures");
  select(canvas).call(zooming).on("dblclick.zoom", null);
  new ResizeObserver(layOut).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours.clear();
    drawAnew();
  });
  listen();
  tell();
  if (search.elements.q.value) light();
  const answer = await fetch(box.dataset.labels);
  if (answer.ok) labels = await answer.json();
  draw();
}

// --- from numbers to pixels ---------------------------------------------------------------------------------------

function layOut() {
  const ratio = window.devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = box;
  canvas.width = Math.max(1, width * ratio);
  canvas.height = Math.max(1, height * ratio);
  const [xs, ys] = view === "figures" ? [data.strength, data.consistency] : [data.x, data.y];
  const spans = view === "figures" ? [[0, Number(sliders.strength.max)], [0, Number(sliders.consistency.max)]] : [span(xs), span(ys)];
  const x = line(spans[0], MARGIN.left, width - MARGIN.right);
  const y = line(spans[1], height - MARGIN.bottom, MARGIN.top);
  const index = new KDBush(xs.length, 16, Float32Array);
  const [left, top] = [Float32Array.from(xs, (value) => x(value ?? 0)), Float32Array.from(ys, (value) => y(value ?? 0))];
  left.forEach((px, i) => index.add(px, top[i]));
  index.finish();
  const pixels = pen.createImageData(canvas.width, canvas.height);
  [dots.canvas.width, dots.canvas.height] = [canvas.width, canvas.height];
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  area = { width, height, ratio, rem, x, y, left, top, index, pixels };
  zooming.extent([[0, 0], [width, height]]).translateExtent([[0, 0], [width, height]]);
  drawAnew();
}

/** From the least to the greatest number, with a margin. */
function span(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const one of numbers) if (one !== null) [low, high] = [Math.min(low, one), Math.max(high, one)];
  const margin = 0.06 * (high - low) || 1;
  return [low - margin, high + margin];
}

function line([from, to], start, end) {
  const place = (number) => start + ((number - from) / (to - from)) * (end - start);
  place.back = (pixel) => from + ((pixel - start) / (end - start)) * (to - from);
  return place;
}

const limits = () => ({ strength: Number(sliders.strength.value), consistency: Number(sliders.consistency.value) });
const open = (slider) => Number(slider.value) === Number(slider === sliders.strength ? slider.max : slider.min);

/** Of each LoRA 0: shown, 1: too strong, 2: too inconsistent. As in a search, where the whole interval lies beyond. */
function judge() {
  const { strength, consistency } = limits();
  const [any, every] = [open(sliders.strength), open(sliders.consistency)];
  fates = Uint8Array.from(data.keys, (_, i) => {
    if (!any && (data.strength_low[i] ?? data.strength[i]) > strength) return 1;
    if (every) return 0;
    return data.consistency[i] === null || (data.consistency_high[i] ?? data.consistency[i]) < consistency ? 2 : 0;
  });
}

// --- drawing ------------------------------------------------------------------------------------------------------

function drawAnew() {
  written = null;
  draw();
}

function draw() {
  if (waiting || !area) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paint();
  });
}

/** A colour of the style sheet, looked up once. */
function colour(name) {
  if (!colours.has(name)) {
    canvas.style.color = `var(--${name})`; // resolves light-dark() as the style sheet does
    colours.set(name, getComputedStyle(canvas).color);
  }
  return colours.get(name);
}

function paint() {
  const { width, height, ratio, left, top } = area;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  axes();
  pen.save();
  pen.beginPath();
  pen.rect(MARGIN.left, MARGIN.top, width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom);
  pen.clip();
  const size = Math.min(8, (left.length > 3000 ? 1.8 : left.length > 300 ? 3.6 : 5.5) * Math.sqrt(transform.k));
  showPoints(size);
  if (lit) for (const i of lit) ring(i, size, "warn");
  if (view === "directions") {
    if (lit) showLabels(); // what is lit is never covered
    showPictures();
    if (!lit) showLabels();
  } else thresholds();
  if (pointed >= 0) ring(pointed, size, "text");
  pen.restore();
}

/** Points, which are written once; while the map moves, what was written is moved and scaled. */
function showPoints(size) {
  if (!written || (!moving && written !== transform) || isFar()) writePoints(size);
  const [x, y, share] = movedBy();
  pen.drawImage(dots.canvas, x, y, share * area.width, share * area.height);
}

/** Where what was written lies by now, and how many times as large it is. */
function movedBy() {
  const share = transform.k / written.k;
  return [Math.round(transform.x - share * written.x), Math.round(transform.y - share * written.y), share];
}

/** Whether so much else has come into sight that points would be missed, or they would be too coarse. */
function isFar() {
  const [x, y, share] = movedBy();
  const { width, height } = area;
  const bare = Math.max(x / width, y / height, 1 - x / width - share, 1 - y / height - share);
  return bare > 0.3 || share > 1.7;
}

function writePoints(size) {
  const { width, height, ratio, left, top, pixels } = area;
  const { k, x: dx, y: dy } = (written = transform);
  const point = roundPoint(size * ratio);
  pixels.data.fill(0);
  for (const [hidden, name, alpha] of [[true, "edge", 0.35], [false, "accent", 0.75]]) {
    const paint = colour(name).match(/\d+/g).map(Number);
    for (let i = 0; i < left.length; i++) {
      const [px, py] = [left[i] * k + dx, top[i] * k + dy];
      if (fates[i] > 0 !== hidden || px < 0 || py < 0 || px > width || py > height) continue;
      blend(pixels, point, px * ratio, py * ratio, paint, lit && !lit.has(i) ? FAINT : alpha);
    }
  }
  dots.putImageData(pixels, 0, 0);
}

/** Pictures, one in each square of the canvas; if a search has found some, only theirs. */
function showPictures() {
  const { left, top, width, height, rem } = area;
  const { k, x: dx, y: dy } = transform;
  const taken = new Set();
  const side = Math.min(LARGEST, Math.sqrt(k)) * PICTURE * rem;
  pen.strokeStyle = colour("warn");
  pen.lineWidth = 2;
  for (const i of lit ?? left.keys()) {
    const [px, py] = [left[i] * k + dx, top[i] * k + dy];
    if (fates[i] > 0 || px < 0 || py < 0 || px > width || py > height) continue;
    const square = 9999 * Math.floor(px / side) + Math.floor(py / side);
    if (taken.has(square)) continue;
    taken.add(square);
    const picture = pictureOf(i);
    if (!picture) continue;
    pen.imageSmoothingEnabled = picture.width > TINY;
    pen.drawImage(picture, px - side / 2 + 2, py - side / 2 + 2, side - 4, side - 4);
    if (lit) pen.strokeRect(px - side / 2 + 2, py - side / 2 + 2, side - 4, side - 4);
  }
}

/** The picture of a LoRA, once it is loaded; a mature one only where these are shown. */
function pictureOf(i) {
  if (data.mature[i] && document.documentElement.dataset.mature !== "show") return null;
  const known = pictures.get(i);
  if (known === undefined && !moving) load(i);
  if (!known) return null;
  pictures.delete(i);
  pictures.set(i, known);
  return known;
}

/** Fetch a picture, and keep it decoded and in the size of the map: a browser may decode an image each time it is drawn. */
async function load(i) {
  pictures.set(i, null);
  const answer = await fetch(`/api/v1/adapters/${encodeURIComponent(data.keys[i])}/previews/0?protocol=${box.dataset.protocol}&size=small`).catch(() => null);
  if (!answer?.ok) return; // measured elsewhere: there is none
  const picture = await createImageBitmap(await answer.blob());
  const side = Math.ceil(LARGEST * PICTURE * area.rem * area.ratio);
  const shrunk = { resizeWidth: Math.max(side, TINY + 1), resizeQuality: "high" };
  pictures.set(i, picture.width > shrunk.resizeWidth ? await createImageBitmap(picture, shrunk) : picture);
  for (const [old] of pictures) if (pictures.size > KEPT) pictures.delete(old);
  draw();
}

/** Words where those are that they describe, the most frequent first; none covers another. */
function showLabels() {
  pen.font = "600 14px system-ui, sans-serif";
  pen.textAlign = "center";
  const placed = [];
  for (const { phrase, x, y } of labels) {
    const [px, py] = transform.apply([area.x(x), area.y(y)]);
    const half = pen.measureText(phrase).width / 2 + 6;
    if (px < MARGIN.left + half || px > area.width - half || py < 20 || py > area.height - 20) continue;
    if (placed.some(([ox, oy, other]) => Math.abs(px - ox) < half + other && Math.abs(py - oy) < 24)) continue;
    placed.push([px, py, half]);
    pen.fillStyle = colour("ground");
    pen.globalAlpha = 0.85;
    pen.fillRect(px - half, py - 15, 2 * half, 22);
    pen.globalAlpha = 1;
    pen.fillStyle = colour("text");
    pen.fillText(phrase, px, py);
  }
  pen.font = "12px system-ui, sans-serif";
}

function ring(i, size, name) {
  const [px, py] = transform.apply([area.left[i], area.top[i]]);
  pen.strokeStyle = colour(name);
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(px, py, size + 3, 0, 7);
  pen.stroke();
}

function thresholds() {
  pen.strokeStyle = colour("warn");
  pen.lineWidth = 1.5;
  pen.setLineDash([6, 4]);
  pen.beginPath();
  const [px, py] = lines();
  pen.moveTo(px, 0);
  pen.lineTo(px, area.height);
  pen.moveTo(0, py);
  pen.lineTo(area.width, py);
  pen.stroke();
  pen.setLineDash([]);
}

const lines = () => {
  const { strength, consistency } = limits();
  return transform.apply([area.x(strength), area.y(consistency)]);
};

function axes() {
  const { width, height, x, y } = area;
  pen.fillStyle = colour("soft");
  pen.strokeStyle = colour("line");
  pen.lineWidth = 1;
  const labels = view === "figures" ? ["Strength", "Consistency"] : [data.axes?.x?.join(" … ") ?? "", data.axes?.y?.join(" … ") ?? ""];
  pen.textAlign = "right";
  pen.fillText(labels[0], width - MARGIN.right, height - 8);
  pen.save();
  pen.translate(13, MARGIN.top);
  pen.rotate(-Math.PI / 2);
  pen.fillText(labels[1], 0, 0);
  pen.restore();
  if (view !== "figures") return;
  pen.textAlign = "center";
  for (const tick of ticks(x.back(transform.invertX(MARGIN.left)), x.back(transform.invertX(width - MARGIN.right)))) {
    const px = transform.applyX(x(tick));
    rule(px, MARGIN.top, px, height - MARGIN.bottom);
    pen.fillText(short(tick), px, height - MARGIN.bottom + 15);
  }
  pen.textAlign = "right";
  for (const tick of ticks(y.back(transform.invertY(height - MARGIN.bottom)), y.back(transform.invertY(MARGIN.top)))) {
    const py = transform.applyY(y(tick));
    rule(MARGIN.left, py, width - MARGIN.right, py);
    pen.fillText(short(tick), MARGIN.left - 6, py + 4);
  }
}

function rule(...[x1, y1, x2, y2]) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

const short = (number) => String(Number(number.toPrecision(4)));

function ticks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

// --- pointing, dragging, telling ----------------------------------------------------------------------------------

function listen() {
  let dragged = null;
  search.addEventListener("submit", light);
  document.getElementById("mature").addEventListener("change", draw);
  canvas.addEventListener("pointerdown", (event) => {
    dragged = lineAt(event);
    if (dragged) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged) drag(dragged, event);
    else point(event);
  });
  canvas.addEventListener("pointerup", () => (dragged = null));
  canvas.addEventListener("pointercancel", () => (dragged = null));
  canvas.addEventListener("pointerleave", () => show(-1));
  canvas.addEventListener("click", (event) => {
    const i = nearest(event);
    if (event.pointerType === "touch" && i >= 0 && i !== tapped) return show((tapped = i), place(event)); // the second tap opens
    if (i >= 0) location.assign(`/adapters/${encodeURIComponent(data.keys[i])}?protocol=${box.dataset.protocol}`);
  });
  for (const slider of Object.values(sliders)) slider.addEventListener("input", filter);
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => turn(button));
  const steps = { in: (map) => zooming.scaleBy(map, 1.7), out: (map) => zooming.scaleBy(map, 1 / 1.7), all: (map) => zooming.transform(map, zoomIdentity) };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => steps[button.dataset.zoom](select(canvas)));
  }
}

function choose(name) {
  view = name;
  for (const other of document.querySelectorAll("[data-view]")) other.setAttribute("aria-pressed", other.dataset.view === name);
}

/** Highlight what a search finds: clear and likely matches, or the nearest few. */
async function light(event) {
  event?.preventDefault();
  const q = search.elements.q.value.trim();
  const address = new URL(location);
  if (q) address.searchParams.set("q", q);
  else address.searchParams.delete("q");
  history.replaceState(history.state, "", address);
  if (!q) {
    lit = null;
    tell();
    return drawAnew();
  }
  const asked = { q, everything: true, limit: 200, protocol: box.dataset.protocol };
  const answer = await fetch(`/api/v1/search?${new URLSearchParams(asked)}`).catch(() => null);
  const found = await answer?.json();
  if (!answer?.ok) return (told.textContent = found?.error.message ?? "The server does not answer.");
  const sure = found.hits.filter(({ clarity }) => clarity === "clear" || clarity === "likely");
  const places = new Map(data.keys.map((key, i) => [key, i]));
  const hits = sure.length ? sure : found.hits.slice(0, 6);
  lit = new Set(hits.map(({ adapter }) => places.get(adapter.key)).filter((i) => i !== undefined));
  if (![...lit].some(inSight)) zooming.transform(select(canvas), zoomIdentity);
  told.textContent = sure.length ? `${lit.size} do “${q}”` : `Nothing clearly does “${q}”; the nearest ${lit.size} are highlighted`;
  drawAnew();
}

function inSight(i) {
  const [px, py] = transform.apply([area.left[i], area.top[i]]);
  return px > MARGIN.left && py > MARGIN.top && px < area.width - MARGIN.right && py < area.height - MARGIN.bottom;
}

function turn(button) {
  choose(button.dataset.view);
  show(-1);
  zooming.transform(select(canvas), zoomIdentity);
  layOut();
}

function place(event) {
  const { left, top } = canvas.getBoundingClientRect();
  const { clientX, clientY } = event.touches?.[0] ?? event;
  return [clientX - left, clientY - top];
}

/** Which threshold's line is under the pointer. */
function lineAt(event) {
  if (view !== "figures" || !area || event.type === "wheel") return null;
  const [px, py] = place(event);
  const [lx, ly] = lines();
  return Math.abs(px - lx) < GRIP ? "strength" : Math.abs(py - ly) < GRIP ? "consistency" : null;
}

function drag(name, event) {
  const [px, py] = transform.invert(place(event));
  sliders[name].value = name === "strength" ? area.x.back(px) : area.y.back(py);
  filter();
}

function filter() {
  tell();
  drawAnew();
}

function nearest(event) {
  const pixel = place(event);
  const [px, py] = transform.invert(pixel);
  let [best, least] = [-1, REACH];
  for (const i of area.index.within(px, py, REACH / transform.k)) {
    const [x, y] = transform.apply([area.left[i], area.top[i]]);
    const distance = Math.hypot(x - pixel[0], y - pixel[1]);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function point(event) {
  const grip = lineAt(event);
  canvas.style.cursor = grip === "strength" ? "ew-resize" : grip ? "ns-resize" : "";
  const i = grip ? -1 : nearest(event);
  if (!grip && i >= 0) canvas.style.cursor = "pointer";
  show(i, place(event));
}

function show(i, pixel) {
  if (i !== pointed) {
    pointed = i;
    tip.hidden = i < 0;
    if (i >= 0) fill(i);
    draw();
  }
  if (i < 0) return;
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${pixel[0] + 18 + width > area.width ? Math.max(4, pixel[0] - width - 12) : pixel[0] + 18}px`;
  tip.style.top = `${Math.max(4, Math.min(pixel[1] - height / 3, area.height - height - 4))}px`;
}

function fill(i) {
  const key = encodeURIComponent(data.keys[i]);
  const query = `?protocol=${box.dataset.protocol}`;
  const pictures = document.createElement("div");
  pictures.className = data.mature[i] ? "thumbs mature" : "thumbs";
  for (const source of [`/api/v1/bare/previews/0${query}`, `/api/v1/adapters/${key}/previews/0${query}`]) {
    const image = Object.assign(document.createElement("img"), { src: source, alt: "" });
    image.addEventListener("error", () => pictures.remove()); // measured elsewhere: there is none
    image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 128));
    pictures.append(image);
  }
  const figures = `Strength ${data.strength[i]?.toFixed(2)}, Consistency ${data.consistency[i]?.toFixed(3) ?? "unknown"}`;
  const name = Object.assign(document.createElement("strong"), { textContent: data.names[i] });
  tip.replaceChildren(pictures, name, document.createElement("br"), figures);
}

function tell() {
  const counts = [0, 0, 0];
  const chosen = limits();
  judge();
  for (const one of fates) counts[one]++;
  told.textContent = `${counts[0]} within the thresholds, ${counts[1]} too strong, ${counts[2]} too inconsistent`;
  for (const slider of Object.values(sliders)) {
    slider.closest(".field").querySelector("output").value = open(slider) ? "any" : Number(slider.value).toFixed(slider.step.split(".")[1].length);
  }
  const protocol = new URLSearchParams(location.search).get("protocol");
  const asked = { max_strength: chosen.strength, min_consistency: chosen.consistency, ...(protocol && { protocol }) };
  document.getElementById("map-search").href = `/?${new URLSearchParams(asked)}`;
}
