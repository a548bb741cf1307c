// The server, asked in JSON. What goes wrong is an Error whose message is a sentence for the listener.

const GONE = "The player does not answer. See whether “musigan play” still runs in its terminal, and start it again.";

export async function ask(path, { method = "GET", json, body, headers = {} } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: json === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch {
    throw new Error(GONE);
  }
  const text = await answer.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    content = null;
  }
  if (answer.ok) return content;
  throw new Error(content?.error ?? `The player could not do that (${answer.status}). Its terminal says more.`);
}

export const post = (path, json) => ask(path, { method: "POST", json });
export const remove = (path) => ask(path, { method: "DELETE" });

export function upload(sound, name) {
  const headers = { "X-File-Name": encodeURIComponent(name), "Content-Type": "application/octet-stream" };
  return ask("/api/uploads", { method: "POST", body: sound, headers });
}

// Server-sent events; the browser connects again by itself.
export function listen(path, call) {
  const source = new EventSource(path);
  source.onmessage = ({ data }) => call(JSON.parse(data));
  return source;
}

export const takeSound = (id) => `/api/takes/${encodeURIComponent(id)}/sound`;
export const uploadSound = (id) => `/api/uploads/${encodeURIComponent(id)}/sound`;
