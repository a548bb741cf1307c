"""How many times faster than it plays an exported page composes in Chromium, on one core.

    musigan export --checkpoints shipped --to web --output page
    python benchmarks/bench_web.py page --steps 8

The page's own modules compose on the page's one thread, with nothing to wait for. Seconds of the clock and of that
thread's processor time are both counted: where other programs run as well, only the second says what the page needs.
"""

import argparse
import functools
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import Browser, chromium, find_chromium

BEGIN = """(async () => {
  const { fetchTable, fetchBytes, loadRuntime } = await import("./worker.js");
  const { Composer } = await import("./composer.js");
  const table = await fetchTable();
  const steps = STEPS ?? table.sampling.steps;
  if (ITERATIONS !== null) table.phase.iterations = ITERATIONS;
  const began = performance.now();
  const runtime = await loadRuntime(table, fetchBytes);
  const loaded = performance.now();
  window.composer = new Composer(table, runtime, { seed: 0, steps });
  await composer.start();
  await composer.block();
  const { precision } = table.model;
  return { steps, precision, iterations: table.phase.iterations, load: (loaded - began) / 1000,
    start: (performance.now() - loaded) / 1000, second: 1 / table.sample_rate };
})()"""
ROUND = """(async () => {
  const began = performance.now();
  const composed = composer.composed;
  let samples = 0;
  while (composer.composed < composed + 4 * (composer.table.latents.window_frames - composer.table.latents.kept_frames))
    samples += (await composer.block())[0].length;
  return [samples / composer.table.sample_rate, (performance.now() - began) / 1000];
})()"""
"""Four windows, and the sound that they are."""


class Quiet(SimpleHTTPRequestHandler):
    """A plain static host."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def processor_seconds(browser: Browser) -> float:
    """Processor time of the page's thread."""
    metrics = {row["name"]: row["value"] for row in browser.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def measure(browser: Browser, steps: int | None, iterations: int | None, rounds: int) -> str:
    """One row of the table."""
    words = {"STEPS": steps, "ITERATIONS": iterations}
    script = BEGIN
    for name, value in words.items():
        script = script.replace(name, "null" if value is None else str(value))
    about = browser.evaluate(script)
    made, clock, processor = [], [], []
    for _ in range(rounds):
        before = processor_seconds(browser)
        seconds, took = browser.evaluate(ROUND)
        made.append(seconds)
        clock.append(took)
        processor.append(processor_seconds(browser) - before)
    rates = sorted(sound / used for sound, used in zip(made, processor, strict=True))
    return (
        f"{about['precision']}, {about['steps']} steps, {about['iterations']} phase iterations: "
        f"{sum(made) / sum(processor):.2f}x by processor time (slowest and fastest of {rounds} rounds "
        f"{rates[0]:.2f}x, {rates[-1]:.2f}x), {sum(made) / sum(clock):.2f}x by the clock; "
        f"loading {about['load']:.1f} s, first sound {about['start']:.1f} s after it"
    )


def main() -> None:
    """Print a row for the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, help="sampling steps (default: the model's)")
    parser.add_argument("--phase-iterations", type=int, help="(default: the page's)")
    parser.add_argument("--rounds", type=int, default=4, help="of four windows each (default: %(default)s)")
    options = parser.parse_args()
    program = find_chromium()
    if program is None:
        raise SystemExit("there is no Chromium on this machine")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=options.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile, chromium(program, Path(profile)) as browser:
        browser.open(f"http://127.0.0.1:{server.server_port}/index.html")
        browser.send("Performance.enable", timeDomain="threadTicks")
        print(measure(browser, options.steps, options.phase_iterations, options.rounds))
    server.shutdown()


if __name__ == "__main__":
    main()
