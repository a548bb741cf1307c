// The random numbers of MusiGAN in Python, number for number: so a seed is the same music here and there.
//
// A key such as (7, 0, 'music', 3) is hashed with BLAKE2b (RFC 7693); 32 bits of that seed a Mersenne Twister
// (Matsumoto & Nishimura 1998); 24 bits of every output are a uniform number, and Box & Muller (1958) make pairs of
// those normal, in rows of sixteen: eight radii, then eight angles.

const WORD = (1n << 64n) - 1n;
const START = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const ORDER = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const LANES = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];

const turned = (word, bits) => ((word >> bits) | (word << (64n - bits))) & WORD;

/** BLAKE2b with a digest of 8 bytes, of a text of at most 128 ASCII characters; the digest as a BigInt, first byte lowest. */
export function blake2b(text) {
  if (text.length > 128) throw new RangeError("a key of noise has at most 128 characters");
  const bytes = new Uint8Array(128);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  const view = new DataView(bytes.buffer);
  const message = Array.from({ length: 16 }, (_, index) => view.getBigUint64(8 * index, true));
  const first = START[0] ^ 0x01010008n; // parameters: 8 bytes of digest, no key, one leaf
  const v = [first, ...START.slice(1), ...START];
  v[12] ^= BigInt(text.length);
  v[14] ^= WORD; // this block is the last one
  for (let round = 0; round < 12; round++) {
    const order = ORDER[round % 10];
    LANES.forEach(([a, b, c, d], lane) => {
      v[a] = (v[a] + v[b] + message[order[2 * lane]]) & WORD;
      v[d] = turned(v[d] ^ v[a], 32n);
      v[c] = (v[c] + v[d]) & WORD;
      v[b] = turned(v[b] ^ v[c], 24n);
      v[a] = (v[a] + v[b] + message[order[2 * lane + 1]]) & WORD;
      v[d] = turned(v[d] ^ v[a], 16n);
      v[c] = (v[c] + v[d]) & WORD;
      v[b] = turned(v[b] ^ v[c], 63n);
    });
  }
  return first ^ v[0] ^ v[8];
}

/** The 32 bits that a key seeds with: the digest read with its first byte highest, halved. */
export function seedOf(key) {
  const written = key.map((part) => (typeof part === "number" ? String(part) : `'${part}'`)).join(", ");
  const digest = new DataView(new ArrayBuffer(8));
  digest.setBigUint64(0, blake2b(`(${written})`), true);
  return Number((digest.getBigUint64(0, false) >> 1n) & 0xffffffffn);
}

/** Whole numbers of 32 bits from a seed of 32 bits. */
export class Twister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let index = 1; index < 624; index++) {
      const before = this.state[index - 1] ^ (this.state[index - 1] >>> 30);
      this.state[index] = Math.imul(1812433253, before) + index;
    }
    this.place = 624;
  }

  renew() {
    const state = this.state;
    for (let index = 0; index < 624; index++) {
      const mixed = (state[index] & 0x80000000) | (state[(index + 1) % 624] & 0x7fffffff);
      state[index] = state[(index + 397) % 624] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.place = 0;
  }

  /** The next whole number, 0 to 2^32 - 1. */
  next() {
    if (this.place === 624) this.renew();
    let word = this.state[this.place++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  /** The next number in [0, 1). */
  uniform() {
    return (this.next() & 0xffffff) / 0x1000000;
  }
}

/** `count` standard normal numbers of a key; `count` is a multiple of 16. */
export function normals(key, count) {
  const random = new Twister(seedOf(key));
  const numbers = new Float32Array(count);
  for (let index = 0; index < count; index++) numbers[index] = random.uniform();
  for (let row = 0; row < count; row += 16) {
    for (let index = row; index < row + 8; index++) {
      const radius = Math.sqrt(-2 * Math.log(1 - numbers[index]));
      const angle = 2 * Math.PI * numbers[index + 8];
      numbers[index] = radius * Math.cos(angle);
      numbers[index + 8] = radius * Math.sin(angle);
    }
  }
  return numbers;
}

/** White noise of endless sequences: frame n of a key is the same whichever piece it is asked for in. */
export class KeyedNoise {
  constructor(blockFrames) {
    this.blockFrames = blockFrames;
    this.blocks = new Map();
  }

  /** Frames `first` to `first + frames` of `channels` numbers each, one after the other. */
  read(key, first, frames, channels) {
    const numbers = new Float32Array(frames * channels);
    for (let frame = first; frame < first + frames; ) {
      const block = Math.floor(frame / this.blockFrames);
      const end = Math.min((block + 1) * this.blockFrames, first + frames);
      const from = (frame - block * this.blockFrames) * channels;
      const part = this.block([...key, block], channels).subarray(from, from + (end - frame) * channels);
      numbers.set(part, (frame - first) * channels);
      frame = end;
    }
    return numbers;
  }

  block(key, channels) {
    const name = key.join();
    let numbers = this.blocks.get(name);
    if (!numbers) {
      if (this.blocks.size >= 6) this.blocks.delete(this.blocks.keys().next().value);
      numbers = normals(key, this.blockFrames * channels);
      this.blocks.set(name, numbers);
    }
    return numbers;
  }
}
