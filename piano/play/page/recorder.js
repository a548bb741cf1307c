// Ten seconds from the microphone, as a WAV file.

const REFUSED = {
  NotAllowedError: "The microphone was refused. Allow it for this page in the browser's address bar, then record again.",
  NotFoundError: "There is no microphone. Plug one in, or choose a file.",
  NotReadableError: "Another program holds the microphone. Close it there, then record again.",
};
const ELSEWHERE = "The browser gives the microphone only to a page of this computer or to one with https. Choose a file instead.";

export function wavOf(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    for (const value of block) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, value))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(ELSEWHERE);
  try {
    const asIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return await navigator.mediaDevices.getUserMedia({ audio: asIs });
  } catch (error) {
    throw new Error(REFUSED[error.name] ?? "The microphone could not be opened. Choose a file instead.");
  }
}

// Record; `onLevel(peak, secondsLeft)` while it does. `signal` ends it early. Gives a File, or null for less than a second.
export async function record({ seconds, signal, onLevel }) {
  const stream = await microphone();
  const context = new (window.AudioContext ?? window.webkitAudioContext)();
  try {
    await context.resume();
    await context.audioWorklet.addModule("/page/capture_worklet.js");
    const node = new AudioWorkletNode(context, "capture", { numberOfInputs: 1, numberOfOutputs: 1 });
    context.createMediaStreamSource(stream).connect(node);
    node.connect(context.destination); // silent; some browsers run only what leads somewhere
    const blocks = await heard({ node, samples: seconds * context.sampleRate, rate: context.sampleRate, signal, onLevel });
    const count = blocks.reduce((sum, block) => sum + block.length, 0);
    if (count < context.sampleRate) return null;
    const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }).replace(/[^\d]+/g, ".");
    return new File([wavOf(blocks, context.sampleRate)], `recorded ${time}.wav`, { type: "audio/wav" });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
  }
}

function heard({ node, samples, rate, signal, onLevel }) {
  return new Promise((done) => {
    const blocks = [];
    let count = 0;
    const end = () => {
      node.port.onmessage = null;
      node.disconnect();
      done(blocks);
    };
    if (signal.aborted) return end(); // before the microphone opened
    signal.addEventListener("abort", end, { once: true });
    node.port.onmessage = ({ data }) => {
      blocks.push(data.block);
      count += data.block.length;
      onLevel(data.peak, (samples - count) / rate);
      if (count >= samples) end();
    };
  });
}
