// The keyboard: keys that work everywhere, and the list of them.

import { hear } from "./blind.js";
import { $ } from "./dom.js";
import { playOrPause } from "./player.js";
import { keep, next, playOrStop } from "./radio.js";
import { state } from "./state.js";

const VIEWS = ["radio", "yours", "takes", "blind", "runs"];

// Space belongs to what has the focus, unless that does nothing with it.
function ownsSpace(element) {
  return element.matches("button, a, summary, select, textarea, input:not([type=range])");
}

const isTyping = (element) => element.matches("textarea, select, input:not([type=range], [type=radio], [type=checkbox], [type=file])");

function space() {
  if (state.view !== "radio" && state.playing) playOrPause(state.playing);
  else playOrStop();
}

function pressed(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (key === " ") {
    if (ownsSpace(target)) return;
    event.preventDefault();
    return space();
  }
  if (isTyping(target)) return;
  const calls = {
    n: () => next(event),
    k: () => keep(),
    l: () => state.view === "blind" && hear("left"),
    r: () => state.view === "blind" && hear("right"),
    "?": () => $("#shortcuts").showModal(),
  };
  VIEWS.forEach((view, index) => (calls[index + 1] = () => (location.hash = `#${view}`)));
  const call = calls[key.toLowerCase()];
  if (!call || event.repeat) return;
  event.preventDefault();
  call();
}

export function listenToKeys() {
  document.addEventListener("keydown", pressed);
  $("#help").addEventListener("click", () => $("#shortcuts").showModal());
}
