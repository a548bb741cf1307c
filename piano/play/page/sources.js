// Sounds of one's own: brought to the server, listed, and thrown away again.

import { ask, remove, upload } from "./api.js";
import { set, state } from "./state.js";

const LARGEST_BYTES = 50e6;

export async function loadUploads() {
  const uploads = await ask("/api/uploads");
  set({ uploads });
}

// Bring a file; the server's notes and refusals are said. Gives {id, name}, or null.
export async function bringSound(file, tell) {
  if (file.size > LARGEST_BYTES) {
    tell(`${file.name} has ${Math.round(file.size / 1e6)} MB; at most 50 can be taken. Cut out the part that matters.`);
    return null;
  }
  tell(`Reading ${file.name} …`);
  try {
    const { id, name, seconds, notes } = await upload(file, file.name);
    await loadUploads();
    tell([`${name}, ${Math.round(seconds)} seconds.`, ...[].concat(notes ?? [])].join(" "));
    return { id, name };
  } catch (error) {
    tell(error.message);
    return null;
  }
}

export async function dropUpload(id) {
  await remove(`/api/uploads/${encodeURIComponent(id)}`);
  if (state.source?.id === id) set({ source: null });
  await loadUploads();
}
