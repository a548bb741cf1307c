// The map of styles: every dot is a moment of the training music. A touch goes there; two poles can be blended.

import { $, colours, sized } from "./dom.js";
import { state, watch } from "./state.js";

const MARGIN = 16;
const GRAB_PIXELS = 34;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const map = $("#map");
const canvas = $("canvas", map);
let onChosen = () => {};

const points = () => state.styles?.points ?? [];

function place([x, y]) {
  return [MARGIN + x * (map.clientWidth - 2 * MARGIN), MARGIN + (1 - y) * (map.clientHeight - 2 * MARGIN)];
}

// Where a pole is: a style's place, or the edge for a sound that is not on the map.
function polePlace(index) {
  const pole = state.poles[index];
  if (Number.isInteger(pole) && points()[pole]) return place(points()[pole]);
  return pole ? [index ? map.clientWidth - MARGIN : MARGIN, map.clientHeight / 2] : null;
}

export function nearestTo(x, y) {
  let best = null;
  let least = Infinity;
  points().forEach((point, index) => {
    const [px, py] = place(point);
    const distance = Math.hypot(px - x, py - y);
    if (distance < least) [least, best] = [distance, index];
  });
  return best;
}

// The usual places of two poles: left and right of the middle.
export function usualPoles() {
  return [0.25, 0.75].map((share) => nearestTo(share * map.clientWidth, map.clientHeight / 2));
}

function neighbour(from, [dx, dy]) {
  const [x, y] = place(points()[from]);
  let best = from;
  let least = Infinity;
  points().forEach((point, index) => {
    const [px, py] = place(point);
    const along = (px - x) * dx + (py - y) * dy;
    const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
    if (index === from || along <= 0.5 || across > 1.2 * along) return;
    if (along + 2 * across < least) [least, best] = [along + 2 * across, index];
  });
  return best;
}

export function describe(index) {
  if (index === null || index === undefined) return "free";
  const tempo = state.styles?.tempo?.[index];
  const energy = state.styles?.energy?.[index];
  const words = [`style ${index + 1}`];
  if (Number.isFinite(tempo)) words.push(`${Math.round(tempo)} beats a minute`);
  if (Number.isFinite(energy)) words.push(energy < 0.33 ? "quiet" : energy < 0.66 ? "lively" : "strong");
  return words.join(", ");
}

const current = () => {
  if (state.styleMode !== "between") return state.near;
  return Number.isInteger(state.poles[state.pole]) ? state.poles[state.pole] : null;
};

function dot(context, [x, y], radius, colour, isFilled = true) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = context.strokeStyle = colour;
  if (isFilled) context.fill();
  else context.stroke();
}

function draw() {
  if (!map.clientWidth || state.view !== "radio") return;
  const { context, width, height } = sized(canvas);
  const colour = colours();
  context.clearRect(0, 0, width, height);
  points().forEach((point, index) => {
    context.globalAlpha = 0.75;
    dot(context, place(point), 1 + 1.7 * (state.styles.energy?.[index] ?? 0.4), colour.quiet);
  });
  context.globalAlpha = 1;
  context.lineWidth = 2;
  if (state.styleMode === "near" && points()[state.near]) chosen(context, place(points()[state.near]), colour);
  if (state.styleMode === "between") between(context, colour);
}

function chosen(context, where, colour) {
  dot(context, where, 6, colour.accent);
  context.globalAlpha = 0.25;
  dot(context, where, 16, colour.accent);
  context.globalAlpha = 1;
}

function between(context, colour) {
  const [a, b] = [polePlace(0), polePlace(1)];
  if (a && b) {
    context.strokeStyle = colour.accent;
    context.beginPath();
    context.moveTo(...a);
    context.lineTo(...b);
    context.stroke();
    const { blend } = state.program;
    chosen(context, [a[0] + blend * (b[0] - a[0]), a[1] + blend * (b[1] - a[1])], colour);
  }
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  [a, b].forEach((where, index) => {
    if (!where) return;
    dot(context, where, 11, colour.paper);
    dot(context, where, 11, index === state.pole ? colour.accent : colour.quiet, false);
    context.fillStyle = colour.ink;
    context.fillText("AB"[index], where[0], where[1] + 0.5);
  });
}

function spoken() {
  const index = current();
  map.setAttribute("aria-valuenow", index ?? 0);
  const end = state.styleMode === "between" ? `${"AB"[state.pole]}: ` : "";
  map.setAttribute("aria-valuetext", end + describe(index));
}

function pointed(event) {
  const box = map.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function go(index, event, pole = state.pole) {
  if (index !== null) onChosen({ index, pole, since: event.timeStamp });
}

function down(event) {
  if (!points().length || event.button) return;
  const [x, y] = pointed(event);
  let pole = state.pole;
  if (state.styleMode === "between") {
    const distances = [0, 1].map((index) => {
      const where = polePlace(index);
      return where ? Math.hypot(where[0] - x, where[1] - y) : Infinity;
    });
    const nearest = distances[0] <= distances[1] ? 0 : 1;
    if (distances[nearest] < GRAB_PIXELS) pole = nearest;
  }
  map.setPointerCapture(event.pointerId);
  go(nearestTo(x, y), event, pole);
}

function moved(event) {
  if (map.hasPointerCapture(event.pointerId)) go(nearestTo(...pointed(event)), event);
}

function key(event) {
  const direction = DIRECTIONS[event.key];
  if (!direction || !points().length) return;
  event.preventDefault();
  const from = current() ?? nearestTo(map.clientWidth / 2, map.clientHeight / 2);
  go(current() === null ? from : neighbour(from, direction), event);
}

export function showMap(call) {
  onChosen = call;
  map.addEventListener("pointerdown", down);
  map.addEventListener("pointermove", moved);
  map.addEventListener("keydown", key);
  watch(["styles", "styleMode", "near", "poles", "pole", "program", "view"], () => (draw(), spoken()));
  watch("styles", () => {
    $("#map-empty").hidden = points().length > 0;
    map.setAttribute("aria-valuemax", Math.max(0, points().length - 1));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(draw).observe(map);
}
