// The view of the radio: its controls change `state`, and what plays follows.

import { ask, post } from "./api.js";
import { showDisc } from "./disc.js";
import { $, $$, choice, choose, fill, say, toast } from "./dom.js";
import { pause } from "./player.js";
import { move, positionNow, start, stop } from "./sound.js";
import { set, state, toHash, watch } from "./state.js";
import { describe, nearestTo, showMap, usualPoles } from "./style_map.js";
import { bringSound } from "./sources.js";

const KEPT_SECONDS = 30;
const LARGEST_SEED = 4294967295;
const LISTENING =
  "One turn is half a minute. What waits on the left is composed already; move a control and it is made anew.";
const WAITING = "The first seconds are being composed.";
const IDLE = "Press play: music without end, made while you listen.";

function program(changes, { since, isNewPiece = false } = {}) {
  set({ program: { ...state.program, ...changes } });
  changed({ since, isNewPiece });
}

function changed({ since, isNewPiece = false } = {}) {
  history.replaceState(null, "", toHash());
  move({ since, isNewPiece });
}

export function playOrStop() {
  if (state.phase !== "stopped") return stop();
  pause();
  start();
}

export function next(event) {
  program({ piece: state.program.piece + 1 }, { since: event?.timeStamp, isNewPiece: true });
  say(`Piece ${state.program.piece + 1} of seed ${state.program.seed}`);
}

export async function keep({ isWhole = false } = {}) {
  if (!state.radio) return;
  const to = Math.floor(positionNow());
  const from = isWhole ? state.pieceBegan : Math.max(0, to - KEPT_SECONDS * state.radio.rate);
  try {
    const asked = (to - from) / state.radio.rate;
    const { seconds } = await post("/api/takes", { radio: state.radio.id, from: Math.round(from), to });
    const isLess = seconds < asked - 1; // the server holds the last minutes only
    toast(isLess ? `Kept the last ${Math.round(seconds)} s: what was before is gone.` : `Kept: ${Math.round(seconds)} s.`, "Show it", () => (location.hash = "#takes"));
  } catch (error) {
    toast(error.message);
  }
}

function seedTyped(event) {
  const input = event.target;
  const digits = input.value.replace(/\D/g, "");
  const seed = Math.min(LARGEST_SEED, Number(digits || 0));
  input.value = digits === "" ? "" : String(seed);
  sizeSeed();
  if (digits !== "" && seed !== state.program.seed) program({ seed, piece: 0 }, { since: event.timeStamp, isNewPiece: true });
}

function sizeSeed() {
  const input = $("#seed");
  input.style.width = `${Math.max(1, input.value.length) + 0.35}ch`;
}

function showProgram() {
  const { seed, piece, surprise, wander_seconds: wander, blend, prompt } = state.program;
  const input = $("#seed");
  if (document.activeElement !== input || Number(input.value) !== seed) input.value = seed;
  sizeSeed();
  $("#piece-name").textContent = `piece ${piece + 1}`;
  for (const [id, value] of [["surprise", surprise], ["blend", blend]]) {
    const range = $(`#${id}`);
    range.value = value;
    fill(range);
  }
  $("#surprise-value").textContent = surprise === 0 ? "none" : surprise.toFixed(2);
  $("#surprise").setAttribute("aria-valuetext", surprise === 0 ? "none" : surprise.toFixed(2));
  choose("wander", String(wander));
  $("#prompt-note").hidden = !prompt;
  $("#prompt-note span").textContent = prompt ? `It goes on from “${state.promptName}”.` : "";
}

const nameOfPole = (pole) => (Number.isInteger(pole) ? `style ${pole + 1}` : (pole?.name ?? "nothing yet"));

function showStyle() {
  const { styleMode, near, poles, pole, program } = state;
  choose("style-mode", styleMode);
  $("#view-radio").classList.toggle("between", styleMode === "between");
  const words = { free: "drawn for each piece", near: describe(near), between: `${Math.round(100 * program.blend)} % B` };
  $("#style-value").textContent = words[styleMode];
  [$("#pole-a"), $("#pole-b")].forEach((button, index) => {
    button.setAttribute("aria-pressed", pole === index);
    button.setAttribute("aria-label", `End ${"AB"[index]}: ${nameOfPole(poles[index])}. The map sets it`);
    button.textContent = poles[index]?.name ? `${"AB"[index]} ${poles[index].name}` : "AB"[index];
  });
}

function modeChosen(event) {
  const styleMode = choice("style-mode");
  const changes = { styleMode };
  const middle = () => nearestTo($("#map").clientWidth / 2, $("#map").clientHeight / 2);
  if (styleMode === "near" && state.near === null) changes.near = middle();
  if (styleMode === "between") changes.poles = usualPoles().map((usual, index) => state.poles[index] ?? usual);
  set(changes);
  changed({ since: event.timeStamp });
}

function styleChosen({ index, pole, since }) {
  if (state.styleMode === "between") {
    if (state.poles[pole] === index) return set({ pole });
    set({ pole, poles: state.poles.map((old, which) => (which === pole ? index : old)) });
  } else {
    if (state.styleMode === "near" && state.near === index) return;
    set({ styleMode: "near", near: index });
  }
  changed({ since });
}

async function poleSound(file) {
  const sound = await bringSound(file, (sentence) => toast(sentence));
  if (!sound) return;
  set({ poles: state.poles.map((old, which) => (which === state.pole ? sound : old)) });
  changed();
}

// A take or a sound of one's own as the style, or as the beginning, of the radio.
export function radioFrom(sound, how) {
  if (how === "style") set({ styleMode: "between", poles: [sound, sound], pole: 0 });
  else set({ promptName: sound.name });
  history.pushState(null, "", "#radio");
  set({ view: "radio" });
  program({ prompt: how === "prompt" ? sound.id : state.program.prompt, piece: 0 }, { isNewPiece: true });
  if (state.phase === "stopped") playOrStop();
}

function showPhase() {
  const { phase, sentence } = state;
  const button = $("#play");
  button.dataset.is = { stopped: "off", waiting: "wait", playing: "on" }[phase];
  button.setAttribute("aria-label", phase === "stopped" ? "Play" : "Stop");
  const text = sentence || { stopped: IDLE, waiting: WAITING, playing: LISTENING }[phase];
  const line = $("#radio-state");
  line.textContent = text;
  line.classList.toggle("firm", Boolean(sentence));
  if (sentence) say(sentence);
  const isOff = phase !== "playing";
  for (const id of ["keep", "keep-piece"]) $(`#${id}`).disabled = isOff;
  if (navigator.mediaSession) navigator.mediaSession.playbackState = phase === "stopped" ? "paused" : "playing";
}

function showMeters() {
  const { ahead, delay, gaps, speed, listeners } = state.meters;
  const words = {
    ahead: ahead === null ? "–" : `${ahead.toFixed(1)} s`,
    delay: delay === null ? "–" : `${Math.round(delay)} ms`,
    gaps: gaps === null ? "–" : String(gaps),
    speed: speed ? `${speed < 10 ? speed.toFixed(1) : Math.round(speed)} ×` : "–",
    listeners: listeners ? String(listeners) : "–",
  };
  for (const [name, text] of Object.entries(words)) {
    const cell = $(`#m-${name}`);
    if (cell.textContent !== text) cell.textContent = text;
  }
}

function showModels() {
  const select = $("#model");
  select.replaceChildren(...state.models.map(({ name, title }) => new Option(title ?? name, name)));
  select.value = state.model;
  const model = state.models.find(({ name }) => name === state.model);
  const facts = [];
  if (model?.sample_rate) facts.push(`${model.sample_rate / 1000} kHz ${model.channels === 2 ? "stereo" : "mono"}`);
  $("#model-facts").textContent = facts.join(", ");
}

export async function loadStyles() {
  const model = state.model;
  set({ styles: null });
  if (!model) return;
  try {
    const styles = await ask(`/api/models/${encodeURIComponent(model)}/styles`);
    if (state.model === model) set({ styles });
    if (!state.models.find(({ name }) => name === model)?.sample_rate) set({ models: await ask("/api/models") });
  } catch (error) {
    $("#map-empty").textContent = error.message;
  }
}

function modelChosen() {
  const wasPlaying = state.phase !== "stopped";
  if (wasPlaying) stop();
  set({ model: $("#model").value, styleMode: "free", near: null, poles: [null, null] });
  history.replaceState(null, "", toHash());
  if (wasPlaying) start();
}

function mediaKeys() {
  const session = navigator.mediaSession;
  if (!session) return;
  const calls = { play: playOrStop, pause: playOrStop, nexttrack: next };
  for (const [name, call] of Object.entries(calls)) session.setActionHandler(name, () => call());
}

export function showRadio() {
  $("#play").addEventListener("click", playOrStop);
  $("#next").addEventListener("click", next);
  $("#keep").addEventListener("click", () => keep());
  $("#keep-piece").addEventListener("click", () => keep({ isWhole: true }));
  $("#seed").addEventListener("input", seedTyped);
  $("#seed").addEventListener("blur", showProgram);
  $("#seed").addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur());
  $("#model").addEventListener("change", modelChosen);
  for (const name of ["surprise", "blend"]) {
    $(`#${name}`).addEventListener("input", (event) => {
      program({ [name]: Number(event.target.value) }, { since: event.timeStamp });
    });
  }
  $("#wander").addEventListener("change", (event) => program({ wander_seconds: Number(choice("wander")) }, { since: event.timeStamp }));
  $("#style-mode").addEventListener("change", modeChosen);
  $$(".pole").forEach((button, pole) => button.addEventListener("click", () => set({ pole })));
  $("#pole-file").addEventListener("change", ({ target }) => target.files[0] && poleSound(target.files[0]).finally(() => (target.value = "")));
  $("#prompt-off").addEventListener("click", (event) => program({ prompt: null }, { since: event.timeStamp, isNewPiece: true }));
  watch("program", showProgram);
  watch(["program", "styleMode", "near", "poles", "pole", "styles"], showStyle);
  watch(["phase", "sentence"], showPhase);
  watch("meters", showMeters);
  watch(["models", "model"], showModels);
  watch("model", loadStyles);
  showMap(styleChosen);
  showDisc();
  mediaKeys();
  showProgram();
  showStyle();
  showPhase();
}
