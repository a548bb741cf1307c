// The view of runs: what a run has learned so far, what it sounds like, and whether an hour more is worth it.

import { ask, listen } from "./api.js";
import { $, make } from "./dom.js";
import { plot } from "./chart.js";
import { playButton } from "./player.js";
import { state, watch } from "./state.js";

let source = null;
let shown = "";
let isLoading = false;
let isAskedAgain = false; // while it loads

async function loadRuns() {
  try {
    const runs = await ask("/api/runs");
    const names = runs.map(({ name }) => name);
    const select = $("#run");
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) select.value = before;
    select.parentElement.hidden = !names.length;
    $("#runs-empty").hidden = names.length > 0;
    if (names.length) follow(select.value);
  } catch (error) {
    problem(error.message);
  }
}

function problem(sentence) {
  $("#run-body").replaceChildren(make("p", { className: "notice", text: sentence }));
}

function follow(name) {
  source?.close();
  shown = name;
  source = listen(`/api/runs/${encodeURIComponent(name)}/events`, loadRun);
  loadRun();
}

async function loadRun() {
  isAskedAgain = isLoading;
  if (isLoading || !shown) return;
  isLoading = true;
  const name = shown;
  try {
    const run = await ask(`/api/runs/${encodeURIComponent(name)}`);
    if (name === shown) show(run);
  } catch (error) {
    if (name === shown) problem(error.message);
  } finally {
    isLoading = false;
    if (isAskedAgain) loadRun();
  }
}

function stageList({ stages = [], stage }) {
  const row = ({ stage: name }) => make("li", { "aria-current": name === stage ? "step" : null, text: name });
  return stages.length ? make("ol", { className: "stages", "aria-label": "Stages" }, ...stages.map(row)) : null;
}

function sampleCard(title, { epoch, url }) {
  const name = `${title}, epoch ${epoch}`;
  return make("div", { className: "sample" }, playButton({ url, name }), make("p", {}, make("b", { text: title }), make("span", { className: "quiet", text: `epoch ${epoch}` })));
}

function samples(list) {
  if (!list.length) return make("p", { className: "quiet", text: "It has made no sample yet." });
  const cards = [sampleCard("The first sample", list[0])];
  if (list.length > 1) cards.push(sampleCard("The newest", list.at(-1)));
  return make("div", { className: "pairs" }, ...cards);
}

function judgement({ verdict, should_stop: shouldStop, outlook }) {
  const first = shouldStop ?? verdict ?? "It has begun. The first figures come with the first epoch.";
  const rest = [shouldStop ? verdict : null, outlook].filter(Boolean);
  return [make("p", { className: "verdict", text: first }), ...rest.map((text) => make("p", { className: "quiet", text }))];
}

function findings(list) {
  const row = ({ sentence, remedy, is_bad: isBad }) => {
    return make("li", { className: isBad ? "bad" : "", text: [sentence, remedy].filter(Boolean).join(" ") });
  };
  if (!list.length) return [];
  return [make("h2", { text: "The doctor's findings" }), make("ul", { className: "findings" }, ...list.map(row))];
}

function curves({ curves: all = [], stages = [], unit = "min" }) {
  const times = all.flatMap(({ points }) => points.map(([time]) => time));
  if (!times.length) return [];
  const span = [Math.min(...times), Math.max(...times)];
  const plots = all.map((curve) => plot(curve, stages, span, unit)).filter(Boolean);
  return [make("h2", { text: "Curves" }), make("div", { className: "plots" }, ...plots)];
}

function show(run) {
  const body = $("#run-body");
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.url : null;
  body.replaceChildren(
    ...[
      stageList(run),
      make("div", { className: "learned" }, make("div", {}, ...judgement(run)), samples(run.samples ?? [])),
      ...findings(run.findings ?? []),
      ...curves(run),
      make("p", { className: "quiet", text: "A run belongs to its terminal: closing this page ends nothing." }),
    ].filter(Boolean),
  );
  if (focused) $(`[data-url="${CSS.escape(focused)}"]`, body)?.focus();
}

export function showRuns() {
  $("#run").addEventListener("change", ({ target }) => follow(target.value));
  watch("view", () => {
    if (state.view === "runs") return loadRuns();
    source?.close();
    source = null;
    shown = "";
  });
}
