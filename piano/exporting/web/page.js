// The page: a button, and what a listener wants to know.

import { Heard } from "./wav.js";

const MOST_HEARD_SECONDS = 600;
const FULL_SECONDS = 12;
const find = (id) => document.getElementById(id);
const state = { piece: 0, isPlaying: false, isReady: false, gaps: 0, loaded: 0 };

/** What a screen reader says, and what stands under the button. */
function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

function fail(reason) {
  find("status").classList.add("failed");
  say(`This does not work here: ${reason}`);
  for (const control of document.querySelectorAll("button, input, select")) control.disabled = true;
}

const seedOf = () => Math.min(Math.max(Math.floor(Number(find("seed").value)) || 0, 0), 999999999);

async function loadTable() {
  const response = await fetch("model.json");
  if (!response.ok) throw new Error(`model.json cannot be loaded (${response.status})`);
  return response.json();
}

function describe(table) {
  const kilohertz = (table.sample_rate / 1000).toLocaleString("en");
  const channels = table.channels === 2 ? "stereo" : "mono";
  const bits = { int8: "8-bit weights", half: "16-bit weights", full: "32-bit weights" }[table.model.precision];
  find("model").textContent =
    `${kilohertz} kHz ${channels}, ${table.phase.iterations} phase iterations, ${bits}. ` +
    `The same seed in Python: musigan generate --seed ${seedOf()}` +
    (table.model.precision === "full" ? "." : " (a little different there, for its weights are not rounded).");
}

function offerSteps(table) {
  const own = table.sampling.steps;
  const offered = own === 1 ? [1] : [...new Set([2, 4, 8, 16, own])].sort((a, b) => a - b);
  find("steps").replaceChildren(
    ...offered.map((steps) => new Option(steps === own ? `${steps} (best)` : steps, steps, steps === own, steps === own)),
  );
  find("steps").disabled = offered.length === 1;
}

/** Context, player and worker, made when the button is pressed first: browsers allow no sound before. */
async function begin() {
  const { table } = state;
  if (typeof AudioWorkletNode === "undefined") throw new Error("sound needs an address with https, or localhost");
  const context = new AudioContext({ sampleRate: table.sample_rate, latencyHint: "playback" });
  await context.audioWorklet.addModule(new URL("player.js", import.meta.url));
  const player = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [2] });
  const volume = new GainNode(context, { gain: loudness() });
  player.connect(volume).connect(context.destination);
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const { port1, port2 } = new MessageChannel();
  player.port.onmessage = ({ data }) => onPlayer(data);
  worker.onmessage = ({ data }) => onWorker(data);
  worker.onerror = (event) => fail(event.message || "the composer could not be started");
  player.port.postMessage({ type: "source", port: port1 }, [port1]);
  const asked = { piece: state.piece, seed: seedOf(), steps: Number(find("steps").value) };
  worker.postMessage({ type: "begin", port: port2, ...asked }, [port2]);
  Object.assign(state, { context, player, volume, worker });
}

function onPlayer(data) {
  if (data.type === "heard") {
    state.heard.add(data.channels);
    find("heard").textContent = clock(state.heard.seconds);
    find("save").disabled = false;
  } else if (data.type === "heard so far") {
    save();
  } else if (data.piece === state.piece) {
    const seconds = data.waiting / state.table.sample_rate;
    find("buffer").value = Math.min(seconds / FULL_SECONDS, 1);
    find("buffer-text").textContent = `${seconds.toFixed(1)} s`;
    find("gaps").textContent = String(data.gaps);
    find("slow").hidden = data.gaps < 2;
    if (state.isPlaying && state.isReady) say(seconds > 0 || data.heard > 0 ? "Playing" : "Composing the beginning");
  }
}

function onWorker(data) {
  if (data.type === "loaded") {
    state.loaded += data.count;
    say(`Loading: ${(state.loaded / 1e6).toFixed(0)} MB`);
  } else if (data.type === "ready") {
    state.isReady = true;
    say("Composing the beginning");
  } else if (data.type === "speed" && data.piece === state.piece) {
    find("speed").textContent = `${data.times.toFixed(1)} × real time`;
  } else if (data.type === "failed") {
    fail(data.reason);
  }
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const loudness = () => (Number(find("volume").value) / 100) ** 2;

async function toggle() {
  state.isPlaying = !state.isPlaying;
  find("play").dataset.playing = String(state.isPlaying);
  find("play-text").textContent = state.isPlaying ? "Stop" : "Play";
  if (!state.context) {
    say("Loading");
    await begin();
  }
  if (state.isPlaying) await state.context.resume();
  state.player.port.postMessage({ type: "run", isRunning: state.isPlaying });
  if (state.isReady) say(state.isPlaying ? "Playing" : "Stopped");
}

/** Another piece: what was composed of the last one and not heard yet is thrown away. */
function change() {
  find("seed").value = String(seedOf());
  describe(state.table);
  if (!state.worker) return;
  state.piece += 1;
  const asked = { type: "piece", piece: state.piece, seed: seedOf(), steps: Number(find("steps").value) };
  state.player.port.postMessage({ type: "piece", piece: state.piece });
  state.worker.postMessage(asked);
  if (state.isPlaying && state.isReady) say("Composing the beginning");
}

function save() {
  const comment = `Composed by MusiGAN (AI) in a browser; the last seed was ${seedOf()}`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(state.heard.toBlob(comment));
  link.download = `musigan-seed-${seedOf()}.wav`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function main() {
  state.table = await loadTable();
  const { sample_rate: rate, channels } = state.table;
  state.heard = new Heard(rate, channels, MOST_HEARD_SECONDS);
  offerSteps(state.table);
  describe(state.table);
  find("play").onclick = () => toggle().catch((error) => fail(error.message));
  find("next").onclick = () => {
    find("seed").value = String(seedOf() + 1);
    change();
  };
  find("seed").onchange = change;
  find("steps").onchange = change;
  find("volume").oninput = () => state.volume?.gain.setTargetAtTime(loudness(), state.context.currentTime, 0.02);
  find("save").onclick = () => state.player.port.postMessage({ type: "heard" });
  find("play").disabled = false;
  say("Ready");
}

main().catch((error) => fail(error.message));
