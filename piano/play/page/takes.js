// The view of the library: every take that was kept, the newest first.

import { ask } from "./api.js";
import { $, $$, toast } from "./dom.js";
import { set, state, watch } from "./state.js";
import { showList } from "./take_list.js";

const NOTHING = "Nothing kept yet. On the radio, press “Keep 30 s”; or give it a sound of yours.";
const NO_FAVOURITES = "No favourites yet. Press the star of a take.";

export async function loadTakes() {
  try {
    set({ takes: await ask("/api/takes") });
  } catch (error) {
    toast(error.message);
  }
}

function show() {
  const isOnly = $("#only-favourites").checked;
  const takes = (state.takes ?? []).filter(({ is_favourite: is }) => is || !isOnly);
  showList($("#take-list"), takes);
  $("#takes-empty").hidden = takes.length > 0 || state.takes === null;
  $("#takes-empty").textContent = isOnly ? NO_FAVOURITES : NOTHING;
}

export function showTakes() {
  $("#only-favourites").addEventListener("change", show);
  watch("takes", show);
  const draw = () => $$(".take").forEach((card) => card.show());
  watch("playing", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
