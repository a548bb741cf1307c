// Stands between the server and the ring, away from the page: a page in the background is slowed down, the sound is not.
//
// In: {start: {url, model, program, rate, port}}, {move: {id, program}}, {stop: true}.
// Out: {format}, {status}, {refused}, {error}, {closed: {code, reason}}, {void: {id, from}}, {report}, {columns: {first, pitches, peaks}}.

const MARGIN_SECONDS = 0.15;
const HEARD_EVERY_REPORTS = 2;
const COLUMNS_PER_SECOND = 20;
const PITCHES = 84; // semitones from A0 up
const LOWEST_HERTZ = 55 / 2;
const WINDOW = 4096;
const LOUD_DECIBELS = -8;
const RANGE_DECIBELS = 62;

let socket = null;
let ring = null;
let rate = 44100;
let last = null; // the newest report of the ring, and when it came
let reports = 0;
let picture = null;

onmessage = ({ data }) => {
  if (data.start) start(data.start);
  else if (data.move) move(data.move);
  else if (data.stop) stop();
};

function start({ url, model, program, rate: expected, port }) {
  stop();
  rate = expected;
  last = null;
  picture = new Picture(rate);
  ring = port;
  ring.onmessage = ({ data }) => reported(data);
  const mine = new WebSocket(url);
  socket = mine;
  mine.binaryType = "arraybuffer";
  mine.onopen = () => mine.send(JSON.stringify({ type: "start", model, program }));
  mine.onmessage = ({ data }) => socket === mine && (typeof data === "string" ? told(JSON.parse(data)) : sounded(data));
  mine.onclose = ({ code, reason }) => {
    if (socket === mine) postMessage({ closed: { code, reason } });
    if (socket === mine) socket = null;
  };
}

function stop() {
  const old = socket;
  socket = null;
  if (old && old.readyState === WebSocket.OPEN) old.send(JSON.stringify({ type: "stop" }));
  if (old) old.close();
  if (ring) ring.postMessage({ fade: true });
}

function move({ id, program }) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  const since = last ? (performance.now() - last.came) / 1000 : 0;
  const position = last ? last.position + since * rate * (last.isSilent ? 0 : 1) : 0;
  socket.send(JSON.stringify({ type: "move", id, program, at: Math.round(position + MARGIN_SECONDS * rate) }));
}

function told(message) {
  if (message.type === "void") {
    ring.postMessage({ void: message.id, from: message.from });
    picture.void(message.from);
    postMessage({ void: { id: message.id, from: message.from } });
    return;
  }
  if (message.type === "format") picture.channels = message.channels;
  postMessage({ [message.type]: message });
}

function sounded(buffer) {
  const sample = new DataView(buffer).getFloat64(0, true);
  const numbers = new Int16Array(buffer, 8);
  const count = picture.channels;
  const channels = Array.from({ length: count }, () => new Float32Array(numbers.length / count));
  for (let channel = 0; channel < count; channel++) {
    const piece = channels[channel];
    for (let index = 0; index < piece.length; index++) piece[index] = numbers[index * count + channel] / 32768;
  }
  picture.add(sample, channels);
  ring.postMessage({ sample, channels }, channels.map((piece) => piece.buffer));
}

function reported(report) {
  if (report.position === null) return;
  last = { ...report, came: performance.now() };
  reports += 1;
  if (reports % HEARD_EVERY_REPORTS === 0 && socket && socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ type: "heard", sample: Math.floor(report.position), underruns: report.underruns }));
  }
  postMessage({ report });
}

// What the record shows: the strength of every semitone, twenty times a second.
class Picture {
  constructor(sampleRate) {
    this.channels = 1;
    this.hop = sampleRate / COLUMNS_PER_SECOND;
    let size = WINDOW;
    while (size < 4 * sampleRate) size *= 2;
    this.mask = size - 1;
    this.mono = new Float32Array(size);
    this.next = null; // the next column
    this.end = 0;
    this.hann = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / WINDOW));
    this.bands = Array.from({ length: PITCHES }, (_, pitch) => {
      const bin = (hertz) => (hertz * WINDOW) / sampleRate;
      const centre = LOWEST_HERTZ * 2 ** (pitch / 12);
      const low = Math.max(1, Math.round(bin(centre * 2 ** (-1 / 24))));
      return [low, Math.max(low, Math.round(bin(centre * 2 ** (1 / 24))))];
    });
  }

  void(from) {
    if (this.next !== null) this.next = Math.min(this.next, Math.floor(from / this.hop));
    this.end = Math.min(this.end, from);
  }

  add(sample, channels) {
    this.next ??= Math.floor(sample / this.hop);
    const quarter = this.mask >> 2; // in pieces, so that a long one does not overwrite what is not drawn yet
    for (let from = 0; from < channels[0].length; from += quarter) {
      const to = Math.min(from + quarter, channels[0].length);
      for (let index = from; index < to; index++) {
        let sum = 0;
        for (const piece of channels) sum += piece[index];
        this.mono[(sample + index) & this.mask] = sum / channels.length;
      }
      this.end = sample + to;
      this.draw();
    }
  }

  draw() {
    const first = this.next;
    const count = Math.floor(this.end / this.hop) - first;
    if (count <= 0) return;
    const pitches = new Uint8Array(count * PITCHES);
    const peaks = new Float32Array(count);
    for (let column = 0; column < count; column++) {
      const end = Math.round((first + column + 1) * this.hop);
      peaks[column] = this.strengths(end, pitches.subarray(column * PITCHES, (column + 1) * PITCHES));
    }
    this.next = first + count;
    postMessage({ columns: { first, pitches, peaks } }, [pitches.buffer, peaks.buffer]);
  }

  strengths(end, into) {
    const real = new Float32Array(WINDOW);
    const imaginary = new Float32Array(WINDOW);
    let peak = 0;
    for (let index = 0; index < WINDOW; index++) {
      const at = end - WINDOW + index;
      const value = at < 0 ? 0 : this.mono[at & this.mask];
      if (index >= WINDOW - this.hop) peak = Math.max(peak, Math.abs(value));
      real[index] = value * this.hann[index];
    }
    transform(real, imaginary);
    this.bands.forEach(([low, high], pitch) => {
      let power = 0;
      for (let bin = low; bin <= high && bin < WINDOW / 2; bin++) power = Math.max(power, real[bin] ** 2 + imaginary[bin] ** 2);
      const decibels = 10 * Math.log10((16 * power) / WINDOW ** 2 + 1e-12) + 0.12 * pitch; // the ear hears high notes well
      const share = 1 + (decibels - LOUD_DECIBELS) / RANGE_DECIBELS;
      into[pitch] = 255 * Math.min(1, Math.max(0, share)) ** 1.9;
    });
    return peak;
  }
}

// The fast Fourier transform of Cooley and Tukey, in place.
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] = [real[j], real[i], imaginary[j], imaginary[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    const half = length / 2;
    for (let k = 0; k < half; k++) {
      const cosine = Math.cos((-2 * Math.PI * k) / length);
      const sine = Math.sin((-2 * Math.PI * k) / length);
      for (let i = k; i < size; i += length) {
        const j = i + half;
        const r = cosine * real[j] - sine * imaginary[j];
        const m = cosine * imaginary[j] + sine * real[j];
        real[j] = real[i] - r;
        imaginary[j] = imaginary[i] - m;
        real[i] += r;
        imaginary[i] += m;
      }
    }
  }
}
