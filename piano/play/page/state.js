// All that the page knows, in one place. Views read `state`, change it with `set`, and are told by `watch`.

export const state = {
  view: "radio",
  models: [], // as the server names them
  model: "",
  styles: null, // {points, tempo, energy, has_keys} of the model
  program: { seed: 0, piece: 0, surprise: 1, wander_seconds: 0, blend: 0.5, prompt: null },
  styleMode: "free", // free, near, between
  near: null, // the number of a style
  poles: [null, null], // each the number of a style, or {id, name} of a sound
  pole: 0, // which of the two the map sets
  promptName: "",
  phase: "stopped", // stopped, waiting, playing
  sentence: "", // what the radio has to say
  radio: null, // {id, rate, channels} while there is one
  pieceBegan: 0, // sample
  meters: { ahead: null, delay: null, gaps: null, speed: null, listeners: null, position: 0, played: 0, peak: 0 },
  takes: null,
  uploads: [],
  source: null, // {id, name}: what is continued, varied, or made more of
  kind: "continue",
  makes: [],
  playing: null, // the sound in the dock: {url, name, isPaused, at, seconds}
};

const watchers = new Map();

export function watch(keys, call) {
  for (const key of [].concat(keys)) watchers.set(key, [...(watchers.get(key) ?? []), call]);
}

export function set(changes) {
  const calls = new Set();
  for (const [key, value] of Object.entries(changes)) {
    if (Object.is(state[key], value)) continue;
    state[key] = value;
    for (const call of watchers.get(key) ?? []) calls.add(call);
  }
  for (const call of calls) call(state);
}

// What the radio is asked for, in the server's words.
export function wireProgram() {
  const { program, styleMode, near, poles } = state;
  const ends = poles.map((pole) => pole?.id ?? pole);
  return {
    ...program,
    near: styleMode === "near" ? near : null,
    between: styleMode === "between" && !ends.includes(null) ? ends : null,
  };
}

const NUMBERS = { seed: 0, piece: 0, surprise: 1, wander_seconds: 0, blend: 0.5 };

// The address: the same link is the same piece.
export function toHash() {
  const values = new URLSearchParams();
  if (state.view === "radio") {
    if (state.model) values.set("model", state.model);
    values.set("seed", state.program.seed);
    for (const name of ["piece", "surprise", "wander_seconds"]) {
      if (state.program[name] !== NUMBERS[name]) values.set(name, state.program[name]);
    }
    const { near, between } = wireProgram();
    if (near !== null) values.set("near", near);
    if (between && between.every(Number.isInteger)) values.set("between", between.join("-"));
    if (values.has("between")) values.set("blend", state.program.blend);
  }
  const text = values.toString();
  return `#${state.view}${text ? `?${text}` : ""}`;
}

// The changes that an address asks for; null where it names no view but a part of the page.
export function fromHash(hash, views) {
  const [name, text = ""] = hash.replace(/^#/, "").split("?");
  if (name && !views.includes(name)) return null;
  const changes = { view: name || "radio" };
  const values = new URLSearchParams(text);
  if (changes.view !== "radio" || ![...values.keys()].length) return changes;
  const program = { ...state.program };
  for (const [key, usual] of Object.entries(NUMBERS)) {
    const value = Number(values.get(key) ?? usual);
    program[key] = Number.isFinite(value) && value >= 0 ? value : usual;
  }
  for (const key of ["seed", "piece"]) program[key] = Math.floor(program[key]);
  const ends = (values.get("between") ?? "").split("-").map(Number);
  const near = Number(values.get("near") ?? NaN);
  changes.program = program;
  changes.styleMode = "free";
  if (Number.isInteger(near)) Object.assign(changes, { styleMode: "near", near });
  if (values.get("between") && ends.length === 2 && ends.every(Number.isInteger)) {
    Object.assign(changes, { styleMode: "between", poles: ends });
  }
  if (values.get("model")) changes.model = values.get("model");
  return changes;
}
