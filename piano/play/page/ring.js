// Sound whose samples are numbered from the first that the radio made: a ring that can be rewritten ahead of the ear.
//
// In, with `take`: {sample, channels: [Float32Array]} sound from that sample on; {void: id, from} what lies beyond
// `from` will be replaced; {fade: true} fall silent. What is void goes on until its replacement is here: a control that
// the computer answers late is heard late, and never as a hole.
// Out, with `tell`, ten times a second: {position, end, played, underruns, peak, time, heard: [{id, time}], isSilent}.

const FADE_SECONDS = 0.005;
const START_SECONDS = 0.3;
const KEPT_SECONDS = 40;
const REPORTS_PER_SECOND = 10;

export class Ring {
  constructor({ sourceRate, channels, rate, tell }) {
    this.tell = tell;
    this.rate = rate; // of the output
    this.step = sourceRate / rate; // 1, unless the browser refused the model's rate
    this.sourceRate = sourceRate;
    let size = 1;
    while (size < KEPT_SECONDS * sourceRate) size *= 2;
    this.mask = size - 1;
    this.sound = Array.from({ length: channels }, () => new Float32Array(size));
    this.fade = Math.max(1, Math.round(FADE_SECONDS * sourceRate));
    this.tail = this.sound.map(() => new Float32Array(this.fade)); // what a late replacement cut off
    this.tailLeft = 0;
    this.position = null; // the next sample to be played
    this.end = 0; // samples that are here
    this.gain = 0;
    this.isRunning = false;
    this.isLeaving = false;
    this.hasPending = false; // void, and not replaced yet
    this.marks = []; // voids that are not heard yet: {id, begin}
    this.heard = [];
    this.played = this.underruns = this.peak = this.sinceReport = 0;
  }

  take(message) {
    if (message.channels) this.write(message.sample, message.channels);
    else if (message.void !== undefined) {
      this.marks = this.marks.filter((mark) => mark.begin !== null); // never heard: another one came first
      this.marks.push({ id: message.void, begin: null });
      this.hasPending = true;
    } else if (message.fade) this.isLeaving = true;
  }

  write(sample, channels) {
    if (this.position === null) this.position = this.end = sample;
    const now = Math.ceil(this.position);
    const last = Math.min(sample + channels[0].length, now + this.mask - this.fade);
    if (last <= now) return; // all of it should have been heard already: what is here goes on
    for (let hole = this.end; hole < sample; hole++) for (const ring of this.sound) ring[hole & this.mask] = 0;
    const begin = Math.max(sample, now);
    if (this.hasPending) {
      if (begin === now && this.gain > 0) this.cut(now);
      for (const mark of this.marks) mark.begin ??= begin;
      this.hasPending = false;
    }
    channels.forEach((piece, channel) => {
      const ring = this.sound[channel];
      if (ring) for (let index = begin; index < last; index++) ring[index & this.mask] = piece[index - sample];
    });
    this.end = last;
  }

  cut(now) {
    this.sound.forEach((ring, channel) => {
      for (let index = 0; index < this.fade; index++) {
        this.tail[channel][index] = now + index < this.end ? ring[(now + index) & this.mask] : 0;
      }
    });
    this.tailLeft = this.fade;
  }

  // Fill the channels of `output`, of which the first sample is heard at `time` of the context.
  play(output, time) {
    if (!this.isRunning && this.position !== null && this.end - this.position >= START_SECONDS * this.sourceRate) {
      this.isRunning = !this.isLeaving;
    }
    const frames = output[0].length;
    for (let frame = 0; frame < frames && (this.isRunning || this.gain > 0); frame++) this.playFrame(output, frame);
    for (const mark of this.marks.filter((mark) => mark.begin !== null && this.position > mark.begin)) {
      this.heard.push({ id: mark.id, time });
      this.marks.splice(this.marks.indexOf(mark), 1);
    }
    this.sinceReport += frames;
    if (this.sinceReport >= this.rate / REPORTS_PER_SECOND) this.report(time);
  }

  playFrame(output, frame) {
    const wanted = !this.isLeaving && this.end - this.position > this.fade ? 1 : 0;
    const most = this.step / this.fade;
    this.gain += Math.min(most, Math.max(-most, wanted - this.gain));
    if (this.gain <= 1e-6 && !wanted) {
      this.gain = 0;
      if (this.isRunning && !this.isLeaving) this.underruns++;
      this.isRunning = false;
      return;
    }
    const first = Math.floor(this.position);
    const share = this.position - first;
    const old = this.tailLeft > 0 ? this.tailLeft / this.fade : 0;
    for (let channel = 0; channel < output.length; channel++) {
      const index = Math.min(channel, this.sound.length - 1);
      const ring = this.sound[index];
      let value = ring[first & this.mask];
      if (share) value += share * (ring[(first + 1) & this.mask] - value);
      if (old) value += old * (this.tail[index][Math.min(this.fade - 1, Math.floor(this.fade - this.tailLeft))] - value);
      output[channel][frame] = this.gain * value;
      this.peak = Math.max(this.peak, Math.abs(output[channel][frame]));
    }
    if (old) this.tailLeft = Math.max(0, this.tailLeft - this.step);
    this.position += this.step;
    this.played++;
  }

  report(time) {
    const { position, end, played, underruns, peak, heard } = this;
    const isSilent = !this.isRunning && this.gain === 0;
    this.tell({ position, end, played, underruns, peak, heard, isSilent, time });
    this.sinceReport = this.peak = 0;
    this.heard = [];
  }
}
