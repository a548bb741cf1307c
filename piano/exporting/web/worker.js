// Composes away from the page, so that the page never waits: graphs by ONNX Runtime, the rest by composer.js.

import * as ort from "./ort.mjs";
import { Composer } from "./composer.js";

const AHEAD_SECONDS = 12;

ort.env.wasm.numThreads = 1; // more need headers that a plain host does not send

/** Graphs as `Composer` runs them. */
export async function loadRuntime(table, fetchBytes) {
  ort.env.wasm.wasmBinary = (await fetchBytes("ort.wasm")).buffer;
  const sessions = {};
  for (const name of ["endpoint", "decoder"]) {
    const graph = await fetchBytes(table.files[name].file);
    sessions[name] = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  }
  return {
    async run(name, inputs) {
      const feeds = Object.entries(inputs).map(([key, { data, dims }]) => [key, new ort.Tensor("float32", data, dims)]);
      return sessions[name].run(Object.fromEntries(feeds));
    },
  };
}

/** A file as bytes; `onPiece` hears how many came. */
export async function fetchBytes(name, onPiece = () => {}) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} cannot be loaded: the host answers ${response.status}`);
  const pieces = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    size += value.length;
    onPiece(value.length);
  }
  const bytes = new Uint8Array(size);
  let place = 0;
  for (const piece of pieces) {
    bytes.set(piece, place);
    place += piece.length;
  }
  return bytes;
}

export async function fetchTable() {
  return JSON.parse(new TextDecoder().decode(await fetchBytes("model.json")));
}

/** What the page asked for last, and what the player has. */
const now = { piece: 0, seed: 0, steps: 1, waiting: 0, wake: () => {} };

function listen(port) {
  port.onmessage = ({ data }) => {
    if (data.piece !== now.piece) return;
    now.waiting = data.waiting;
    now.wake();
  };
}

async function composeForEver(table, runtime, port) {
  for (;;) {
    const { piece, seed, steps } = now;
    const composer = new Composer(table, runtime, { seed, steps });
    await composer.start();
    while (piece === now.piece) {
      await new Promise((go) => setTimeout(go)); // let messages in
      if (now.waiting > AHEAD_SECONDS * table.sample_rate) {
        await new Promise((wake) => (now.wake = wake));
        continue;
      }
      const channels = await composer.block();
      if (piece !== now.piece) break;
      now.waiting += channels[0].length;
      self.postMessage({ type: "speed", times: composer.timesRealTime, piece });
      if (channels[0].length) port.postMessage({ piece, channels }, channels.map((samples) => samples.buffer));
    }
  }
}

async function begin({ port, ...asked }) {
  Object.assign(now, asked);
  const table = await fetchTable();
  const onPiece = (count) => self.postMessage({ type: "loaded", count });
  const runtime = await loadRuntime(table, (name) => fetchBytes(name, onPiece));
  self.postMessage({ type: "ready" });
  listen(port);
  await composeForEver(table, runtime, port);
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.onmessage = ({ data }) => {
    if (data.type === "begin") begin(data).catch((error) => self.postMessage({ type: "failed", reason: String(error) }));
    if (data.type === "piece") {
      Object.assign(now, { piece: data.piece, seed: data.seed, steps: data.steps, waiting: 0 });
      now.wake();
    }
  };
}
