// Magnitudes to sound, frame by frame: a phase that follows the spectral peaks, refined by fast Griffin-Lim.
//
// The same recursion as piano/foundation/phase.py, which has the papers and the reasons: frame i is centred at sample
// i * hop, the window is a periodic Hann window of four hops, and an iteration of frame i needs the frames i - 3 to
// i + 3 of the iteration before it. Here every frame runs through the whole chain as soon as it can.

import { ChannelTransform } from "./fft.js";

const HOPS = 4;
const WINDOW_POWER = 1.5;

export function hann(size) {
  return Float64Array.from({ length: size }, (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size));
}

const spectrum = (bins) => ({ re: new Float32Array(bins), im: new Float32Array(bins) });

/** One frame on its way: magnitudes (target), cosine of the angle between two channels, spectra, last projection. */
class Frame {
  constructor(bins, channels) {
    this.target = Array.from({ length: channels }, () => new Float32Array(bins));
    this.cosine = new Float32Array(bins);
    this.spectra = Array.from({ length: channels }, () => spectrum(bins));
    this.held = Array.from({ length: channels }, () => spectrum(bins));
    this.level = new Float64Array(bins); // log power of the sum of the channels
  }
}

/** Spectra in, finished hops of sound out, two frames later. */
class Synthesis {
  constructor(kit, channels) {
    this.kit = kit;
    this.count = 0;
    this.sums = Array.from({ length: channels }, () => new Float64Array(kit.size));
    this.block = Array.from({ length: channels }, () => new Float64Array(kit.hop));
  }

  /** Adds a frame; says whether `block` now holds the hop two before it. */
  push(spectra) {
    const { transform, window, size, hop } = this.kit;
    transform.synthesise(spectra);
    const scale = 1 / (Math.sqrt(size) * WINDOW_POWER);
    const number = this.count++ - 2;
    this.sums.forEach((sum, channel) => {
      const signal = channel ? transform.im : transform.re;
      for (let index = 0; index < size; index++) sum[index] += signal[index] * window[index] * scale;
      const block = this.block[channel];
      block.set(sum.subarray(0, hop));
      if (number === 0) {
        // The frame before the first one is missing here.
        for (let index = 0; index < hop; index++) {
          let power = 0;
          for (let quarter = 0; quarter < HOPS - 1; quarter++) power += window[quarter * hop + index] ** 2;
          block[index] *= WINDOW_POWER / power;
        }
      }
      sum.copyWithin(0, hop);
      sum.fill(0, size - hop);
    });
    return number >= 0;
  }
}

/** One step of fast Griffin-Lim (Perraudin et al. 2013): frames in, the same frames out with a better phase. */
class Iteration {
  constructor(kit, channels, { momentum, isPair }) {
    Object.assign(this, { kit, momentum, isPair });
    this.synthesis = new Synthesis(kit, channels);
    this.signal = Array.from({ length: channels }, () => new Float64Array(kit.size));
    this.projection = Array.from({ length: channels }, () => spectrum(kit.size / 2 + 1));
    this.waiting = [];
  }

  /** Takes a frame, gives the one three before it; null at the beginning. */
  push(frame) {
    const { transform, window, size, hop } = this.kit;
    this.waiting.push(frame);
    if (!this.synthesis.push(frame.spectra)) return null;
    this.signal.forEach((signal, channel) => {
      signal.copyWithin(0, hop);
      signal.set(this.synthesis.block[channel], size - hop);
    });
    if (this.waiting.length < HOPS) return null;
    const scale = 1 / Math.sqrt(size);
    for (let index = 0; index < size; index++) {
      const weight = window[index] * scale;
      transform.re[index] = this.signal[0][index] * weight;
      transform.im[index] = this.signal[1] ? this.signal[1][index] * weight : 0;
    }
    transform.analyse(this.projection);
    const done = this.waiting.shift();
    this.accelerate(done);
    if (this.isPair) imposePair(done);
    else imposeEach(done);
    return done;
  }

  /** The projection, moved on by what it moved since the iteration before. */
  accelerate(frame) {
    const { momentum } = this;
    this.projection.forEach((made, channel) => {
      const held = frame.held[channel];
      const into = frame.spectra[channel];
      for (let bin = 0; bin < made.re.length; bin++) {
        into.re[bin] = made.re[bin] + momentum * (made.re[bin] - held.re[bin]);
        into.im[bin] = made.im[bin] + momentum * (made.im[bin] - held.im[bin]);
        held.re[bin] = made.re[bin];
        held.im[bin] = made.im[bin];
      }
    });
  }
}

function imposeEach(frame) {
  frame.spectra.forEach(({ re, im }, channel) => {
    const target = frame.target[channel];
    for (let bin = 0; bin < re.length; bin++) {
      const gain = target[bin] / Math.sqrt(re[bin] * re[bin] + im[bin] * im[bin] + 1e-20);
      re[bin] *= gain;
      im[bin] *= gain;
    }
  });
}

/** The nearest two spectra that have their magnitudes and the angle between them. */
function imposePair(frame) {
  const [a, b] = frame.spectra;
  const [left, right] = frame.target;
  for (let bin = 0; bin < left.length; bin++) {
    const cosine = frame.cosine[bin];
    const aRe = a.re[bin];
    const aIm = a.im[bin];
    const bRe = b.re[bin];
    const bIm = b.im[bin];
    const sine = Math.sqrt(Math.max(1 - cosine * cosine, 0));
    const ahead = aIm * bRe - aRe * bIm < 0 ? -sine : sine;
    let re = right[bin] * bRe + left[bin] * (aRe * cosine + aIm * ahead);
    let im = right[bin] * bIm + left[bin] * (aIm * cosine - aRe * ahead);
    const size = 1 / Math.sqrt(re * re + im * im + 1e-20);
    re *= size;
    im *= size;
    a.re[bin] = left[bin] * (cosine * re - ahead * im);
    a.im[bin] = left[bin] * (cosine * im + ahead * re);
    b.re[bin] = right[bin] * re;
    b.im[bin] = right[bin] * im;
  }
}

/** Phase from magnitudes alone: every bin follows the peak that lies uphill. */
class SinglePass {
  constructor(bins, table) {
    this.table = table;
    this.turns = null;
    this.before = null;
    this.peakOf = new Uint32Array(bins);
    this.delay = new Float64Array(bins);
    this.next = new Float64Array(bins);
  }

  /** Phases in turns of a frame, which lies between `before` and `following`: log powers of the sum of its channels. */
  advance(level, following) {
    const bins = level.length;
    const before = this.before ?? level;
    this.findDelay(before, following, bins);
    this.findPeaks(level, bins);
    const slope = 0.25 / this.table.partial_curvature;
    const offset = (curve, bin) => (bin > 0 && bin < bins - 1 ? (curve[bin + 1] - curve[bin - 1]) * slope : 0);
    const turns = this.next;
    for (let bin = 0; bin < bins; bin++) {
      const peak = this.peakOf[bin];
      let step = this.delay[bin] + 0.5 * bin;
      if (this.turns) {
        const forward = (offset(level, peak) + offset(before, peak)) * (0.5 / HOPS) + peak / HOPS;
        step += this.turns[peak] + forward - 0.5 * peak - this.delay[peak];
      }
      turns[bin] = step - Math.floor(step);
    }
    this.next = this.turns ?? new Float64Array(bins);
    this.turns = turns;
    this.before = level.slice();
    return turns;
  }

  findDelay(before, following, bins) {
    const isFirst = this.before === null;
    let sum = 0;
    let last = 0;
    for (let bin = 0; bin < bins; bin++) {
      const rise = isFirst ? 0 : 0.25 * (following[bin] - before[bin]);
      if (bin) sum += Math.min(Math.max(-0.5 * this.table.delay_per_rise * (rise + last), -0.5), 0.5);
      this.delay[bin] = sum;
      last = rise;
    }
  }

  findPeaks(level, bins) {
    let begin = 0; // of the bins that belong to a peak which is still to come
    let peak = -1;
    for (let bin = 0; bin < bins; bin++) {
      const rises = bin === 0 || level[bin] > level[bin - 1];
      const risesOn = bin < bins - 1 && level[bin + 1] > level[bin];
      const isUphill = bin > 0 && bin < bins - 1 ? level[bin + 1] > level[bin - 1] : risesOn;
      if (rises && !risesOn) {
        this.peakOf.fill(bin, begin, bin + 1);
        begin = bin + 1;
        peak = bin;
      } else if (!isUphill) {
        this.peakOf[bin] = peak;
        begin = bin + 1;
      }
    }
  }
}

/** Magnitudes in, hops of sound out, in an endless stream. */
export class PhaseVocoder {
  constructor({ size, channels, iterations, hasCoherence, table }) {
    this.kit = { size, hop: size / HOPS, window: hann(size), transform: new ChannelTransform(size) };
    Object.assign(this, { channels, table, bins: size / 2 + 1, isPair: hasCoherence });
    this.singlePass = new SinglePass(this.bins, table);
    this.steps = Array.from(
      { length: iterations },
      (_, step) => new Iteration(this.kit, channels, { momentum: step ? table.momentum : 0, isPair: hasCoherence }),
    );
    this.synthesis = new Synthesis(this.kit, channels);
    this.waiting = null;
    this.free = [];
  }

  /** A frame of magnitudes for every channel, and the coherence of two; gives a hop of every channel, or null. */
  push(magnitudes, coherence, gain = 1) {
    const frame = this.free.pop() ?? new Frame(this.bins, this.channels);
    this.fill(frame, magnitudes, gain);
    if (this.isPair) frame.cosine.set(coherence);
    let ready = this.waiting;
    this.waiting = frame;
    if (!ready) return null;
    this.begin(ready, frame.level);
    for (const step of this.steps) {
      ready = step.push(ready);
      if (!ready) return null;
    }
    const isReady = this.synthesis.push(ready.spectra);
    this.free.push(ready);
    return isReady ? this.synthesis.block : null;
  }

  fill(frame, magnitudes, gain) {
    const { level, target: targets } = frame;
    level.fill(this.table.quiet_power);
    for (let channel = 0; channel < targets.length; channel++) {
      const target = targets[channel];
      const magnitude = magnitudes[channel];
      for (let bin = 0; bin < target.length; bin++) {
        target[bin] = gain * magnitude[bin];
        level[bin] += target[bin] * target[bin];
      }
    }
    for (let bin = 0; bin < level.length; bin++) level[bin] = Math.log(level[bin]);
  }

  begin(frame, following) {
    const turns = this.singlePass.advance(frame.level, following);
    const [left, right] = frame.spectra;
    for (let bin = 0; bin < this.bins; bin++) {
      const angle = 2 * Math.PI * turns[bin];
      const half = this.isPair ? 0.5 * Math.acos(Math.min(Math.max(frame.cosine[bin], -1), 1)) : 0;
      left.re[bin] = frame.target[0][bin] * Math.cos(angle + half);
      left.im[bin] = frame.target[0][bin] * Math.sin(angle + half);
      if (!right) continue;
      right.re[bin] = frame.target[1][bin] * Math.cos(angle - half);
      right.im[bin] = frame.target[1][bin] * Math.sin(angle - half);
    }
  }
}
