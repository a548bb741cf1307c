// The record: time runs around it, pitch outwards. It turns with the music; what is composed and not heard waits on its left.

import { $, colours, sized, wantsCalm } from "./dom.js";
import { positionNow, whenDrawn, whenVoid } from "./sound.js";
import { state, watch } from "./state.js";

const COLUMNS_PER_SECOND = 20;
const TURN_COLUMNS = 600; // half a minute
const PITCHES = 84;
const INNER = 0.3;
const OUTER = 0.86;
const RIM = 0.9;
const FRAME_MS = 1000 / 30; // the model needs the processor, too
const FULL = 2 * Math.PI;

const canvas = $("#disc");
const drawn = document.createElement("canvas"); // how strong, as alpha
const tinted = document.createElement("canvas"); // the same with colours
const columns = new Map(); // slot -> {column, pitches, peak}
let queue = [];
let newest = 0;
let lastFrame = 0;
let colour = colours();
let needsFrame = true;
let level = 0;

whenDrawn(({ first, pitches, peaks }) => {
  peaks.forEach((peak, index) => {
    const column = first + index;
    queue.push({ column, peak, pitches: pitches.subarray(index * PITCHES, (index + 1) * PITCHES) });
  });
  needsFrame = true;
});

whenVoid((from) => {
  const first = Math.floor((from / (state.radio?.rate ?? 44100)) * COLUMNS_PER_SECOND);
  queue = queue.filter(({ column }) => column < first);
  for (const [slot, { column }] of columns) if (column >= first) erase(slot);
  newest = Math.min(newest, first);
  needsFrame = true;
});

function angle(column) {
  return -FULL * (column / TURN_COLUMNS) - FULL / 4;
}

function sector(context, column, size, width = 1) {
  context.beginPath();
  context.moveTo(size / 2, size / 2);
  context.arc(size / 2, size / 2, size / 2, angle(column + width), angle(column));
  context.fill();
}

function erase(slot) {
  const context = drawn.getContext("2d");
  context.globalCompositeOperation = "destination-out";
  context.globalAlpha = 1;
  sector(context, slot, drawn.width);
  context.globalCompositeOperation = "source-over";
  columns.delete(slot);
}

function draw({ column, peak, pitches }) {
  const context = drawn.getContext("2d");
  const size = drawn.width;
  const radius = size / 2;
  const step = ((OUTER - INNER) * radius) / PITCHES;
  const [from, to] = [angle(column + 1.08), angle(column)];
  context.strokeStyle = context.fillStyle = "#000";
  context.lineWidth = step * 1.05;
  pitches.forEach((strength, pitch) => {
    if (strength < 8) return;
    context.globalAlpha = strength / 255;
    context.beginPath();
    context.arc(radius, radius, INNER * radius + (pitch + 0.5) * step, from, to);
    context.stroke();
  });
  const height = Math.max(0.004, 0.095 * Math.min(1, peak) ** 0.8) * radius;
  context.globalAlpha = 0.85;
  context.lineWidth = height;
  context.beginPath();
  context.arc(radius, radius, RIM * radius + height / 2, angle(column + 0.62), to);
  context.stroke();
  context.globalAlpha = 1;
}

function place(entry) {
  const slot = entry.column % TURN_COLUMNS;
  erase(slot);
  columns.set(slot, entry);
  draw(entry);
  newest = Math.max(newest, entry.column);
}

function resize(size) {
  if (drawn.width === size) return;
  for (const layer of [drawn, tinted]) Object.assign(layer, { width: size, height: size });
  for (const entry of columns.values()) draw(entry);
}

// Heard and fading with age on the right; waiting on the left.
function tint(now) {
  const size = tinted.width;
  const context = tinted.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.translate(size / 2, size / 2);
  context.rotate(FULL * (now / TURN_COLUMNS));
  context.drawImage(drawn, -size / 2, -size / 2);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalCompositeOperation = "source-in";
  const gradient = context.createConicGradient(-FULL / 4, size / 2, size / 2);
  const clear = "rgb(128 128 128 / 0)";
  gradient.addColorStop(0, colour.glow);
  gradient.addColorStop(0.02, colour.accent);
  gradient.addColorStop(0.3, colour.accent);
  gradient.addColorStop(0.56, clear);
  gradient.addColorStop(0.57, clear);
  gradient.addColorStop(0.6, colour.quiet);
  gradient.addColorStop(0.999, colour.quiet);
  gradient.addColorStop(1, colour.glow);
  context.fillStyle = gradient;
  context.fillRect(0, 0, size, size);
}

function base(context, radius) {
  context.fillStyle = colour.vinyl;
  context.beginPath();
  context.arc(radius, radius, RIM * radius, 0, FULL);
  context.fill();
  context.strokeStyle = colour.groove;
  context.lineWidth = 1;
  for (let octave = 0; octave <= 7; octave++) {
    context.beginPath();
    context.arc(radius, radius, (INNER + ((OUTER - INNER) * octave) / 7) * radius, 0, FULL);
    context.stroke();
  }
}

function needle(context, radius) {
  context.strokeStyle = context.fillStyle = colour.accent;
  context.globalAlpha = 0.8;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(radius, radius * (1 - INNER));
  context.lineTo(radius, radius * (1 - RIM));
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  context.moveTo(radius, radius * 0.035);
  context.lineTo(radius - 5, radius * 0.035 - 9);
  context.lineTo(radius + 5, radius * 0.035 - 9);
  context.fill();
}

function halo(context, radius) {
  const wanted = state.phase === "playing" && !wantsCalm() ? state.meters.peak : 0;
  level += 0.18 * (wanted - level);
  if (level < 0.01) return;
  context.globalAlpha = 0.28 * Math.min(1, level);
  context.fillStyle = colour.accent;
  context.beginPath();
  context.arc(radius, radius, radius * (0.245 + 0.05 * Math.min(1, level)), 0, FULL);
  context.fill();
  context.globalAlpha = 1;
}

function frame(time) {
  requestAnimationFrame(frame);
  const every = wantsCalm() ? 1000 : FRAME_MS;
  if (state.view !== "radio" || document.hidden || time - lastFrame < every - 4) return;
  if (state.phase !== "playing" && !needsFrame && level < 0.01) return;
  lastFrame = time;
  const { context, width, scale } = sized(canvas);
  if (!width) return;
  resize(Math.round(width * scale));
  queue.splice(0, 48).forEach(place);
  needsFrame = queue.length > 0;
  const radius = width / 2;
  context.clearRect(0, 0, width, width);
  base(context, radius);
  halo(context, radius);
  if (columns.size) {
    const rate = state.radio?.rate ?? discRate;
    tint((positionNow() / rate) * COLUMNS_PER_SECOND);
    context.drawImage(tinted, 0, 0, width, width);
  }
  needle(context, radius);
}

let discRate = 44100;

export function showDisc() {
  watch("radio", () => {
    if (!state.radio) return;
    discRate = state.radio.rate;
    queue = [];
    newest = 0;
    columns.clear();
    drawn.getContext("2d").clearRect(0, 0, drawn.width, drawn.height);
  });
  watch(["view", "phase"], () => (needsFrame = true));
  const recolour = () => {
    colour = colours();
    needsFrame = true;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  new ResizeObserver(() => (needsFrame = true)).observe(canvas);
  requestAnimationFrame(frame);
}
