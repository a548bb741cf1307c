// Plays sound as it comes, on the audio thread; what was heard goes back to the page.

const FADE_SECONDS = 0.03;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // arrays of samples for each channel, the next one first
    this.place = 0; // in the first of them
    this.told = 0; // of it, what the page knows to be heard
    this.waiting = 0; // samples that are there and not heard yet
    this.heard = 0;
    this.gaps = 0;
    this.isRunning = false;
    this.hasBegun = false;
    this.loudness = 0; // of the fade, 0 to 1
    this.isLeaving = false; // fading out before another piece
    this.piece = 0;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(message) {
    if (message.type === "source") {
      this.source = message.port;
      this.source.onmessage = ({ data }) => this.receive(data);
    } else if (message.type === "run") {
      this.isRunning = message.isRunning;
    } else if (message.type === "piece") {
      this.piece = message.piece;
      this.isLeaving = true;
    } else if (message.type === "heard") {
      this.tellHeard();
      this.port.postMessage({ type: "heard so far" });
    }
  }

  receive({ piece, channels }) {
    if (piece !== this.piece) return;
    (this.isLeaving ? (this.arrived ??= []) : this.queue).push(channels);
    if (!this.isLeaving) this.waiting += channels[0].length;
    this.report();
  }

  /** The piece before goes; what has come of the next one meanwhile is played. */
  leave() {
    this.tellHeard();
    this.queue = this.arrived ?? [];
    this.arrived = null;
    this.waiting = this.queue.reduce((sum, channels) => sum + channels[0].length, 0);
    this.place = this.told = 0;
    this.loudness = 0;
    this.isLeaving = this.hasBegun = false;
    this.report();
  }

  tellHeard() {
    if (!this.queue.length || this.place === this.told) return;
    const channels = this.queue[0].map((samples) => samples.slice(this.told, this.place));
    this.port.postMessage({ type: "heard", channels }, channels.map((samples) => samples.buffer));
    this.told = this.place;
  }

  report() {
    const state = { type: "state", waiting: this.waiting, heard: this.heard, gaps: this.gaps, piece: this.piece };
    this.port.postMessage(state);
    this.source?.postMessage(state);
  }

  process(_, [output]) {
    const wanted = output[0].length;
    const isHeard = this.isRunning && !this.isLeaving;
    const step = 1 / (FADE_SECONDS * sampleRate);
    if (this.isLeaving && (this.loudness <= 0 || !this.queue.length)) this.leave();
    let done = 0;
    while (done < wanted && this.queue.length && (isHeard || this.loudness > 0)) {
      const channels = this.queue[0];
      const count = Math.min(wanted - done, channels[0].length - this.place);
      for (let index = 0; index < count; index++) {
        this.loudness = Math.min(Math.max(this.loudness + (isHeard ? step : -step), 0), 1);
        for (let channel = 0; channel < output.length; channel++) {
          const samples = channels[Math.min(channel, channels.length - 1)];
          output[channel][done + index] = this.loudness * samples[this.place + index];
        }
      }
      done += count;
      this.place += count;
      this.heard += count;
      this.waiting -= count;
      this.hasBegun = true;
      if (this.place < channels[0].length) continue;
      this.tellHeard();
      this.queue.shift();
      this.place = this.told = 0;
    }
    if (isHeard && this.hasBegun && done < wanted && !this.isEmpty) this.gaps++;
    this.isEmpty = done < wanted;
    if (this.ticks++ % 40 === 0) this.report();
    return true;
  }

  ticks = 0;
  isEmpty = true;
}

registerProcessor("player", Player);
