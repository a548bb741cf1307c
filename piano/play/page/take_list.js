// A list of takes that follows `state`: only what changed is built anew, so that no click and no focus is lost.

import { $, $$ } from "./dom.js";
import { takeCard } from "./take_card.js";

const CONTROLS = "button, input, a";
const known = new WeakMap(); // list -> Map of id -> {text, card}

function cardOf(cards, take) {
  const text = JSON.stringify(take);
  const before = cards.get(take.id);
  if (before?.text === text) return before.card;
  const card = takeCard(take);
  if (before && $("[aria-expanded=true]", before.card)) $("[aria-expanded]", card).click();
  cards.set(take.id, { text, card });
  return card;
}

// Where the keyboard is in a list: which take, which of its controls.
function focusIn(list) {
  const card = document.activeElement.closest?.(".take");
  if (!card || !list.contains(card)) return null;
  return { card, id: card.dataset.id, index: $$(CONTROLS, card).indexOf(document.activeElement) };
}

export function showList(list, takes) {
  if (!known.has(list)) known.set(list, new Map());
  const cards = known.get(list);
  const focus = focusIn(list);
  const wanted = takes.map((take) => cardOf(cards, take));
  for (const card of [...list.children]) if (!wanted.includes(card)) card.remove();
  wanted.forEach((card, index) => {
    if (list.children[index] !== card) list.insertBefore(card, list.children[index] ?? null);
  });
  for (const id of [...cards.keys()]) if (!takes.some((take) => take.id === id)) cards.delete(id);
  if (focus && !list.contains(focus.card)) $$(CONTROLS, cards.get(focus.id)?.card ?? list)[focus.index]?.focus();
}
