// Small curves of a run: its minutes along, the stages as thin lines.

import { make, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;

const plain = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString() : String(Number(value.toPrecision(3))));

function path(points, [fromX, toX], [low, high]) {
  const x = (value) => (WIDTH * (value - fromX)) / (toX - fromX || 1);
  const y = (value) => HEIGHT - (HEIGHT * (value - low)) / (high - low || 1);
  let pen = "M";
  const steps = [];
  for (const [time, value] of points) {
    if (!Number.isFinite(value)) {
      pen = "M";
      continue;
    }
    steps.push(`${pen}${x(time).toFixed(1)} ${y(value).toFixed(1)}`);
    pen = "L";
  }
  return steps.join("");
}

// `curve`: {name, points: [[time, value]]}; `stages`: [{stage, at}]; `span`: the times of the whole run, in `unit`.
export function plot(curve, stages, span, unit) {
  const values = curve.points.map(([, value]) => value).filter(Number.isFinite);
  if (!values.length) return null;
  const range = [Math.min(...values), Math.max(...values)];
  const last = values.at(-1);
  const x = (time) => (WIDTH * (time - span[0])) / (span[1] - span[0] || 1);
  const lines = stages.map(({ at }) => svg("line", { x1: x(at), x2: x(at), y1: 0, y2: HEIGHT, class: "stage-line" }));
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${curve.name}: from ${plain(values[0])} to ${plain(last)}` },
    ...lines,
    svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "base" }),
    svg("path", { d: path(curve.points, span, range), class: "line" }),
  );
  return make(
    "figure",
    { className: "plot" },
    make("figcaption", {}, curve.name, make("span", { text: plain(last) })),
    drawing,
    make("div", { className: "axis", "aria-hidden": "true" }, make("span", { text: plain(span[0]) }), make("span", { text: `${plain(range[0])} to ${plain(range[1])}` }), make("span", { text: `${plain(span[1])} ${unit}` })),
  );
}
