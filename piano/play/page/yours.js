// The view of one's own sounds: bring one, say what to make of it, watch it being made, hear it.

import { ask, post, remove, uploadSound } from "./api.js";
import { $, choice, choose, clock, fill, lasting, make, say } from "./dom.js";
import { playButton } from "./player.js";
import { record } from "./recorder.js";
import { bringSound, dropUpload } from "./sources.js";
import { set, state, watch } from "./state.js";
import { showList } from "./take_list.js";

const RECORDED_SECONDS = 10;
const NEWEST = 4;
const SAYS = {
  continue: "It goes on where the sound ends, or where it fades out.",
  vary: "The same sound, played again: a little or very differently.",
  like: "New music in its style, with other notes.",
  fill: "New music in one place, between what comes before and after. All else stays as it is.",
  new: "A piece out of white noise, with no sound of yours.",
  loop: "Bars at a tempo, whose end leads into their beginning; to the sample, for a sampler.",
};
const RANGES = ["amount", "length", "bars", "tempo", "surprise", "count"];
const NOTES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const KEYS = NOTES.flatMap((note) => [`${note} major`, `${note} minor`]);
const METRES = ["2/4", "3/4", "4/4", "5/4", "6/8", "7/8", "9/8", "12/8"];
const ownMusic = (kind) => kind === "new" || kind === "loop";
const hasTempo = () => state.kind === "loop" || (state.kind === "new" && $("#at-tempo").checked);
let recording = null;

const note = (sentence) => ($("#yours-note").textContent = sentence);

async function bring(file) {
  const sound = await bringSound(file, note);
  if (sound) set({ source: sound, kind: ownMusic(state.kind) ? "continue" : state.kind });
}

async function recordOrStop() {
  if (recording) return recording.abort();
  recording = new AbortController();
  const button = $("#record");
  button.setAttribute("aria-pressed", "true");
  button.textContent = "Stop here";
  note("Waiting for the microphone …");
  let level = 0;
  const onLevel = (peak, left) => {
    if ($("#recording").hidden) note("Play something.");
    $("#recording").hidden = false;
    level = Math.max(peak, 0.92 * level);
    $("#level").value = level;
    $("#record-time").textContent = `${Math.ceil(Math.max(0, left))} s`;
  };
  try {
    const file = await record({ seconds: RECORDED_SECONDS, signal: recording.signal, onLevel });
    if (file) await bring(file);
    else note("That was shorter than a second. Record again.");
  } catch (error) {
    note(error.message);
  }
  recording = null;
  $("#recording").hidden = true;
  button.setAttribute("aria-pressed", "false");
  button.textContent = "Record ten seconds";
}

function soundRow({ id, name, seconds }) {
  const input = make("input", { type: "radio", name: "source", value: id });
  input.checked = state.source?.id === id;
  input.addEventListener("change", () => set({ source: { id, name } }));
  const label = make("label", {}, input, make("b", { text: name }), make("span", { className: "quiet", text: seconds ? clock(seconds) : "a take" }));
  const isUpload = state.uploads.some((sound) => sound.id === id);
  const forget = () => dropUpload(id).catch((error) => note(error.message));
  return make(
    "div",
    { className: input.checked ? "sound chosen" : "sound" },
    isUpload ? playButton({ url: uploadSound(id), name, seconds }) : null,
    label,
    isUpload ? make("button", { type: "button", className: "plain", "aria-label": `Forget ${name}`, text: "×", on: { click: forget } }) : null,
  );
}

function showSounds() {
  const { uploads, source } = state;
  const isTake = source && !uploads.some(({ id }) => id === source.id);
  const hadFocus = $("#sounds").contains(document.activeElement) && document.activeElement.value;
  $("#sounds").replaceChildren(...(isTake ? [source, ...uploads] : uploads).map(soundRow));
  if (hadFocus) $(`#sounds input[value="${CSS.escape(hadFocus)}"]`)?.focus();
  $("#sounds").hidden = !uploads.length && !isTake;
}

function showChoice() {
  choose("kind", state.kind);
  $("#kind-says").textContent = SAYS[state.kind];
  $("#amount-control").hidden = state.kind !== "vary";
  $("#length-control").hidden = ["vary", "fill", "loop"].includes(state.kind);
  $("#bars-control").hidden = state.kind !== "loop";
  $("#surprise-control").hidden = !ownMusic(state.kind);
  $("#key-control").hidden = !ownMusic(state.kind) || !state.styles?.has_keys;
  $("#meter-control").hidden = !ownMusic(state.kind);
  $("#meter").options[0].text = state.kind === "loop" ? "4/4, as usual" : "as it comes";
  $("#at-tempo-control").hidden = state.kind !== "new";
  $("#tempo-control").hidden = !hasTempo();
  $("#part-control").hidden = state.kind !== "fill";
  const needsSound = !ownMusic(state.kind) && !state.source;
  $("#make-go").disabled = needsSound;
  $("#make-note").textContent = needsSound ? "Give it a sound first." : ownMusic(state.kind) ? "" : `From “${state.source.name}”.`;
}

function showNumbers() {
  for (const id of RANGES) fill($(`#${id}`));
  for (const id of ["bars", "tempo"]) $(`#${id}-value`).textContent = $(`#${id}`).value;
  $("#surprise-value").textContent = Number($("#surprise").value).toFixed(1);
  $("#amount-value").textContent = Number($("#amount").value).toFixed(2);
  $("#length-value").textContent = lasting(Number($("#length").value));
  $("#count-value").textContent = $("#count").value;
}

async function go(event) {
  event.preventDefault();
  const { kind, source, model } = state;
  const order = { kind, model, seconds: Number($("#length").value), count: Number($("#count").value) };
  order.seed = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
  if (!ownMusic(kind)) order.source = source.id;
  if (kind === "loop") order.bars = Number($("#bars").value);
  if (hasTempo()) order.tempo = Number($("#tempo").value);
  if (ownMusic(kind)) order.surprise = Number($("#surprise").value);
  if (!$("#key-control").hidden && $("#key").value) order.key = $("#key").value;
  if (ownMusic(kind) && $("#meter").value) order.meter = $("#meter").value;
  if (kind === "fill") Object.assign(order, { begin: Number($("#begin").value), end: Number($("#end").value) });
  if (kind === "vary") order.amount = Number($("#amount").value);
  try {
    const { notes } = await post("/api/makes", order);
    showChoice();
    if (notes.length) $("#make-note").textContent = notes.join(" ");
    say(["It is being made.", ...notes].join(" "));
    set({ makes: await ask("/api/makes") });
  } catch (error) {
    $("#make-note").textContent = error.message;
  }
}

function makeRow(job) {
  const { id, done = 0, total = 1, eta_seconds: eta, error, state: phase } = job;
  const isWaiting = phase === "waiting";
  const words = error ?? (isWaiting ? "waiting for its turn" : Number.isFinite(eta) ? `about ${lasting(eta)} more` : "being made");
  const cancel = () => remove(`/api/makes/${encodeURIComponent(id)}`).catch(() => {});
  return make(
    "li",
    {},
    make("span", {}, make("b", { text: `${job.title} ` }), make("span", { className: "quiet", text: words })),
    make("button", { type: "button", className: "plain", text: error ? "Close" : "Cancel", "aria-label": `${error ? "Close" : "Cancel"} ${job.title}`, on: { click: cancel } }),
    error ? null : make("progress", { max: total, value: isWaiting ? 0 : done, "aria-label": `Progress of ${job.title}` }),
  );
}

function showMakes() {
  $("#makes").replaceChildren(...state.makes.map(makeRow));
}

function showMade() {
  const made = (state.takes ?? []).filter(({ kind }) => kind !== "radio").slice(0, NEWEST);
  $("#made").hidden = !made.length;
  showList($("#made-list"), made);
}

function drops() {
  const box = $("#drop");
  const stop = (event) => event.preventDefault();
  for (const name of ["dragover", "drop"]) document.addEventListener(name, stop); // a missed drop must not leave the page
  box.addEventListener("dragover", () => box.classList.add("over"));
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", ({ dataTransfer }) => {
    box.classList.remove("over");
    if (dataTransfer.files[0]) bring(dataTransfer.files[0]);
  });
}

export function showYours() {
  drops();
  $("#file").addEventListener("change", ({ target }) => target.files[0] && bring(target.files[0]).finally(() => (target.value = "")));
  $("#record").addEventListener("click", recordOrStop);
  $("#kind").addEventListener("change", () => set({ kind: choice("kind") }));
  for (const id of RANGES) $(`#${id}`).addEventListener("input", showNumbers);
  $("#key").append(...KEYS.map((key) => make("option", { value: key, text: key.replace(/([A-G])#/, "$1♯").replace(/([A-G])b/, "$1♭") })));
  $("#meter").append(...METRES.map((meter) => make("option", { value: meter, text: meter })));
  $("#at-tempo").addEventListener("change", showChoice);
  $("#make").addEventListener("submit", go);
  watch(["uploads", "source"], showSounds);
  watch(["source", "kind", "styles"], showChoice);
  watch("makes", showMakes);
  watch("takes", showMade);
  showSounds();
  showChoice();
  showNumbers();
}
