// The view of the blind test: two sounds without names, a vote after some seconds of each, and a tally with its interval.

import { ask, post } from "./api.js";
import { $, $$, make, many, svg } from "./dom.js";
import { pause } from "./player.js";
import { stop } from "./sound.js";
import { state, watch } from "./state.js";

const NEEDED_SECONDS = 3;
const SIDES = ["left", "right"];
const REAL = "real music";
const sounds = Object.fromEntries(SIDES.map((side) => [side, new Audio()]));
let game = null; // {id, pair, heard: {left, right}, isOver}

const note = (sentence) => ($("#blind-note").textContent = sentence);
const option = (value) => (value === REAL ? { real: true } : { model: value });

function showChoices() {
  const names = state.models.map(({ name, title }) => [name, title ?? name]);
  const fillIn = (id, pairs, usual) => {
    const select = $(id);
    const before = select.value;
    select.replaceChildren(...pairs.map(([name, title]) => new Option(title, name)));
    select.value = pairs.some(([name]) => name === before) ? before : usual;
  };
  fillIn("#blind-a", names, names[0]?.[0]);
  fillIn("#blind-b", [...names, [REAL, REAL]], names[1]?.[0] ?? REAL);
}

async function begin(event) {
  event.preventDefault();
  note("");
  try {
    const { id } = await post("/api/blind", { a: option($("#blind-a").value), b: option($("#blind-b").value) });
    game = { id };
    await nextPair();
  } catch (error) {
    note(error.message);
  }
}

async function nextPair() {
  quiet();
  note("Two sounds are being made ready.");
  const { pair, left, right } = await ask(`/api/blind/${encodeURIComponent(game.id)}/pair`);
  Object.assign(game, { pair, heard: { left: 0, right: 0 }, isOver: false });
  sounds.left.src = left;
  sounds.right.src = right;
  note("");
  $("#blind-game").hidden = false;
  $("#blind-told").textContent = "";
  $(".votes").hidden = false;
  show();
}

function quiet() {
  for (const side of SIDES) sounds[side].pause();
}

export function hear(side) {
  if (!game?.pair) return;
  const other = sounds[side === "left" ? "right" : "left"];
  const mine = sounds[side];
  const wasOn = !mine.paused;
  other.pause();
  if (wasOn) return mine.pause();
  pause();
  if (state.phase !== "stopped") stop();
  mine.play().catch((error) => error.name !== "AbortError" && note("This sound cannot be played. Choose “Listen” again."));
}

function show() {
  const left = {};
  for (const side of SIDES) {
    const heard = game?.heard?.[side] ?? 0;
    left[side] = Math.max(0, Math.ceil(NEEDED_SECONDS - heard));
    $(`#${side} .heard`).textContent = `${Math.floor(heard)} s heard`;
    $(`#${side}`).setAttribute("aria-pressed", String(!sounds[side].paused));
  }
  const waits = SIDES.filter((side) => left[side] > 0);
  for (const button of $$(".votes button")) button.disabled = waits.length > 0 || game.isOver;
  const words = waits.map((side) => `${left[side]} s more of the ${side} one`).join(", ");
  $("#blind-wait").textContent = waits.length ? `To vote, hear ${words}.` : "";
}

// Seconds that were really played: steps of the clock, not places in the sound.
function count(side) {
  let before = null;
  const audio = sounds[side];
  audio.addEventListener("timeupdate", () => {
    const step = before === null ? 0 : audio.currentTime - before;
    before = audio.currentTime;
    if (game?.heard && step > 0 && step < 1) game.heard[side] += step;
    if (game?.heard) show();
  });
  audio.addEventListener("play", () => (before = audio.currentTime));
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, () => game?.heard && show());
}

async function vote(choice) {
  const { id, pair, heard } = game;
  try {
    const told = await post(`/api/blind/${encodeURIComponent(id)}/votes`, {
      pair,
      choice,
      heard_left: heard.left,
      heard_right: heard.right,
    });
    quiet();
    game.isOver = true;
    show();
    $(".votes").hidden = true;
    const names = told?.left && told?.right ? `Left was ${told.left}, right was ${told.right}. ` : "Your vote is kept. ";
    $("#blind-told").replaceChildren(names, make("button", { type: "button", className: "main", text: "Next pair", on: { click: () => nextPair().catch((error) => note(error.message)) } }));
    await loadTallies();
  } catch (error) {
    note(error.message);
  }
}

function scale({ low, high, share }, name) {
  const line = (x1, x2, className, width) => svg("line", { x1: `${100 * x1}%`, x2: `${100 * x2}%`, y1: "50%", y2: "50%", class: className, "stroke-width": width });
  const mark = svg("circle", { cx: `${100 * share}%`, cy: "50%", r: 6, class: "mark" });
  const half = svg("line", { x1: "50%", x2: "50%", y1: "15%", y2: "85%", class: "half", "stroke-width": 1 });
  const text = `${name} was preferred in ${Math.round(100 * share)} % of the votes, 95 % interval ${Math.round(100 * low)} to ${Math.round(100 * high)} %`;
  return make("div", { className: "scale", role: "img", "aria-label": text }, svg("svg", { "aria-hidden": "true" }, line(0, 1, "whole", 2), half, line(low, high, "interval", 5), mark));
}

function tally(row) {
  const { a, b, wins_a: wins = 0, wins_b: losses = 0, same = 0, share, low, high, sentence } = row;
  const votes = wins + losses + same;
  const parts = [make("p", { text: sentence })];
  if (Number.isFinite(share)) parts.push(scale({ low, high, share }, a), make("div", { className: "ends", "aria-hidden": "true" }, make("span", { text: b }), make("span", { text: a })));
  parts.push(make("p", { className: "quiet", text: `${a} ${wins}, ${b} ${losses}, cannot tell ${same}; ${many(votes, "vote")}` }));
  return make("article", { className: "tally" }, ...parts);
}

export async function loadTallies() {
  try {
    const rows = await ask("/api/blind");
    $("#tallies").replaceChildren(...(rows.length ? [make("h2", { text: "So far" }), ...rows.map(tally)] : []));
  } catch (error) {
    note(error.message);
  }
}

export function showBlind() {
  $("#blind-form").addEventListener("submit", begin);
  for (const side of SIDES) {
    $(`#${side}`).addEventListener("click", () => hear(side));
    count(side);
  }
  for (const button of $$(".votes button")) button.addEventListener("click", () => vote(button.dataset.choice));
  watch("models", showChoices);
  watch("view", () => (state.view === "blind" ? loadTallies() : quiet()));
  watch("phase", () => state.phase !== "stopped" && quiet());
}
