// Music from white noise, with the graphs and the table of model.json: the same steps as piano/composer.py.

import { hann, PhaseVocoder } from "./phase.js";
import { ChannelTransform } from "./fft.js";
import { KeyedNoise, Twister, seedOf } from "./noise.js";

const shifted = (level, shift) => (shift * level) / (1 + (shift - 1) * level);

/** A straight line between points, level beyond the ends. */
export function interpolate(value, from, to) {
  if (value <= from[0]) return to[0];
  for (let index = 1; index < from.length; index++) {
    if (value > from[index]) continue;
    const share = (value - from[index - 1]) / (from[index] - from[index - 1]);
    return to[index - 1] + share * (to[index] - to[index - 1]);
  }
  return to[to.length - 1];
}

/** Makes one endless piece. `runtime` runs graphs: run(name, {input: {data, dims}}) -> {output: {data, dims}}. */
export class Composer {
  constructor(table, runtime, { seed = 0, item = 0, steps = null } = {}) {
    Object.assign(this, { table, runtime, seed, item });
    this.steps = steps ?? table.sampling.steps;
    this.spent = { windows: 0, frames: 0, blocks: 0, samples: 0 }; // seconds of work, and what was made in them
    this.noise = new KeyedNoise(table.noise.block_frames);
    const { n_fft: size, layers } = table.spectrum;
    this.transform = new ChannelTransform(size);
    this.window = hann(size);
    this.scatterSpectra = Array.from({ length: layers }, () => ({
      re: new Float32Array(size / 2 + 1),
      im: new Float32Array(size / 2 + 1),
    }));
    this.vocoder = new PhaseVocoder({
      size,
      channels: table.channels,
      iterations: table.phase.iterations,
      hasCoherence: table.spectrum.image !== null,
      table: table.phase,
    });
  }

  /** Composes the first window, which decides how loud the piece is; a style that is a pause is drawn anew. */
  async start() {
    const { attempts } = this.table.style;
    let loudest = null;
    for (let attempt = 0; attempt < attempts; attempt++) {
      this.style = this.drawStyle(attempt);
      this.composed = 0;
      this.history = new Float32Array(0);
      const latents = await this.composeWindow();
      const level = await this.levelOf(latents);
      if (!loudest || level > loudest.level) loudest = { level, latents, style: this.style, history: this.history };
      if (level > this.table.loudness.silent_below) break;
    }
    Object.assign(this, { style: loudest.style, history: loudest.history, waiting: loudest.latents });
    this.lookedBackOn = 0; // latents of `waiting` that are sound already
    this.spectrumFrame = 0;
    this.gain = Math.exp(interpolate(loudest.level, this.table.loudness.made, this.table.loudness.music) - loudest.level);
  }

  /** How many times faster than it plays the music is made, as far as it is known. */
  get timesRealTime() {
    const { windows, frames, blocks, samples } = this.spent;
    const { sample_rate: rate, spectrum, latents } = this.table;
    const frame = (spectrum.hop_samples * latents.stride) / rate;
    return 1 / (windows / (frames * frame) + blocks / (samples / rate));
  }

  /** The next sound: an array of samples for each channel. */
  async block() {
    const { size, block_frames: count, context_frames: context } = this.table.latents;
    while (this.waiting.length / size - this.lookedBackOn < count + context) {
      const further = await this.composeWindow();
      const joined = new Float32Array(this.waiting.length + further.length);
      joined.set(this.waiting);
      joined.set(further, this.waiting.length);
      this.waiting = joined;
    }
    const began = performance.now();
    const made = await this.nextSound();
    this.spent.blocks += (performance.now() - began) / 1000;
    this.spent.samples += count * this.table.latents.stride * this.table.spectrum.hop_samples;
    return made;
  }

  async nextSound() {
    const { size, stride, block_frames: count, context_frames: context } = this.table.latents;
    const from = Math.max(this.lookedBackOn - context, 0);
    const end = this.lookedBackOn + count;
    const latents = this.waiting.subarray(from * size, (end + context) * size);
    const skipped = (this.lookedBackOn - from) * stride;
    const decoded = await this.decode(latents, { skipped, frames: count * stride, first: this.spectrumFrame });
    this.waiting = this.waiting.slice(Math.max(end - context, 0) * size);
    this.lookedBackOn = Math.min(end, context);
    this.spectrumFrame += count * stride;
    return this.sound(decoded, { skipped, frames: count * stride });
  }

  // --- latents ---

  /** A style near one of the training music's, and its pulse. */
  drawStyle(attempt) {
    const { table, seed, item } = this;
    const style = table.style;
    const again = attempt ? [attempt] : [];
    const random = new Twister(seedOf([seed, item, "style", ...again]));
    const anchor = style.anchors[random.next() % style.anchors.length];
    const phase = 2 * Math.PI * random.uniform();
    const firstBeat = random.uniform();
    const spread = this.noise.read([seed, item, "style spread", ...again], 0, 1, style.size);
    const vector = Float32Array.from(anchor, (value, index) => value + style.anchor_spread * spread[index]);
    const numbers = style.pulse_offset.map((offset, column) =>
      vector.reduce((sum, value, row) => sum + value * style.pulse_matrix[row][column], offset),
    );
    const [speed, strength, octaveRe, octaveIm] = numbers.slice(-5);
    const [slowest, fastest] = style.pulse_range;
    const pulse = {
      frequency: Math.min(Math.max(Math.exp(0.5 * speed), slowest), fastest),
      strength: Math.max(strength, 0),
      octave: [octaveRe, octaveIm],
      phase,
      repeat: null,
    };
    if (style.repeats.length) {
      const likeness = numbers.slice(0, style.repeats.length);
      const strongest = Math.max(...likeness);
      const beats = style.repeats[likeness.indexOf(strongest)];
      const turn = (phase + 2 * Math.PI * Math.floor(firstBeat * beats)) / beats;
      pulse.repeat = { beats, turn, strength: Math.max(strongest, 0) };
    }
    return { vector, pulse };
  }

  /** The beat, its octave and what comes again, each with its quadrature, for `frames` frames. */
  signals(first, frames) {
    const { frequency, strength, octave, phase, repeat } = this.style.pulse;
    const { table } = this;
    const hop = table.spectrum.hop_samples * table.latents.stride;
    const width = repeat ? 6 : 4;
    const numbers = new Float32Array(frames * width);
    for (let frame = 0; frame < frames; frame++) {
      const seconds = ((first + frame) * hop) / table.sample_rate;
      const angle = 2 * Math.PI * frequency * seconds + phase;
      const [cosine, sine] = [Math.cos(2 * angle), Math.sin(2 * angle)];
      const row = [
        strength * Math.cos(angle),
        strength * Math.sin(angle),
        octave[0] * cosine - octave[1] * sine,
        octave[0] * sine + octave[1] * cosine,
      ];
      if (repeat) {
        const turned = 2 * Math.PI * (frequency / repeat.beats) * seconds + repeat.turn;
        row.push(repeat.strength * Math.cos(turned), repeat.strength * Math.sin(turned));
      }
      numbers.set(row, frame * width);
    }
    return { data: numbers, dims: [1, frames, width] };
  }

  /** The next window of latents, without what it goes on from. */
  async composeWindow() {
    const { size, window_frames: window, kept_frames: keptFrames } = this.table.latents;
    const { prefix_level: prefixLevel, level_shift: shift } = this.table.sampling;
    const began = performance.now();
    const kept = this.history.length / size;
    const latents = new Float32Array(window * size);
    const held = kept ? this.noise.read([this.seed, this.item, "prefix"], 0, kept, size) : [];
    for (let index = 0; index < kept * size; index++) {
      latents[index] = (1 - prefixLevel) * this.history[index] + prefixLevel * held[index];
    }
    latents.set(this.noise.read([this.seed, this.item, "music"], this.composed, window - kept, size), kept * size);
    const level = new Float32Array(window).fill(prefixLevel);
    const fixed = {
      vector: { data: this.style.vector, dims: [1, this.style.vector.length] },
      signals: this.signals(this.composed - kept, window),
    };
    for (let step = 0; step < this.steps; step++) {
      const now = shifted(1 - step / this.steps, shift);
      const then = shifted(1 - (step + 1) / this.steps, shift);
      level.fill(now, kept);
      const inputs = {
        noisy: { data: latents, dims: [1, window, size] },
        level: { data: level, dims: [1, window] },
        ...fixed,
      };
      const endpoint = (await this.runtime.run("endpoint", inputs)).endpoint.data;
      for (let index = kept * size; index < latents.length; index++) {
        latents[index] = endpoint[index] + (then / now) * (latents[index] - endpoint[index]);
      }
    }
    const piece = latents.slice(kept * size);
    const whole = new Float32Array(this.history.length + piece.length);
    whole.set(this.history);
    whole.set(piece, this.history.length);
    this.history = whole.slice(-keptFrames * size);
    this.composed += window - kept;
    this.spent.windows += (performance.now() - began) / 1000;
    this.spent.frames += window - keptFrames; // a first window has more, but only once
    return piece;
  }

  // --- sound ---

  /** Magnitudes and coherence of latents; scatter is drawn for `frames` spectrum frames behind `skipped`. */
  async decode(latents, { skipped, frames, first }) {
    const { size, stride } = this.table.latents;
    const { layers, bins } = this.table.spectrum;
    const count = latents.length / size;
    const scatter = new Float32Array(layers * count * stride * bins);
    this.drawScatter(scatter, { skipped, frames, first, rows: count * stride });
    return this.runtime.run("decoder", {
      latents: { data: latents, dims: [1, count, size] },
      scatter: { data: scatter, dims: [1, layers, count * stride, bins] },
    });
  }

  /** Log magnitudes of white noise about their mean: what real sound has beside a decoder's middle. */
  drawScatter(scatter, { skipped, frames, first, rows }) {
    const { layers, bins, n_fft: size, hop_samples: hop } = this.table.spectrum;
    const { floor, offset } = this.table.scatter;
    const noise = Array.from({ length: layers }, (_, layer) =>
      this.noise.read([this.seed, this.item, "texture", layer], first, frames + 3, hop),
    );
    const { re, im } = this.transform;
    for (let frame = 0; frame < frames; frame++) {
      for (let index = 0; index < size; index++) {
        const weight = this.window[index] / Math.sqrt(size);
        re[index] = noise[0][frame * hop + index] * weight;
        im[index] = layers > 1 ? noise[1][frame * hop + index] * weight : 0;
      }
      this.transform.analyse(this.scatterSpectra);
      this.scatterSpectra.forEach((spectrum, layer) => {
        const row = (layer * rows + skipped + frame) * bins;
        for (let bin = 0; bin < bins; bin++) {
          const magnitude = Math.sqrt(spectrum.re[bin] ** 2 + spectrum.im[bin] ** 2);
          scatter[row + bin] = Math.log(magnitude + floor) + offset;
        }
      });
    }
  }

  /** Loudness of the first window, in nepers. */
  async levelOf(latents) {
    const frames = (latents.length / this.table.latents.size) * this.table.latents.stride;
    const { data } = (await this.decode(latents, { skipped: 0, frames, first: 0 })).magnitude;
    let sum = 0;
    for (let index = 0; index < data.length; index++) sum += data[index] * data[index];
    return 0.5 * Math.log(Math.max(sum / data.length, 1e-12));
  }

  /** Sound of decoded frames: what the vocoder has finished of it. */
  sound({ magnitude, coherence }, { skipped, frames }) {
    const { bins, hop_samples: hop } = this.table.spectrum;
    const { channels } = this.table;
    const rows = magnitude.dims[2];
    const made = Array.from({ length: channels }, () => new Float32Array(frames * hop));
    let length = 0;
    for (let frame = skipped; frame < skipped + frames; frame++) {
      const magnitudes = made.map((_, channel) => {
        const row = (channel * rows + frame) * bins;
        return magnitude.data.subarray(row, row + bins);
      });
      const cosines = coherence?.data.subarray(frame * bins, (frame + 1) * bins);
      const block = this.vocoder.push(magnitudes, cosines, this.gain);
      if (!block) continue;
      block.forEach((samples, channel) => made[channel].set(samples, length));
      length += hop;
    }
    return made.map((samples) => samples.slice(0, length));
  }
}
