// What was heard, kept as 16-bit numbers, and written as a WAV file.

/** Grows by pieces; the oldest go when it would be longer than `mostSeconds`. */
export class Heard {
  constructor(sampleRate, channels, mostSeconds) {
    Object.assign(this, { sampleRate, channels, most: mostSeconds * sampleRate, pieces: [], samples: 0 });
  }

  add(channels) {
    const count = channels[0].length;
    const piece = new Int16Array(count * channels.length);
    channels.forEach((samples, channel) => {
      for (let index = 0; index < count; index++) {
        const sample = Math.round(32767 * samples[index]);
        piece[index * channels.length + channel] = Math.min(Math.max(sample, -32768), 32767);
      }
    });
    this.pieces.push(piece);
    this.samples += count;
    while (this.samples > this.most) this.samples -= this.pieces.shift().length / this.channels;
  }

  get seconds() {
    return this.samples / this.sampleRate;
  }

  /** A WAV file; `comment` stands in its INFO chunk. */
  toBlob(comment) {
    const text = new TextEncoder().encode(comment);
    const textSize = text.length + 2 - (text.length % 2); // ends with a zero, and on an even byte
    const dataSize = this.samples * this.channels * 2;
    const header = new DataView(new ArrayBuffer(44 + 20 + textSize));
    const write = (place, letters) => [...letters].forEach((letter, index) => header.setUint8(place + index, letter.charCodeAt(0)));
    write(0, "RIFF");
    header.setUint32(4, 56 + textSize + dataSize, true);
    write(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true);
    header.setUint16(22, this.channels, true);
    header.setUint32(24, this.sampleRate, true);
    header.setUint32(28, this.sampleRate * this.channels * 2, true);
    header.setUint16(32, this.channels * 2, true);
    header.setUint16(34, 16, true);
    write(36, "LIST");
    header.setUint32(40, 12 + textSize, true);
    write(44, "INFOICMT");
    header.setUint32(52, textSize, true);
    text.forEach((byte, index) => header.setUint8(56 + index, byte));
    write(56 + textSize, "data");
    header.setUint32(60 + textSize, dataSize, true);
    return new Blob([header, ...this.pieces], { type: "audio/wav" });
  }
}
