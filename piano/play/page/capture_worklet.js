// Hands on what the microphone hears, a block at a time, with its peak.

class Capture extends AudioWorkletProcessor {
  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    let peak = 0;
    for (const value of channel) peak = Math.max(peak, Math.abs(value));
    const block = channel.slice();
    this.port.postMessage({ block, peak }, [block.buffer]);
    return true;
  }
}

registerProcessor("capture", Capture);
