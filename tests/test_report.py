"""The report: one file, nothing outside it, and what is on it is what is in the folders."""

import base64
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from make_audio import tone
from markupsafe import escape
from PIL import Image
from report_run import DATASET_RATE, RATE, make_dataset, make_log, make_page, make_run, make_scores
from tiny_run import tiny_config

from piano.config_reader import dump_config
from piano.foundation.audio_io import encode_mp3, write_audio
from piano.foundation.dataset_format import (
    MANIFEST_NAME,
    LeftOut,
    PreparedManifest,
    PrepareSettings,
    SongEntry,
    open_pairs,
    read_manifest,
    set_path,
    write_prepared_manifest,
)
from piano.foundation.errors import AudioError
from piano.foundation.made_files import write_json
from piano.foundation.prepared_song import ChunkEntry
from piano.report import listen_page, report
from piano.report.charts import draw_chart
from piano.report.markup import macro
from piano.report.music import find_trouble, listen_to
from piano.report.scores import tournament_section
from piano.report.sound_cards import encode_png
from piano.report.sounds import collect_made_music, collect_real_music, spread_epochs
from piano.report.training import curves_section
from piano.watching.curves import Curve, CurveChart, Timeline, find_phases, find_stages, running_median, stage_curves

TITLE = "A <script>x</script>"
VOID_TAGS = {"meta", "img", "br", "line", "polyline", "link"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a run; no test writes into it."""
    return make_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    """The page of that run."""
    return make_page(run, "--title", TITLE)


def without_content(page: str) -> str:
    """The page without what its addresses carry."""
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)


def part(page: str, key: str) -> str:
    """One section of the page."""
    return re.search(rf'<section id="{key}".*?</section>', without_content(page), re.DOTALL)[0]  # type: ignore[index]


def sound_of(page: str, name: str) -> tuple[np.ndarray, int]:
    """What the player of a name plays, and its rate."""
    players = {attributes["aria-label"]: attributes["src"] for attributes in Reader(page).all("audio")}
    content = (players[f"Play {name}"] or "").removeprefix("data:audio/mpeg;base64,")
    return soundfile.read(io.BytesIO(base64.b64decode(content)))


def pitch_of(waveform: np.ndarray, rate: int) -> float:
    """Frequency of the strongest tone."""
    return np.abs(np.fft.rfft(waveform)).argmax() * rate / len(waveform)


def chart_of(chart: CurveChart, timeline: Timeline) -> str:
    """A chart as it stands on the page."""
    return macro("chart.html", "chart", draw_chart(chart, timeline))


class Reader(HTMLParser):
    """Collects the tags of a page, and insists that they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_one_file_that_needs_no_network(page: str) -> None:
    addresses = [
        attributes[key] or ""
        for _, attributes in Reader(page).tags
        for key in ("src", "href", "srcset", "poster", "action")
        if key in attributes
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in without_content(page)
    assert "@import" not in page and "url(" not in page


def test_every_player_plays_the_sound_of_its_title(page: str) -> None:
    expected = {
        "Sample 1": (2.0, 440),
        "Sample 2": (2.0, 880),
        "Continuation 1": (5.0, 220),
        "Epoch 1, one piece": (1.0, 310),
        "Epoch 3, a fragment, continued": (1.0, 530),
    }
    for name, (seconds, hertz) in expected.items():
        waveform, rate = sound_of(page, name)
        assert rate == RATE
        assert len(waveform) / rate == pytest.approx(seconds, abs=0.1)
        assert pitch_of(waveform, rate) == pytest.approx(hertz, abs=2)


def test_a_continuation_is_shown_whole_with_the_place_where_it_begins(run: Path, page: str) -> None:
    sounds = {sound.title: sound for sound in collect_made_music(run / "music", max_seconds=60.0)}
    assert [title for title in sounds if "ontinu" in title] == ["Continuation 1"]
    assert sounds["Continuation 1"].takeover_seconds == pytest.approx(3.0)
    assert part(page, "continuations").count('class="takeover" style="left:60.0%"') == 1
    assert "3.0 s of the fragment" in page


def test_a_long_sound_is_shown_in_part(run: Path) -> None:
    sounds = collect_made_music(run / "music", max_seconds=1.0)
    assert {sound.seconds for sound in sounds} == {1.0}


def test_every_epoch_can_be_heard_with_its_stage_and_minute(page: str) -> None:
    learning = part(page, "learning")
    assert learning.count("<audio") == 6
    assert "Epoch 1" in learning and "autoencoder, 9.0 min" in learning and "professor, 19.0 min" in learning


def test_of_many_epochs_some_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    for epoch in range(1, 41):
        write_audio(tmp_path / "samples" / f"epoch_{epoch:04d}_sample_0.wav", tone(440, 0.3), RATE)
    (tmp_path / "samples" / "epoch_0041_sample_0.wav").write_bytes(b"not a sound")
    learning = part(make_page(tmp_path, "--compose", "0"), "learning")
    assert learning.count("<audio") == 23
    assert "23 of 41 saved epochs are shown" in learning and "epoch_0041_sample_0.wav" in learning
    assert spread_epochs(range(100), 5, keep=37) == [0, 37, 50, 74, 99]
    assert spread_epochs([3, 1], 5) == [1, 3]


def test_gates_findings_and_curves_of_the_log_are_on_the_page(page: str) -> None:
    findings, curves = part(page, "findings"), part(page, "curves")
    assert '<b class="good">passed</b></p>' in findings and "d 0.25" in findings
    assert '<b class="bad">not passed</b></p>' in findings and "train longer" in findings
    assert "D sees through &lt;everything&gt;." in findings and "dn 0.05, threshold 0.1" in findings
    assert "D learning rate halved" in findings and "slow D down" in findings
    assert "reconstruction from 2 to 1.1" in curves and "professor_loss from 2 to 1.1" in curves
    whole, late = (curves.count(f'class="finding" style="left:{place}%"><b>1</b>') for place in ("78.95", "55.56"))
    assert (whole, late) == (3, 2) and curves.count('class="plot"') == 5  # what began late is drawn from its stage on
    words = "It learned for 19.0 minutes, 20 steps in 2 stages (autoencoder and professor); 1 of 2 gates passed"
    assert words in curves


def test_scores_stand_beside_their_scale(page: str) -> None:
    scores = part(page, "scores")
    assert "this model&#39;s music" in scores and "0.12 <small>0.10 to 0.14</small>" in scores
    assert scores.index("this model&#39;s") < scores.index(">other real music<") < scores.index("white noise")
    assert scores.index("onset rate") < scores.index("polyphony")  # what is off comes first
    assert "near real music (0.12, where 0 is other real music and 1 is noise" in page


def test_settings_that_differ_come_first(page: str) -> None:
    settings = part(page, "settings")
    changed, everything = settings.split("Every setting <span")
    row = '<code>batch_size</code></th><td data-label="this run">8</td><td data-label="default">16</td>'
    assert row in changed
    assert "penalty" not in changed and "folder" not in changed.replace("Folders", "")
    assert "<code>penalty</code>" in everything and "dataset_folder" in everything


def test_the_health_of_the_data_set_is_on_the_page(run: Path, page: str) -> None:
    music = part(page, "music")
    assert "6 songs, 6 pairs" in music and "8 kHz mono, segments of 3 s" in music
    assert "Nothing is wrong with this data set" in music
    manifest = read_manifest(run / "dataset")
    heard = listen_to(run / "dataset", manifest)
    level = 20 * np.log10(np.sqrt(np.mean(open_pairs(run / "dataset", "training")[:, 0] ** 2)))
    assert heard.segments == 6 and heard.loudness_db.mean() == pytest.approx(level, abs=0.5)


def test_a_sick_data_set_is_called_sick(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "dataset")
    pairs = np.load(set_path(dataset, "training"))
    pairs[:5] = 0.0
    np.save(set_path(dataset, "training"), pairs)
    manifest = read_manifest(dataset)
    trouble = " ".join(find_trouble(manifest, listen_to(dataset, manifest)))
    assert "More than half of the music is silence." in trouble and "5 of 6 segments are nearly silent" in trouble


def test_a_planted_copy_is_found_and_both_passages_can_be_heard(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "dataset")
    learned = np.concatenate(list(open_pairs(dataset, "training")[3]), axis=1)
    write_audio(tmp_path / "music" / "stolen.wav", learned, DATASET_RATE)
    write_audio(
        tmp_path / "music" / "own.wav", np.concatenate(list(open_pairs(dataset, "validation")[0]), axis=1), DATASET_RATE
    )
    page = make_page(tmp_path, "--music", str(tmp_path / "music"), "--dataset", str(dataset))
    copies = part(page, "copies")
    assert copies.count(">copied</b>") == copies.count(">its own</span>") == 1
    assert copies.index("Stolen from") < copies.index(">copied</b>") < copies.index("Own from")
    found = re.search(r'aria-label="Play (Training song 3 from (\d+\.\d) s)"', copies)
    assert found
    passage, rate = sound_of(page, found[1])
    start = round(float(found[2]) * rate)
    wanted = learned[0, start : start + len(passage)]
    assert np.corrcoef(np.abs(np.fft.rfft(passage[: len(wanted)])), np.abs(np.fft.rfft(wanted)))[0, 1] > 0.95


def test_a_tournament_is_told_and_shown(tmp_path: Path) -> None:
    (tmp_path / "interpretation.txt").write_text("The strictest is epoch 2.\nIt <knows>.", encoding="utf-8")
    (tmp_path / "verdicts.json").write_text('[{"epoch": 2, "d_loss": 0.71234}]', encoding="utf-8")
    Image.new("RGB", (2000, 500), "white").save(tmp_path / "matrix.png")
    tournament = tournament_section(tmp_path).content
    assert "<p>The strictest is epoch 2.</p><p>It &lt;knows&gt;.</p>" in tournament and "0.71" in tournament
    content = next(a["src"] for a in Reader(tournament).all("img") if "matrix" in (a["alt"] or "")) or ""
    image = Image.open(io.BytesIO(base64.b64decode(content.removeprefix("data:image/png;base64,"))))
    assert image.size == (1100, 275)


def test_names_from_files_and_logs_cannot_become_markup(page: str) -> None:
    assert "<B>" not in page and "Copy of A &amp; &lt;B&gt;" in page
    assert "<b>" not in re.findall(r"a/.{20}", page)[0] and "a/&lt;b&gt;" in page
    assert len(Reader(page).all("script")) == 1


def marked(value: Any, mark: str) -> Any:
    """The same JSON with a mark behind every text of it, but for the words that tell what a line is."""
    if isinstance(value, dict):
        return {key: text if key == "event" else marked(text, mark) for key, text in value.items()}
    if isinstance(value, list):
        return [marked(item, mark) for item in value]
    return f"{value}{mark}" if isinstance(value, str) else value


def prepared_music(source: str, mark: str) -> PreparedManifest:
    """What preparation says of one song, with a mark in its note, and of a file that was left out."""
    song = SongEntry(
        source=source,
        size=1,
        mtime_ns=1,
        sha256="0" * 64,
        folder="a",
        source_sample_rate=DATASET_RATE,
        source_channels=1,
        samples=DATASET_RATE,
        seconds=1.0,
        loudness_db=-20.0,
        peak_db=-1.0,
        gain_db=0.0,
        silence_share=0.0,
        chunks=(ChunkEntry(file="chunk_0000.npy", start_sample=0, samples=DATASET_RATE),),
        notes=(f"clipped{mark}",),
    )
    settings = PrepareSettings(sample_rate=DATASET_RATE, channels=1, chunk_seconds=1.0, min_seconds=0.5)
    left_out = LeftOut(source="b", reason=f"too_short{mark}")
    return PreparedManifest(settings=settings, music_folder="", songs=(song,), left_out=(left_out,))


def make_marked_run(folder: Path, mark: str) -> Path:
    """A run with a mark in every text that a page can take from a file: names, logs, scores, verdicts, settings."""
    dataset = make_dataset(folder / f"set{mark}")
    manifest = json.loads((dataset / MANIFEST_NAME).read_text(encoding="utf-8"))
    for key in ("songs", "groups", "too_short"):
        manifest[key] = marked(manifest[key], mark)
    write_json(dataset / MANIFEST_NAME, manifest)
    for name in ("prepared", "evaluation", "comparison", "check_discriminator"):
        (folder / name).mkdir()
    write_prepared_manifest(folder / "prepared", prepared_music(manifest["songs"]["training"][0], mark))
    learned = np.concatenate(list(open_pairs(dataset, "training")[3]), axis=1)
    for name in ("stolen{}.wav", "own{}.wav", "copy{}.reconstruction.wav", "continuation_song{}.wav"):
        write_audio(folder / "music" / name.format(mark), learned, DATASET_RATE)
    for epoch in (1, 2):
        write_audio(folder / "samples" / f"epoch_{epoch:04d}_sample_0.wav", tone(300, 0.5), RATE)
    config = tiny_config(folder, batch_size=8).model_copy(update={"dataset_folder": dataset})
    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    log = [marked(entry, mark) for entry in make_log()]
    log = [{name.replace("<b>", mark): value for name, value in entry.items()} for entry in log]
    log[3] |= {f"once{mark}": 1.0}
    log += [{"event": "remedy", "stage": f"professor{mark}", "seconds": 1000.0, "name": mark, "remedy": mark}]
    log += [{"event": "left out", "stage": f"joint{mark}", "seconds": 1140.0}]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in log), encoding="utf-8")
    scores = marked(make_scores(), mark) | {"warning": mark, "reconstructions": {"R": 0.2, "P": 0.8}}
    scores["sets"][mark] = scores["sets"]["samples"]
    scores["descriptors"][mark] = scores["descriptors"]["polyphony"]
    scores["continuations"] = {"agreement": {mark: {"own": 0.5, "others": 0.3, "p_value": 0.01}}}
    write_json(folder / "evaluation" / "scores.json", scores)
    rows = {key: {"first": 0.1, "second": 0.2, "better": mark, "verdict": mark} for key in ("kernel_score", mark)}
    runs = [{"folder": str(folder)}, {"folder": f"other{mark}"}]
    write_json(folder / "comparison" / "comparison.json", {"measures": rows, "runs": runs, "warning": mark})
    tournament = folder / "check_discriminator"
    (tournament / "interpretation.txt").write_text(mark, encoding="utf-8")
    write_json(tournament / "verdicts.json", [{f"judge{mark}": mark}])
    Image.new("RGB", (20, 5), "white").save(tournament / f"matrix{mark}.png")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="no file there can have such a name")
def test_no_text_of_any_file_changes_the_structure_of_the_page(tmp_path: Path) -> None:
    """A page with markup in every text has the tags and attributes of a page with letters there, and no more."""
    marks = {"hostile": "<script x='1' y=\"2\">&lt;{{ x }}{% y %}", "harmless": "x" * 40}
    keys = ("listen", "sounds", "continuations", "scores", "comparison", "copies", "curves", "findings", "tournament")
    structures = []
    for name, mark in marks.items():
        run = make_marked_run(tmp_path / name, mark)
        page = make_page(run, "--title", mark, "--copies", "yes", "--real", str(run / f"set{mark}"))
        assert [key for key in (*keys, "music", "settings") if str(escape(mark)) not in part(page, key)] == []
        assert "&amp;amp;" not in page  # nothing is escaped twice
        for met in ("left out: too short", "clipped"):
            assert f'<th scope="row">{met}{escape(mark)}</th>' in part(page, "music")
        structures.append([(tag, list(attributes)) for tag, attributes in Reader(page).tags])
    assert structures[0] == structures[1]


def test_what_is_not_there_is_said_and_is_no_error(run: Path, tmp_path: Path) -> None:
    page = make_page(tmp_path, "--music", str(run / "music"))
    assert len(Reader(page).all("audio")) == 4
    assert "There is no record of a training" in page
    absent = part(page, "absent")
    parts = ("learning", "curves", "findings", "scores", "effect", "copies", "tournament", "music", "settings")
    parts += ("comparison",)
    assert [key for key in parts if f'id="{key}"' in page] == []
    assert absent.count("<li>") == len(parts) + 1  # the blind test too
    empty = make_page(tmp_path, "--compose", "1")
    assert "Nothing was composed for this page" in part(empty, "absent") and 'id="continuations"' not in empty


def test_a_folder_that_is_not_there_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path / "none")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("Error: there is no folder") and complaint.count("\n") == 1
    assert report.main([str(tmp_path), "--music", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("Error: there is no sound in") and complaint.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_the_old_command_still_works_and_names_its_successor(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--music", str(run / "music"), "--checkpoints", str(tmp_path / "none"), "--max-seconds", "1"]
    assert listen_page.main([*arguments, "--output", str(tmp_path / "listen.html")]) == 0
    captured = capsys.readouterr()
    assert "is now musigan report" in captured.err and "listen.html" in captured.out
    page = (tmp_path / "listen.html").read_text(encoding="utf-8")
    assert len(Reader(page).all("audio")) == 4 and "<h1>MusiGAN</h1>" in page


def test_an_mp3_of_a_rate_that_mp3_lacks_keeps_its_pitch() -> None:
    waveform, rate = soundfile.read(io.BytesIO(encode_mp3(tone(440, 1.0, 96_000), 96_000)))
    assert rate == 48_000 and pitch_of(waveform, rate) == pytest.approx(440, abs=2)


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "sample_0000.wav").write_bytes(b"not a sound")
    with pytest.raises(AudioError, match="sample_0000"):
        collect_made_music(tmp_path, max_seconds=10.0)


def test_real_music_is_taken_from_the_middle(tmp_path: Path) -> None:
    early, late = tone(200, 30.0), tone(1000, 30.0)
    write_audio(tmp_path / "song.wav", np.concatenate([early, late], axis=1), RATE)
    (sound,) = collect_real_music(tmp_path, count=2, sample_rate=8000, channels=2)
    assert sound.waveform.shape == (2, 20 * 8000) and sound.sample_rate == 8000
    halves = [np.abs(np.fft.rfft(half)).argmax() / 10.0 for half in np.split(sound.waveform[0], 2)]
    assert halves == pytest.approx([200, 1000], abs=1)


def test_a_picture_has_low_tones_at_its_bottom_and_the_loudest_brightest() -> None:
    levels = np.full((600, 2000), -90.0, dtype=np.float32)
    levels[30] = -10.0
    levels[300] = -40.0
    picture = np.asarray(Image.open(io.BytesIO(encode_png(levels))).convert("L"), dtype=float)
    assert picture.shape[0] <= 260 and picture.shape[1] <= 900
    brightness = picture.mean(axis=1)
    assert brightness.argmax() == pytest.approx(len(picture) - 1 - 30 * len(picture) / 600, abs=1)
    assert brightness.max() > brightness[len(picture) // 2 - 1 : len(picture) // 2 + 1].max() > brightness.min()


def test_curves_keep_every_number_of_a_step_and_nothing_else() -> None:
    history = [
        {
            "stage": "flow",
            "step": 0,
            "epoch": 1,
            "seconds": 30.0,
            "flow": 3.0,
            "note": "x",
            "learning_rate": {"a": 1.0},
        },
        {"event": "gate", "stage": "flow", "figure": 1.0},
        {
            "stage": "flow",
            "step": 1,
            "epoch": 1,
            "seconds": 60.0,
            "flow": 2,
            "is_on": True,
            "late": 5.0,
            "bad": float("nan"),
        },
    ]
    curves = stage_curves(history)["flow"]
    assert [curve.name for curve in curves] == ["learning rate, a", "flow", "late"]
    assert curves[1].minutes.tolist() == [0.5, 1.0] and curves[1].values.tolist() == [3.0, 2.0]


def test_phases_and_validations_of_the_log_are_drawn() -> None:
    ramp = [{"training/adv_ramp": min(1.0, step / 5), "ear_d_real": 0.6} for step in range(10)]
    history = [{"stage": "ear", "seconds": 6.0 * step, **more} for step, more in enumerate(ramp)]
    history.append({"event": "validation", "stage": "ear", "seconds": 60.0, "reconstruction": 0.5})
    (phase,) = find_phases(history)
    assert phase[:3] == ("ear: adversary rising", 0.0, 0.4)
    names = {curve.name for curve in stage_curves(history)["ear"]}
    assert names == {"adv_ramp", "ear_d_real", "validation, reconstruction"}
    drawn = curves_section(history, None).content
    assert '<i class="phase" style="left:0.00%;width:40.00%">' in drawn and "adversary rising" in drawn


def test_stages_follow_each_other_without_a_gap() -> None:
    stages = find_stages(make_log())
    assert [(stage.name, stage.start, stage.end, stage.steps) for stage in stages] == [
        ("autoencoder", 0.0, 10.0, 10),
        ("professor", 10.0, 19.0, 10),
    ]


def test_a_stage_that_learned_again_has_a_stretch_and_a_line_for_each_time() -> None:
    """A run of flow and ear got more time: flow and ear learned again, and the ear's ramp began anew."""
    sittings = [("flow", 0, 3), ("ear", 3, 6), ("flow", 6, 9), ("ear", 9, 12)]
    history: list[dict] = []
    for stage, first, end in sittings:
        history += [
            {"stage": stage, "seconds": 60.0 * minute, "training/adv_ramp": (minute - first) / 2, stage: 1.0}
            for minute in range(first, end)
        ]
        history.append({"event": "gate", "stage": stage, "seconds": 60.0 * end - 30, "name": "G", "passed": first > 0})
    stages = find_stages(history)
    assert [stage[:4] for stage in stages] == [
        ("flow", 0.0, 3.0, 3),
        ("ear", 3.0, 6.0, 3),
        ("flow", 6.0, 9.0, 3),
        ("ear", 9.0, 11.5, 3),
    ]
    assert [curve.minutes.tolist() for curve in stage_curves(history)["ear"] if curve.name == "adv_ramp"] == [
        [3.0, 4.0, 5.0],
        [9.0, 10.0, 11.0],
    ]
    assert [phase[1:3] for phase in find_phases(history)] == [(0.0, 1.0), (3.0, 4.0), (6.0, 7.0), (9.0, 10.0)]
    section = curves_section(history, None)
    assert "12 steps in 2 stages (flow and ear)" in section.words and section.note == "12 steps in 2 stages"
    assert "given more time" in section.words
    verdicts = re.findall(r'data-label="gate"><b class="(good|bad)', section.content)
    assert verdicts == ["bad", "good", "good", "good"]
    ramp = section.content.split("Other numbers of ear")[1].split("<b>adv ramp</b>")[1].split("</figure>")[0]
    assert ramp.count('<path class="line line-0" d="M') == 3  # its legend, and a line for each time
    assert ramp.count('class="band"') == 4


def test_more_time_for_the_stage_that_ran_last_begins_a_new_stretch() -> None:
    history: list[dict] = [{"stage": "ear", "seconds": 60.0 * minute, "ear_loss": 1.0} for minute in range(6)]
    history.insert(3, {"event": "longer", "stage": "ear", "seconds": 120.0, "stages": ["ear"]})
    assert [stage[:4] for stage in find_stages(history)] == [("ear", 0.0, 3.0, 3), ("ear", 3.0, 5.0, 3)]
    assert len(stage_curves(history)["ear"]) == 2


@pytest.mark.parametrize("is_log", [False, True])
def test_a_curve_fills_its_picture_and_stays_in_it(is_log: bool) -> None:
    values = np.array([5.0, 9.0, 1.0, 4.0])
    chart = chart_of(CurveChart("x", "", [Curve("x", np.arange(4.0), values)], is_log=is_log), Timeline([], [], 3.0))
    drawn = re.findall(r'aria-hidden="true"><path class="line line-0" d="M([^"]+)"/></svg></?[^l]', chart)[-1]
    points = np.array([point.split() for point in drawn.split("L")], float)
    assert points[:, 1].argmin() == 1 and points[:, 1].argmax() == 2  # y grows downwards
    assert points[:, 0].tolist() == pytest.approx([0, 333.3, 666.7, 1000], abs=0.1)
    assert points[:, 1].min() > 0 and points[:, 1].max() < 300
    flat = chart_of(CurveChart("y", "", [Curve("y", np.zeros(3), np.ones(3))]), Timeline([], [], 0.0))
    assert "nan" not in flat and "inf" not in flat


def test_a_lone_spike_does_not_bend_the_median() -> None:
    values = np.ones(50)
    values[20] = 1e6
    assert running_median(values, 5).max() == 1.0
    assert running_median(np.arange(50.0), 5)[10] == 10.0


def test_a_page_about_another_run_stays(tmp_path: Path, monkeypatch, capsys) -> None:
    page = tmp_path / "page.html"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    ask = ["--output", str(page), "--compose", "0"]
    assert report.main([str(tmp_path / "first"), *ask]) == 0
    assert report.main([str(tmp_path / "first"), *ask]) == 0
    before = page.read_bytes()
    assert report.main([str(tmp_path / "second"), *ask]) == 2
    assert "holds other work" in capsys.readouterr().err
    assert page.read_bytes() == before
    assert report.main([str(tmp_path / "second"), *ask, "--overwrite"]) == 0
    page.write_text("<p>a letter</p>")
    assert report.main([str(tmp_path / "second"), *ask]) == 2
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert report.main([str(tmp_path / "second"), *ask, "--overwrite", "--open"]) == 0
    assert opened == [page.resolve().as_uri()]
