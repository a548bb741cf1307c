// Plays finished sounds, one at a time, and shows which in the dock.

import { $, $$, clock, fill, make } from "./dom.js";
import { stop } from "./sound.js";
import { set, state, watch } from "./state.js";

const audio = new Audio();
audio.preload = "metadata";

export function pause() {
  audio.pause();
}

export function play({ url, name, seconds = 0, goesRound = false }, { from = null } = {}) {
  if (state.phase !== "stopped") stop();
  audio.loop = goesRound;
  if (state.playing?.url !== url) {
    audio.src = url;
    set({ playing: { url, name, seconds, goesRound, at: 0, isPaused: false } });
  }
  if (from !== null) seek(from);
  audio.play().catch((error) => {
    if (error.name !== "AbortError") set({ playing: { ...state.playing, isPaused: true, problem: "It cannot be played." } });
  });
}

export function playOrPause(sound) {
  if (state.playing?.url === sound.url && !audio.paused) audio.pause();
  else play(sound);
}

function seek(seconds) {
  if (audio.readyState > 0) audio.currentTime = seconds;
  else audio.addEventListener("loadedmetadata", () => (audio.currentTime = seconds), { once: true });
}

export function closePlayer() {
  audio.pause();
  audio.removeAttribute("src");
  audio.load();
  set({ playing: null });
}

// A round button that plays a sound and shows whether it does.
export function playButton(sound) {
  const glyph = make("span", { className: "glyph", "aria-hidden": "true" });
  const button = make("button", { type: "button", className: "round", data: { url: sound.url, name: sound.name } }, glyph);
  button.addEventListener("click", () => playOrPause(sound));
  mark(button);
  return button;
}

function mark(button) {
  const isOn = state.playing?.url === button.dataset.url && !state.playing.isPaused;
  button.classList.toggle("playing", isOn);
  button.setAttribute("aria-label", `${isOn ? "Pause" : "Play"} ${button.dataset.name}`);
}

// The dock shows the radio while another view is open, or else the sound that was played last.
function show() {
  const { playing, phase, view, program } = state;
  const isRadio = phase !== "stopped";
  $("#dock").hidden = isRadio ? view === "radio" : !playing;
  $("#dock").classList.toggle("of-radio", isRadio);
  $$("button[data-url]").forEach(mark);
  const isOn = isRadio || (playing && !playing.isPaused);
  $("#dock-play").classList.toggle("playing", Boolean(isOn));
  $("#dock-play").setAttribute("aria-label", `${isRadio ? "Stop" : isOn ? "Pause" : "Play"} what is in the player`);
  if (isRadio) {
    $("#dock-name").textContent = "Radio";
    $("#dock-time").textContent = `seed ${program.seed}, piece ${program.piece + 1}`;
  } else if (playing) showPlace(playing);
}

function showPlace({ name, at, seconds, problem }) {
  const length = Number.isFinite(audio.duration) ? audio.duration : seconds;
  $("#dock-name").textContent = name;
  $("#dock-time").textContent = problem ?? `${clock(at)} of ${clock(length)}`;
  const range = $("#dock-seek");
  range.value = length ? at / length : 0;
  range.setAttribute("aria-valuetext", `${clock(at)} of ${clock(length)}`);
  fill(range);
}

function dockPressed() {
  if (state.phase !== "stopped") stop();
  else if (state.playing) playOrPause(state.playing);
}

export function showPlayer() {
  const tell = () => state.playing && set({ playing: { ...state.playing, at: audio.currentTime, isPaused: audio.paused } });
  for (const event of ["play", "pause", "timeupdate", "ended", "durationchange", "seeked"]) audio.addEventListener(event, tell);
  audio.addEventListener("error", () => {
    if (state.playing && audio.getAttribute("src")) set({ playing: { ...state.playing, isPaused: true, problem: "It cannot be played any more." } });
  });
  $("#dock-play").addEventListener("click", dockPressed);
  $("#dock-close").addEventListener("click", closePlayer);
  $("#dock-seek").addEventListener("input", ({ target }) => Number.isFinite(audio.duration) && seek(target.value * audio.duration));
  watch(["playing", "phase", "view", "program"], show);
  watch("phase", () => state.phase !== "stopped" && pause());
}
