// Begins: shows the view of the address, asks the server what there is, and listens to what changes there.

import { ask, listen } from "./api.js";
import { showBlind } from "./blind.js";
import { $, $$ } from "./dom.js";
import { listenToKeys } from "./keys.js";
import { showPlayer } from "./player.js";
import { showRadio } from "./radio.js";
import { showRuns } from "./runs.js";
import { move, start, stop } from "./sound.js";
import { loadUploads } from "./sources.js";
import { fromHash, set, state, toHash, watch } from "./state.js";
import { loadTakes, showTakes } from "./takes.js";
import { showYours } from "./yours.js";

const VIEWS = ["radio", "yours", "takes", "blind", "runs"];
const TITLES = { radio: "Radio", yours: "Yours", takes: "Takes", blind: "Blind", runs: "Runs" };
const AGAIN_MS = 1500;

function showView() {
  for (const view of VIEWS) $(`#view-${view}`).hidden = view !== state.view;
  for (const link of $$("nav a")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[state.view]} – MusiGAN`;
}

function addressed() {
  const changes = fromHash(location.hash, VIEWS);
  if (!changes) return;
  const isOtherView = changes.view !== state.view;
  const before = state.program;
  if (changes.model && state.models.length && !state.models.some(({ name }) => name === changes.model)) delete changes.model;
  const isOtherModel = state.phase !== "stopped" && (changes.model ?? state.model) !== state.model;
  if (isOtherModel) stop(); // a move keeps its model
  set(changes);
  if (isOtherModel) start();
  if (location.hash === "#radio") history.replaceState(null, "", toHash()); // the link of the view: a piece has more
  if (isOtherView) {
    scrollTo(0, 0);
    $("#main").focus({ preventScroll: true });
  }
  if (changes.program && !isOtherModel) move({ isNewPiece: before.seed !== changes.program.seed || before.piece !== changes.program.piece });
}

// Not by its address, which is the piece's.
function skip(event) {
  event.preventDefault();
  $("#main").focus();
}

async function loadModels() {
  try {
    const models = await ask("/api/models");
    const isKnown = models.some(({ name }) => name === state.model);
    set({ models, model: isKnown ? state.model : (models[0]?.name ?? "") });
    set({ sentence: models.length ? "" : "There is no model here. Start “musigan play” with a folder of checkpoints." });
  } catch (error) {
    set({ sentence: error.message });
    setTimeout(loadModels, AGAIN_MS);
  }
}

function changedThere({ takes_changed: hasTakes, makes }) {
  if (makes) set({ makes });
  if (hasTakes) loadTakes();
}

// A view is silent while its part of the server is missing; the radio plays on.
const quietly = (promise) => promise.catch(() => {});

watch("view", showView);
showRadio();
showPlayer();
showYours();
showTakes();
showBlind();
showRuns();
listenToKeys();
$(".skip").addEventListener("click", skip);
addEventListener("hashchange", addressed);
showView();
addressed();
loadModels();
quietly(loadUploads());
loadTakes();
quietly(ask("/api/makes").then((makes) => set({ makes })));
listen("/api/events", changedThere);
