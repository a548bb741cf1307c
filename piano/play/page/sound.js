// The radio's sound: opens the audio, the worker and the ring, and tells `state` what is heard.

import { ask } from "./api.js";
import { loadRing, ringNode } from "./ring_node.js";
import { set, state, wireProgram } from "./state.js";

const CANNOT = "This browser cannot play it. A recent Firefox, Chrome, Edge or Safari can.";
const MOVE_EVERY_MS = 90;
const FADED_MS = 300; // what the page had handed to the browser is over by then
const GONE = "The player has stopped answering. Start “musigan play” again in its terminal, then press play.";
const BROKEN = "A part of this page did not come, or failed. See whether “musigan play” still runs, then press play again.";
const GO_ON = "Press play to go on.";

let context = null;
let node = null;
let worker = null;
let opening = 0; // which start is meant: a stop while it opens makes it void
let moves = new Map(); // id -> when its control was touched
let moveNumber = 0;
let pending = null;
let pendingSince = 0;
let lastMove = 0;
let timer = 0;
let came = 0; // when the last report came
const onColumns = new Set();
const onVoid = new Set();

export const whenDrawn = (call) => onColumns.add(call);
export const whenVoid = (call) => onVoid.add(call);

// The sample that is heard now.
export function positionNow() {
  const { position } = state.meters;
  if (state.phase !== "playing" || !state.radio) return position;
  return position + Math.min(0.5, (performance.now() - came) / 1000) * state.radio.rate;
}

function socketAddress() {
  const url = new URL("/api/radio", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function openContext(rate) {
  if (context && rate && context.wanted !== rate) context.close();
  if (!context || context.state === "closed") {
    const Context = window.AudioContext ?? window.webkitAudioContext;
    try {
      context = new Context(rate ? { sampleRate: rate, latencyHint: "interactive" } : {});
    } catch {
      context = new Context(); // some browsers refuse unusual rates; the ring resamples then
    }
    context.wanted = rate;
    context.onstatechange = interrupted;
  }
  if (navigator.audioSession) navigator.audioSession.type = "playback"; // plays with the phone's silent switch on
  return context.resume(); // inside the gesture that asked for sound
}

function interrupted() {
  if (state.phase === "playing" && context.state === "interrupted") {
    stop(`Another program took the sound. ${GO_ON}`);
  }
}

export async function start() {
  const model = state.models.find(({ name }) => name === state.model) ?? state.models[0];
  if (!model) return set({ sentence: GONE });
  const mine = ++opening;
  set({ phase: "waiting", sentence: model.is_loaded ? "" : "The model is being loaded. That happens once." });
  try {
    const ready = openContext(model.sample_rate ?? undefined);
    const { rate, channels } = await formatOf(model);
    if (mine !== opening) return;
    await Promise.all([ready, openContext(rate)]);
    await loadRing(context).catch((error) => Promise.reject(Object.assign(error, { sentence: BROKEN })));
    if (mine === opening) connect(mine, model.name, rate, channels);
  } catch (error) {
    if (mine === opening) set({ phase: "stopped", sentence: error.sentence ?? CANNOT });
  }
}

// What a model sounds in; the server knows once it is loaded.
async function formatOf({ name, sample_rate: rate, channels }) {
  if (rate) return { rate, channels };
  try {
    await ask(`/api/models/${encodeURIComponent(name)}/styles`); // loads it
    const models = await ask("/api/models");
    set({ models });
    const found = models.find((model) => model.name === name);
    return { rate: found.sample_rate, channels: found.channels };
  } catch (error) {
    throw Object.assign(error, { sentence: error.message });
  }
}

function connect(mine, model, rate, channels) {
  close();
  const line = new MessageChannel();
  node = ringNode(context, { sourceRate: rate, channels, port: line.port1 });
  node.connect(context.destination);
  worker = new Worker("/page/stream_worker.js");
  worker.onmessage = ({ data }) => mine === opening && told(data);
  worker.onerror = () => mine === opening && stop(BROKEN);
  worker.postMessage({ start: { url: socketAddress(), model, program: wireProgram(), rate, port: line.port2 } }, [line.port2]);
  moves = new Map();
  pending = null;
  set({ radio: null, pieceBegan: 0, meters: { ...state.meters, ahead: 0, delay: null, gaps: 0, position: 0 } });
}

function close() {
  const [oldNode, oldWorker] = [node, worker];
  node = worker = null;
  oldWorker?.postMessage({ stop: true }); // fades first
  setTimeout(() => (oldNode?.disconnect(), oldWorker?.terminate()), FADED_MS);
}

export function stop(sentence = "") {
  opening += 1;
  close();
  set({ phase: "stopped", sentence, radio: null, meters: { ...state.meters, ahead: null, speed: null } });
  const mine = opening;
  setTimeout(() => mine === opening && context?.suspend(), 400);
}

function told(message) {
  if (message.report) return reported(message.report);
  if (message.columns) return onColumns.forEach((call) => call(message.columns));
  if (message.void) return voided(message.void);
  if (message.format) {
    const { radio, sample_rate: rate, channels } = message.format;
    return set({ radio: { id: radio, rate, channels } });
  }
  if (message.status) {
    const { speed, listeners } = message.status;
    return set({ meters: { ...state.meters, speed, listeners } });
  }
  if (message.refused) return stop(message.refused.reason);
  if (message.error) return state.phase === "playing" ? set({ sentence: message.error.reason }) : stop(message.error.reason);
  if (message.closed) stop(message.closed.reason ? `${message.closed.reason} ${GO_ON}` : GONE);
}

// Of moves that come faster than music is made only the last one is told: it does what those before it wanted.
function voided({ id, from }) {
  const done = [...moves].filter(([each, move]) => each <= id && !move.isVoided).map(([, move]) => move);
  for (const move of done) move.isVoided = true;
  if (done.some((move) => move.isNewPiece)) set({ pieceBegan: from });
  onVoid.forEach((call) => call(from));
}

function reported(report) {
  came = performance.now();
  const rate = state.radio?.rate ?? 44100;
  const meters = { ...state.meters, gaps: report.underruns, position: report.position, played: report.played, peak: report.peak };
  meters.ahead = Math.max(0, report.end - report.position) / rate;
  for (const { id, time } of report.heard) {
    const move = moves.get(id);
    if (move) meters.delay = Math.max(0, whenHeard(time) - move.since);
    for (const old of [...moves.keys()]) if (old <= id) moves.delete(old);
  }
  set({ meters });
  if (state.phase === "waiting" && report.played > 0) set({ phase: "playing", sentence: "" });
}

// The page's clock at which a moment of the audio reaches the loudspeaker.
function whenHeard(time) {
  const stamp = context.getOutputTimestamp?.();
  if (stamp?.performanceTime > 0) return stamp.performanceTime + (time - stamp.contextTime) * 1000;
  return performance.now() + (time - context.currentTime + (context.outputLatency || context.baseLatency || 0)) * 1000;
}

// Change what plays; `since` is when the listener touched the control.
export function move({ since = performance.now(), isNewPiece = false } = {}) {
  if (state.phase === "stopped") return;
  if (!pending) pendingSince = since;
  pending = { isNewPiece: isNewPiece || Boolean(pending?.isNewPiece) };
  clearTimeout(timer);
  timer = setTimeout(send, Math.max(0, lastMove + MOVE_EVERY_MS - performance.now()));
}

function send() {
  if (!worker || !pending || !state.radio) return void (pending && worker && (timer = setTimeout(send, 50)));
  moveNumber += 1;
  moves.set(moveNumber, { since: pendingSince, isNewPiece: pending.isNewPiece });
  worker.postMessage({ move: { id: moveNumber, program: wireProgram() } });
  pending = null;
  lastMove = performance.now();
}
