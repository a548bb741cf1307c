// The Fourier transform of two real signals at once: one is the real part, the other the imaginary part.

/** Complex transform of a power of two, in place (Cooley & Tukey 1965); two halvings of the signal at a time. */
export class FourierTransform {
  constructor(size) {
    if (size < 4 || size & (size - 1)) throw new RangeError(`a transform of ${size} is not of a power of two`);
    this.size = size;
    this.reversed = new Uint32Array(size);
    for (let index = 1; index < size; index++) {
      this.reversed[index] = (this.reversed[index >> 1] >> 1) | (index & 1 ? size >> 1 : 0);
    }
    this.firstQuarter = Math.log2(size) % 2 ? 2 : 1;
    this.stages = [];
    for (let quarter = this.firstQuarter; quarter < size; quarter *= 4) this.stages.push(turns(quarter));
  }

  forward(re, im) {
    this.reorder(re, im);
    if (this.firstQuarter === 2) this.addPairs(re, im);
    let quarter = this.firstQuarter;
    for (const stage of this.stages) {
      combine(re, im, quarter, stage);
      quarter *= 4;
    }
  }

  reorder(re, im) {
    const { size, reversed } = this;
    for (let index = 0; index < size; index++) {
      const other = reversed[index];
      if (other <= index) continue;
      const heldRe = re[index];
      const heldIm = im[index];
      re[index] = re[other];
      im[index] = im[other];
      re[other] = heldRe;
      im[other] = heldIm;
    }
  }

  addPairs(re, im) {
    for (let index = 0; index < this.size; index += 2) {
      const heldRe = re[index + 1];
      const heldIm = im[index + 1];
      re[index + 1] = re[index] - heldRe;
      im[index + 1] = im[index] - heldIm;
      re[index] += heldRe;
      im[index] += heldIm;
    }
  }
}

/** Turns of the second, third and fourth part of a stage whose parts have `quarter` numbers: cosine, sine of each. */
function turns(quarter) {
  const table = new Float64Array(6 * quarter);
  for (let index = 0; index < quarter; index++) {
    [2, 1, 3].forEach((times, part) => {
      const angle = (-2 * Math.PI * times * index) / (4 * quarter);
      table[6 * index + 2 * part] = Math.cos(angle);
      table[6 * index + 2 * part + 1] = Math.sin(angle);
    });
  }
  return table;
}

/** Transforms of four parts, which lie in bit-reversed order, to transforms of the whole. */
function combine(re, im, quarter, stage) {
  for (let begin = 0; begin < re.length; begin += 4 * quarter) {
    for (let index = 0, turn = 0; index < quarter; index++, turn += 6) {
      const a = begin + index;
      const b = a + quarter;
      const c = b + quarter;
      const d = c + quarter;
      const bRe = re[b] * stage[turn] - im[b] * stage[turn + 1];
      const bIm = re[b] * stage[turn + 1] + im[b] * stage[turn];
      const cRe = re[c] * stage[turn + 2] - im[c] * stage[turn + 3];
      const cIm = re[c] * stage[turn + 3] + im[c] * stage[turn + 2];
      const dRe = re[d] * stage[turn + 4] - im[d] * stage[turn + 5];
      const dIm = re[d] * stage[turn + 5] + im[d] * stage[turn + 4];
      const sumRe = re[a] + bRe;
      const sumIm = im[a] + bIm;
      const leftRe = re[a] - bRe;
      const leftIm = im[a] - bIm;
      re[a] = sumRe + cRe + dRe;
      im[a] = sumIm + cIm + dIm;
      re[c] = sumRe - cRe - dRe;
      im[c] = sumIm - cIm - dIm;
      re[b] = leftRe + cIm - dIm;
      im[b] = leftIm - cRe + dRe;
      re[d] = leftRe - cIm + dIm;
      im[d] = leftIm + cRe - dRe;
    }
  }
}

/** Spectra of one or two real channels and back, by one complex transform. */
export class ChannelTransform {
  constructor(size) {
    this.transform = new FourierTransform(size);
    this.size = size;
    this.re = new Float64Array(size);
    this.im = new Float64Array(size);
  }

  /** Spectra of `re` and `im`, which hold a signal each, into `spectra`: [{re, im}] of size / 2 + 1 bins. */
  analyse(spectra) {
    const { re, im, size } = this;
    this.transform.forward(re, im);
    const [left, right] = spectra;
    for (let bin = 0; bin <= size / 2; bin++) {
      const mirror = (size - bin) % size;
      left.re[bin] = 0.5 * (re[bin] + re[mirror]);
      left.im[bin] = 0.5 * (im[bin] - im[mirror]);
      if (!right) continue;
      right.re[bin] = 0.5 * (im[bin] + im[mirror]);
      right.im[bin] = 0.5 * (re[mirror] - re[bin]);
    }
  }

  /** The signals of `spectra`, `size` times too large, into `re` and `im`. */
  synthesise(spectra) {
    const { re, im, size } = this;
    const [left, right] = spectra;
    const half = size / 2;
    // The inverse is the transform with its two parts exchanged, before and after.
    for (let bin = 0; bin <= half; bin++) {
      const isReal = bin === 0 || bin === half;
      const leftIm = isReal ? 0 : left.im[bin];
      const rightRe = right ? right.re[bin] : 0;
      const rightIm = right && !isReal ? right.im[bin] : 0;
      const mirror = (size - bin) % size;
      re[bin] = left.re[bin] - rightIm;
      im[bin] = leftIm + rightRe;
      re[mirror] = left.re[bin] + rightIm;
      im[mirror] = rightRe - leftIm;
    }
    this.transform.forward(im, re);
  }
}
