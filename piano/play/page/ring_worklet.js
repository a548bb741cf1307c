// The ring in the audio thread. It is spoken to over the node's port, or over the one that comes there as {port}.

import { Ring } from "./ring.js";

class RingProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    let line = this.port;
    this.ring = new Ring({ ...processorOptions, rate: sampleRate, tell: (report) => line.postMessage(report) });
    this.port.onmessage = ({ data }) => {
      if (!data.port) return this.ring.take(data);
      line = data.port;
      line.onmessage = (event) => this.ring.take(event.data);
    };
  }

  process(_, [output]) {
    this.ring.play(output, currentTime);
    return true;
  }
}

registerProcessor("ring", RingProcessor);
