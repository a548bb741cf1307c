// The node that plays the ring: in the audio thread, or in the page where the browser keeps that thread from it.
//
// A browser gives the audio thread only to a page of its own computer or to one with https. From another machine the
// page plays itself: a little later, and less sure of its time.

import { Ring } from "./ring.js";

const FRAMES = 4096; // at a time in the page: it may be busy for a tenth of a second
const QUANTUM = 128; // of them, as in the audio thread

export async function loadRing(context) {
  if (!context.audioWorklet) return;
  context.ring ??= context.audioWorklet.addModule("/page/ring_worklet.js");
  try {
    await context.ring;
  } catch (error) {
    await context.close(); // its audio thread remembers the failure; the next start opens another
    throw error;
  }
}

// Speaks over `port`; see ring.js.
export function ringNode(context, { sourceRate, channels, port }) {
  const outputs = Math.max(1, Math.min(2, channels));
  if (!context.audioWorklet) return nodeInPage(context, { sourceRate, channels, outputs, port });
  const node = new AudioWorkletNode(context, "ring", {
    numberOfInputs: 0,
    outputChannelCount: [outputs],
    processorOptions: { sourceRate, channels },
  });
  node.port.postMessage({ port }, [port]);
  return node;
}

function nodeInPage(context, { sourceRate, channels, outputs, port }) {
  const rate = context.sampleRate;
  const ring = new Ring({ sourceRate, channels, rate, tell: (report) => port.postMessage(report) });
  port.onmessage = ({ data }) => ring.take(data);
  const node = context.createScriptProcessor(FRAMES, 0, outputs);
  node.onaudioprocess = ({ outputBuffer, playbackTime }) => {
    const whole = Array.from({ length: outputs }, (_, channel) => outputBuffer.getChannelData(channel).fill(0));
    for (let begin = 0; begin < FRAMES; begin += QUANTUM) {
      const part = whole.map((channel) => channel.subarray(begin, begin + QUANTUM));
      ring.play(part, playbackTime + begin / rate);
    }
  };
  return node;
}
