// The view of the library: every take that was kept, the newest first.

import { ask } from "./api.js";
import { $, $$, toast } from "./dom.js";
import { set, state, watch } from "./state.js";
import { takeCard } from "./take_card.js";

export async function loadTakes() {
  try {
    set({ takes: await ask("/api/takes") });
  } catch (error) {
    toast(error.message);
  }
}

// Which card was open, and where the keyboard was, outlive a new list.
function show() {
  const list = $("#take-list");
  const isOnly = $("#only-favourites").checked;
  const takes = (state.takes ?? []).filter(({ is_favourite: is }) => is || !isOnly);
  const open = new Set($$("[aria-expanded=true]", list).map((opener) => opener.closest(".take").dataset.id));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [focused.closest(".take").dataset.id, $$("button, input, a", focused.closest(".take")).indexOf(focused)];
  const cards = takes.map((take) => takeCard(take));
  list.replaceChildren(...cards);
  for (const card of cards) if (open.has(card.dataset.id)) $("[aria-expanded]", card).click();
  if (place) $$("button, input, a", cards.find((card) => card.dataset.id === place[0]) ?? document.createElement("i"))[place[1]]?.focus();
  $("#takes-empty").hidden = takes.length > 0 || state.takes === null;
  if (isOnly && !takes.length) $("#takes-empty").textContent = "No favourites yet. Press the star of a take.";
}

export function showTakes() {
  $("#only-favourites").addEventListener("change", show);
  watch("takes", show);
  const draw = () => $$(".take").forEach((card) => card.show());
  watch("playing", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
