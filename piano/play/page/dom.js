// Small help with elements and with words.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name === "className" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The coloured part of a slider's track.
export function fill(range) {
  const share = (range.value - range.min) / (range.max - range.min || 1);
  range.style.setProperty("--fill", `${100 * share}%`);
}

export const choice = (name) => $(`input[name="${name}"]:checked`)?.value;
export function choose(name, value) {
  const input = $(`input[name="${name}"][value="${value}"]`);
  if (input) input.checked = true;
}

// Said by a screen reader when it has nothing else to say.
export function say(sentence) {
  $("#said").textContent = sentence;
}

export function toast(sentence, action, call) {
  const box = make("div", { className: "toast" }, make("span", { text: sentence }));
  const close = () => box.remove();
  let timer = setTimeout(close, action ? 9000 : 5000);
  if (action) box.append(make("button", { type: "button", text: action, on: { click: () => (close(), call()) } }));
  box.addEventListener("focusin", () => clearTimeout(timer));
  box.addEventListener("focusout", () => (timer = setTimeout(close, 4000)));
  $("#toasts").replaceChildren(box);
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function lasting(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

export const many = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

export function day(made) {
  const date = new Date(typeof made === "number" ? made * 1000 : made);
  if (Number.isNaN(date.getTime())) return String(made);
  const isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isToday ? `today ${time}` : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

// A canvas at the screen's own resolution; its context, and its size in CSS pixels.
export function sized(canvas, most = 2) {
  const scale = Math.min(window.devicePixelRatio || 1, most);
  const { clientWidth: width, clientHeight: height } = canvas;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height, scale };
}

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "ink", "quiet", "accent", "glow", "edge", "track", "wash", "vinyl", "groove"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

export const wantsCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
