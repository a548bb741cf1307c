"""Plays a .ts file as nn~ does, with nothing but PyTorch: run it with the Python whose torch is the host's.

Reads and writes tensors in files, so that the sounds of one torch can be held against those of another.

    python benchmarks/nn_host.py FILE.ts JOBS.pt SOUNDS.pt
"""

import sys
import time

import torch

SELF_TEST_SAMPLES = 8192


def ratios(model, method):
    """Channels in, samples a step in, channels out, samples a step out."""
    return [int(number) for number in getattr(model, f"{method}_params")]


def fits(model, method, buffer):
    """Whether a method can be called with buffers of so many samples."""
    _, in_ratio, _, out_ratio = ratios(model, method)
    return buffer % max(in_ratio, out_ratio) == 0


def play(model, method, signal, buffer):
    """A signal (batch, channels, samples) through a method, buffer by buffer; the sound, and seconds for each buffer.

    Of every step in the host hands on the last sample; every step out it repeats.
    """
    channels, in_ratio, _, out_ratio = ratios(model, method)
    assert signal.shape[1] == channels
    call = model.forward if method == "forward" else getattr(model, method)
    sounds, seconds = [], []
    with torch.inference_mode():
        for block in signal.split(buffer, dim=-1):
            started = time.process_time()
            out = call(block.unflatten(-1, (-1, in_ratio)).select(-1, -1))
            seconds.append(time.process_time() - started)
            sounds.append(out.repeat_interleave(out_ratio, dim=-1))
    return torch.cat(sounds, dim=-1), seconds


def self_test(model):
    """Zeros in: exact shape and kind out, for each method, one voice and four. Raises AssertionError."""
    for method in model.get_methods():
        in_channels, in_ratio, out_channels, out_ratio = ratios(model, method)
        labels = [getattr(model, f"{method}_{side}_labels") for side in ("input", "output")]
        assert [len(names) for names in labels] == [in_channels, out_channels], f"{method}: labels"
        for voices in (1, 4):
            with torch.inference_mode():
                out = getattr(model, method)(torch.zeros(voices, in_channels, SELF_TEST_SAMPLES // in_ratio))
            wanted = (voices, out_channels, SELF_TEST_SAMPLES // out_ratio)
            assert tuple(out.shape) == wanted, f"{method} of {voices}: {tuple(out.shape)}, not {wanted}"
            assert out.dtype == torch.float32, f"{method}: {out.dtype}"
            assert bool(out.isfinite().all()), f"{method}: not finite"
    for attribute in model.get_attributes():
        values = getattr(model, f"get_{attribute}")()
        kinds = getattr(model, f"{attribute}_params")
        assert len(values) == len(kinds), attribute
        for value, kind in zip(values, kinds.tolist(), strict=True):
            assert isinstance(value, {1: int, 2: float}[kind]), attribute


def main():
    torch.set_num_threads(1)
    file, jobs, sounds = sys.argv[1:]
    results: dict = {"torch": str(torch.__version__)}
    self_test(torch.jit.load(file))
    for name, job in torch.load(jobs, weights_only=True).items():
        model = torch.jit.load(file)  # as a host that starts anew
        for attribute, value in job["attributes"].items():
            assert getattr(model, f"set_{attribute}")(value) == 0, attribute
        if not fits(model, job["method"], job["buffer"]):
            continue
        sound, seconds = play(model, job["method"], job["signal"], job["buffer"])
        results[name] = {"sound": sound, "seconds": torch.tensor(seconds), "delay": model.get_delay()}
    torch.save(results, sounds)


if __name__ == "__main__":
    main()
