// One take: its sound, its name, where it comes from, and what can be done with it.

import { post, remove, takeSound } from "./api.js";
import { clock, colours, day, make, sized, toast } from "./dom.js";
import { play, playButton } from "./player.js";
import { radioFrom } from "./radio.js";
import { set, state } from "./state.js";

const KINDS = { radio: "from the radio", new: "new", continue: "continued", vary: "varied", like: "alike", loop: "a loop", fill: "filled" };
const STEP_SECONDS = 5;

async function change(take, json) {
  try {
    await post(`/api/takes/${encodeURIComponent(take.id)}`, json);
    set({ takes: state.takes.map((old) => (old.id === take.id ? { ...old, ...json } : old)) });
  } catch (error) {
    toast(error.message);
  }
}

async function discard(take) {
  const path = `/api/takes/${encodeURIComponent(take.id)}`;
  try {
    await remove(path);
    set({ takes: state.takes.filter(({ id }) => id !== take.id) });
    toast(`“${take.name}” is in the trash.`, "Undo", () => post(`${path}/restore`).catch((error) => toast(error.message)));
  } catch (error) {
    toast(error.message);
  }
}

export function drawWave(canvas, peaks, share) {
  const { context, width, height } = sized(canvas);
  if (!width || !peaks?.length) return;
  const colour = colours();
  const count = Math.min(peaks.length, Math.floor(width / 3));
  const step = width / count;
  context.clearRect(0, 0, width, height);
  for (let bar = 0; bar < count; bar++) {
    const from = Math.floor((bar * peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * peaks.length) / count));
    const size = Math.max(2, Math.max(...peaks.slice(from, to)) * height);
    context.fillStyle = bar / count < share ? colour.accent : colour.track;
    context.fillRect(bar * step, (height - size) / 2, Math.max(1, step - 1.4), size);
  }
}

function wave(take, sound) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const range = make("input", { type: "range", min: 0, max: take.seconds, step: 0.1, value: 0, "aria-label": `Place in ${take.name}` });
  const show = () => {
    const isOn = state.playing?.url === sound.url;
    const at = isOn ? state.playing.at : 0;
    range.value = at;
    range.setAttribute("aria-valuetext", `${clock(at)} of ${clock(take.seconds)}`);
    drawWave(canvas, take.peaks, isOn ? at / take.seconds : 0);
  };
  range.addEventListener("input", () => play(sound, { from: Number(range.value) }));
  range.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    play(sound, { from: Math.max(0, Math.min(take.seconds, Number(range.value) + direction * STEP_SECONDS)) });
  });
  const box = make("div", { className: "wave" }, canvas, range);
  box.show = show;
  new ResizeObserver(show).observe(box);
  return box;
}

function words(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  if (Array.isArray(value)) return value.map(words).join(value.some((part) => part instanceof Object) ? "\n" : ", ");
  if (typeof value === "object") return Object.entries(value).map(([name, part]) => `${name.replaceAll("_", " ")} ${words(part)}`).join(", ");
  return String(value);
}

// A receipt's lines, those of its parts after their names.
export function receiptLines(receipt, before = "") {
  return Object.entries(receipt ?? {}).flatMap(([name, value]) => {
    const title = `${before}${name.replaceAll("_", " ")}`;
    const isPart = value && typeof value === "object" && !Array.isArray(value);
    return isPart ? receiptLines(value, `${title}: `) : [[title, words(value)]];
  });
}

function receiptTable(take) {
  const rows = receiptLines(take.receipt).map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row", text: name }), make("td", { text: value })),
  );
  return make("table", { className: "receipt" }, make("caption", { text: "Receipt" }), make("tbody", {}, ...rows));
}

function toYours(take, kind) {
  set({ source: { id: take.id, name: take.name }, kind });
  location.hash = "#yours";
}

function more(take) {
  const button = (text, call) => make("button", { type: "button", text, on: { click: call } });
  return make(
    "div",
    { className: "more" },
    make(
      "div",
      { className: "row" },
      make("a", { href: takeSound(take.id), download: "", text: "Download" }),
      button("Play on", () => toYours(take, "continue")),
      button("Another way", () => toYours(take, "vary")),
      button("More like this", () => toYours(take, "like")),
      button("Radio in its style", () => radioFrom({ id: take.id, name: take.name }, "style")),
      button("Radio from its end", () => radioFrom({ id: take.id, name: take.name }, "prompt")),
      button("Fill a part", () => toYours(take, "fill")),
      button("Delete", () => discard(take)),
    ),
    receiptTable(take),
  );
}

export function takeCard(take) {
  const sound = { url: takeSound(take.id), name: take.name, seconds: take.seconds, goesRound: take.kind === "loop" };
  const name = make("input", { className: "inline name", value: take.name, "aria-label": "Name of the take", maxlength: 80, spellcheck: "false" });
  name.addEventListener("change", () => (name.value.trim() ? change(take, { name: name.value.trim() }) : (name.value = take.name)));
  name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
  const facts = [KINDS[take.kind] ?? take.kind, take.model, clock(take.seconds), day(take.made)];
  const star = make("button", {
    type: "button",
    className: "plain star",
    "aria-pressed": String(Boolean(take.is_favourite)),
    "aria-label": `Favourite: ${take.name}`,
    text: take.is_favourite ? "★" : "☆",
    on: { click: () => change(take, { is_favourite: !take.is_favourite }) },
  });
  const opener = make("button", { type: "button", className: "plain open-more", "aria-expanded": "false", "aria-label": `More of ${take.name}`, text: "More" });
  const panel = make("div", { className: "panel", hidden: true });
  opener.addEventListener("click", () => {
    if (!panel.children.length) panel.append(more(take));
    panel.hidden = !panel.hidden;
    opener.setAttribute("aria-expanded", String(!panel.hidden));
  });
  const box = wave(take, sound);
  const card = make(
    "li",
    { className: "take", data: { id: take.id } },
    playButton(sound),
    make("div", { className: "names" }, name, make("span", { className: "facts", text: facts.filter(Boolean).join(" · ") })),
    box,
    make("div", { className: "tools" }, star, opener),
    panel,
  );
  card.show = box.show;
  return card;
}
