"""What the page says and in which order: a headline that is a sentence, titles for people, the rest folded."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from make_audio import tone
from report_run import DATASET_RATE, RATE, make_dataset, make_log, make_page, make_run, make_scores
from tiny_run import tiny_config

from piano.config_reader import DEFAULT_CONFIG, load_config_from_yaml
from piano.doctor.verdict import run_verdict
from piano.evaluation.learned_songs import Overlap
from piano.evaluation.memorisation import why_not_searched
from piano.evaluation.metrics import log_magnitude_ratio
from piano.foundation.audio_io import open_writer, write_audio
from piano.foundation.checkpoint_format import Best, write_best
from piano.foundation.model_folder import shipped_folder
from piano.foundation.receipt import Receipt, Source, model_hash
from piano.foundation.screen_text import band_texts
from piano.piano_model import VariationalAttentionModel
from piano.report import report
from piano.report.charts import draw_chart, find_axis, round_steps
from piano.report.compared import comparison_section
from piano.report.copies import copies_section
from piano.report.effect import effect_section
from piano.report.gates import gate_of
from piano.report.listen import HeardSounds, Wanted, contrast_section, gather_sounds, listen_section
from piano.report.markup import macro, short, without_places
from piano.report.scores import scores_section, warning_of
from piano.report.sound_cards import sound_card, wave_of
from piano.report.sounds import ShownSound, SoundKind, collect_made_music, sounds_of_run
from piano.report.titles import song_title, told_apart
from piano.report.training import curves_section, findings_section, learning_section, training_sentence
from piano.report.verdict import FINDINGS_TITLE, headline, spoken
from piano.stages import STAGE
from piano.utilities import load_checkpoint
from piano.vae_utilities import save_checkpoint
from piano.watching.curves import Curve, CurveChart, FindingMark, StageStretch, Timeline


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a run with the shipped model's music and a comparison beside it; no test writes into it."""
    folder = make_run(tmp_path_factory.mktemp("page") / "run")
    write_audio(folder / "shipped_out" / "sample_0000.wav", tone(600, 2.0), RATE)
    write_audio(folder / "shipped_out" / "sample_0001.wav", tone(700, 2.0), RATE)
    (folder / "comparison").mkdir()
    (folder / "comparison" / "comparison.json").write_text(json.dumps(comparison(folder)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    """The page of that run without what its addresses carry."""
    made = make_page(run, "--shipped", str(run / "shipped_out"), "--real", str(run / "dataset"))
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", made)


def comparison(folder: Path) -> dict:
    """comparison.json as compare writes it, as far as the page reads it."""
    measures = {
        "kernel_score": {"better": "lower", "first": 0.4, "second": 0.05, "verdict": "worse"},
        "diversity": {"better": "near 1", "first": 1.96, "second": 0.97, "verdict": "cannot tell"},
    }
    runs = [{"folder": str(folder), "epoch": 3}, {"folder": "shipped", "epoch": 38}]
    return {"runs": runs, "real": {"clips": 12}, "verdict": "worse", "measures": measures}


def receipt(kind: str, *, seed: int, seconds: float, source: str = "") -> Receipt:
    """What generate_music would write into a file."""
    return Receipt.model_validate(
        {
            "kind": kind,
            "model": "0" * 64,
            "folder": "checkpoints",
            "epoch": 3,
            "seed": seed,
            "item": 0,
            "seconds": seconds,
            "steps": 1,
            "phase_iterations": 2,
            "device": "cpu",
            "dtype": "float32",
            "threads": 1,
            "versions": {},
            "source": Source(name=source, sha256="0" * 64) if source else None,
        }
    )


def chart_html(chart: CurveChart, timeline: Timeline) -> str:
    """A chart as it stands on the page."""
    return macro("chart.html", "chart", draw_chart(chart, timeline))


def gate_html(entry: dict) -> str:
    """A gate as it stands on the page."""
    return macro("gates.html", "gate", gate_of(entry))


def write_told(path: Path, told: Receipt, seconds: float) -> None:
    """A sound with a receipt in its comment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, RATE, 1, metadata={"comment": told.text()}) as writer:
        writer.write(tone(440, seconds))


def titles(html: str) -> list[str]:
    """What the players are called, in order."""
    return re.findall(r'data-name="([^"]+)"', html)


def test_the_best_sound_comes_first_then_what_this_run_made(page: str) -> None:
    assert "<h1>What 19 minutes of learning made of six songs</h1>" in page
    listen = re.search(r'<section id="listen".*?</section>', page, re.DOTALL)[0]  # type: ignore[index]
    assert titles(listen) == ["Sample 1, the project&#39;s model", "Sample 2, the project&#39;s model", "Sample 1"]
    assert listen.index("The model that comes with the project") < listen.index("What these 19 minutes made")
    order = re.findall(r'<section[^>]*id="([a-z]+)"', page)
    assert order[:5] == ["listen", "sounds", "learning", "continuations", "blind"] and order[5] == "curious"
    assert order[6:8] == ["scores", "comparison"]


def test_all_but_the_music_is_folded_and_the_head_tells_what_a_link_shows(page: str) -> None:
    curious = page[page.index('id="curious"') :]
    for key in ("scores", "comparison", "curves", "findings", "music", "settings", "machine"):
        assert re.search(rf'<section id="{key}" class="folded"[^>]*><details><summary>', curious), key
    head = page[: page.index("<body>")]
    assert re.search(r'<meta name="description" content="Its music is near real music[^"]{40,}">', head)
    assert 'property="og:image" content="data:image/png;' in head and '<link rel="icon" href="data:' in head


def test_one_picture_a_piece_and_two_colours_where_the_model_takes_over(page: str, run: Path) -> None:
    cards = re.findall(r'<figure class="sound (?:hero|large)".*?</figure>', page, re.DOTALL)
    assert len(cards) >= 8 and all(card.count("<img") == 1 for card in cards)
    (whole,) = (sound for sound in collect_made_music(run / "music", max_seconds=60.0) if sound.takeover_seconds)
    given, own = re.findall(r'<path class="(?:given|own)" d="([^"]+)"', macro("sounds.html", "wave", wave_of(whole)))
    assert given.count("M") == 144 and own.count("M") == 96  # 240 bars, three of five seconds are the fragment's


def save_model(folder: Path, *, epoch: int, seed: int) -> str:
    """A checkpoint of a small generator; what a receipt calls it."""
    torch.manual_seed(seed)
    model = VariationalAttentionModel(**tiny_config(folder).model.model_dump())
    save_checkpoint(model, epoch, folder, "generator")
    content = load_checkpoint(folder, "generator", epoch)
    return model_hash(content["model"], content["keywords"])


def test_music_out_is_shown_if_this_model_made_it(tmp_path: Path) -> None:
    """By the hash in the receipt: a folder of the same name, or an epoch of the same number, is not enough."""
    run, other, out = tmp_path / "checkpoints", tmp_path / "other" / "checkpoints", tmp_path / "music_out"
    own = save_model(run, epoch=3, seed=0)
    save_model(other, epoch=3, seed=1)
    told = receipt("sample", seed=7, seconds=1.0)
    write_told(out / "mine.wav", told.model_copy(update={"model": own}), 1.0)
    write_told(out / "another_model.wav", told, 1.0)
    sounds, notes = sounds_of_run(run, [out, out, tmp_path / "none"], max_seconds=9.0)
    assert [sound.title for sound in sounds] == ["Sample 1, seed 7"]
    assert len(notes) == 1 and "of this model is shown. 1 sound of other models or epochs there" in notes[0]
    sounds, notes = sounds_of_run(other, [out], max_seconds=9.0)
    assert not sounds and "holds no sound of this model; --music" in notes[0]
    heard = gather_sounds(run, None, Wanted(None, None, None, 0, 9.0, [out]))
    assert [sound.title for sound in heard.of("noise")] == ["Sample 1, seed 7"]
    assert "of this model is shown" in listen_section(heard, "").content


def test_sounds_of_earlier_epochs_are_not_shown_as_those_of_the_model_that_plays(tmp_path: Path) -> None:
    run, out = tmp_path / "checkpoints", tmp_path / "music_out"
    run.mkdir()
    write_best(run, Best(7, 0.1, 1, "joint"))
    for epoch in (1, 7, 13):
        told = receipt("sample", seed=epoch, seconds=1.0)
        model = save_model(run, epoch=epoch, seed=epoch)
        write_told(out / f"a{epoch}.wav", told.model_copy(update={"model": model, "epoch": epoch}), 1.0)
    sounds, notes = sounds_of_run(run, [out], max_seconds=9.0)
    assert [sound.title for sound in sounds] == ["Sample 1, seed 7"]
    assert "2 sounds of other models or epochs there" in notes[0]
    write_best(run, None)
    sounds, _ = sounds_of_run(run, [out], max_seconds=9.0)
    assert [sound.title for sound in sounds] == ["Sample 1, seed 13"]
    asked = collect_made_music(out, max_seconds=9.0)
    assert [sound.words for sound in asked] == ["Epoch 13.", "Epoch 7.", "Epoch 1."]


def test_an_option_is_never_broken_at_its_hyphens() -> None:
    assert '(<span class="whole">--checkpoints</span>)' in macro(
        "parts.html", "paragraphs", "another folder (--checkpoints), well-made"
    )
    assert macro("parts.html", "paragraphs", "a -- b <i>") == "<p>a -- b &lt;i&gt;</p>"


def test_files_get_titles_by_their_receipts(tmp_path: Path) -> None:
    write_told(tmp_path / "a.wav", receipt("sample", seed=7, seconds=1.0), 1.0)
    write_told(tmp_path / "b.wav", receipt("sample", seed=7, seconds=1.0), 1.0)
    source = "deep/satie-gymnopedie_no-1-take0.mp3"
    write_told(tmp_path / "c.full.wav", receipt("full", seed=0, seconds=2.0, source=source), 3.0)
    write_told(tmp_path / "d.wav", receipt("full", seed=0, seconds=2.0, source="prompt.wav"), 2.5)
    write_told(tmp_path / "e.wav", receipt("reconstruction", seed=0, seconds=1.0, source="My song.flac"), 1.0)
    sounds = collect_made_music(tmp_path, max_seconds=9.0)
    assert [sound.title for sound in sounds] == [
        "Sample 1, seed 7",
        "Sample 2, seed 7",
        "Continuation of Satie gymnopedie no 1",
        "Continuation 2",
        "Copy of My song",
    ]
    assert [sound.takeover_seconds for sound in sounds[2:4]] == pytest.approx([1.0, 0.5])


def test_a_continuation_of_a_long_song_is_shown_around_its_seam(tmp_path: Path) -> None:
    told = receipt("full", seed=0, seconds=6.0, source="song.mp3")
    with open_writer(tmp_path / "a.full.wav", RATE, 1, metadata={"comment": told.text()}) as writer:
        writer.write(np.concatenate([tone(300, 60.0), tone(900, 6.0)], axis=1))
    (sound,) = collect_made_music(tmp_path, max_seconds=20.0)
    assert sound.takeover_seconds == pytest.approx(8.0) and sound.seconds == pytest.approx(14.0)
    given, own = np.split(sound.waveform[0], [8 * RATE])
    hertz = [np.abs(np.fft.rfft(part)).argmax() * RATE / len(part) for part in (given, own)]
    assert hertz == pytest.approx([300, 900], abs=1)
    assert "The last 8.0 s of 60.0 s of the fragment" in sound.words
    assert 'class="takeover" style="left:57.1%"' in macro("sounds.html", "card", sound_card(sound))
    (short,) = collect_made_music(tmp_path, max_seconds=5.0)
    assert short.seconds == pytest.approx(5.0) and short.takeover_seconds == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("bach-fuga_ii.mp3", "Bach fuga ii"),
        ("a/b/Song.flac", "Song"),
        ("-take1.mp3", "Take1"),
        ("x" * 200 + ".wav", "X" + "x" * 69 + "\u2026"),
        ("Mr. Smith", "Mr. Smith"),
        ("satie-gymnopedie_no-1-37.mp3", "Satie gymnopedie no 1"),
        ("prelude op 28 4.mp3", "Prelude op 28 4"),
        ("schumann-kinderscenen-traumerei-o-15-n-7-504.mp3", "Schumann kinderscenen traumerei o 15 n 7"),
    ],
)
def test_names_of_files_become_titles(name: str, title: str) -> None:
    assert song_title(name) == title


def test_no_two_titles_are_the_same() -> None:
    assert told_apart(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_the_page_of_the_shipped_model_has_its_nine_pieces_and_is_short() -> None:
    options = report.parse_arguments([str(shipped_folder())])
    page = report.build_page(report.find_sources(options.run, options), options)
    names = titles(page)
    assert len(names) == 9 and names[:2] == ["Sample 1, seed 0", "Sample 2, seed 1"]
    assert sum(name.startswith("Continuation of ") for name in names) == 3
    assert "<h1>Music out of noise, by the model that comes with MusiGAN</h1>" in page
    for key in ("learning", "curves", "findings", "settings"):
        assert f'id="{key}"' not in page and key not in page[page.index('id="curious"') : page.index("<footer>")]
    assert page.count('class="missing"') == 0


def test_a_headline_is_a_sentence_made_of_what_is_known() -> None:
    assert headline(minutes=3.02, songs=12, is_shipped=False) == "What three minutes of learning made of twelve songs"
    assert headline(minutes=150.0, songs=1, is_shipped=False) == "What 2.5 hours of learning made of one song"
    assert headline(minutes=14.46, songs=0, is_shipped=False) == "What 14.5 minutes of learning sound like"
    assert headline(minutes=0.5, songs=0, is_shipped=False) == "What 30 seconds of learning sound like"
    assert "neural network" in headline(minutes=0, songs=0, is_shipped=False)


def test_no_praise_for_what_is_hardly_better_than_noise() -> None:
    bad = spoken([], 1.29, clips=20, songs=10)
    assert bad.lead.startswith("Its music is worse than noise (1.29")
    assert spoken([], 0.03, clips=20, songs=10).lead.startswith("Its music is near real music")
    assert spoken([], None, clips=None, songs=None)[:2] == ("", "")
    assert spoken([], 0.03, clips=2, songs=1)[:2] == ("", "")  # two clips tell nothing
    ruined = spoken(make_log(), 0.93, clips=20, songs=10)
    assert "too few for anything" in ruined.lead and "hardly better than noise (0.93" in ruined.lead


def test_the_head_of_the_page_says_what_takes_the_worth_from_a_score() -> None:
    drone = spoken([], 0.3, clips=20, songs=10, alike=(0.96, 0.8))
    assert drone.lead.endswith("It is a drone: 0.96 alike from one second to the next, real music up to 0.80.")
    assert "drone" not in spoken([], 0.3, clips=20, songs=10, alike=(0.7, 0.8)).lead
    for history in ([], make_log()):
        told = spoken(history, 0.2, clips=20, songs=10, warning="Warning: it learned from it.")
        assert told.lead.startswith("Warning: it learned from it. ")


def test_one_page_gives_one_figure_for_one_thing() -> None:
    """A gate on the way said 0.26, the ruler afterwards 0.28: the later and longer measurement is told."""
    gate = {
        "event": "score",
        "stage": "joint",
        "epoch": 3,
        "total_step": 20,
        "seconds": 900.0,
        "kernel_score": 0.26,
        "clips": 8,
        "songs": 1,
    }
    for score in (0.28, 0.94):
        told = " ".join(spoken([*make_log(), gate], score, clips=16, songs=8)[:2])
        assert "0.26" not in told and f"{score}" in told and "16 clips of 8 songs" in told


def test_gates_are_sentences_and_nothing_in_them_is_raw() -> None:
    entry = {
        "event": "gate",
        "stage": "flow",
        "name": "G2 flow",
        "passed": False,
        "advice": "train <b>",
        "seconds": 1.0,
        "distance_16": 0.45,
        "distance_noise": 0.9,
        "diversity_16": 1.93,
        "silence_16": 0.3,
        "silence_real": 0.0,
        "more": {"a_b": 0.25, "c": [1, 2]},
    }
    said = gate_html(entry)
    words = "Its music of 16 steps is 0.50 times as far from real music as decoded noise is; 30\u202f% of it is silent"
    assert words in said and "1.93 times as varied" in said and "train &lt;b&gt;" in said
    assert "{" not in said and "more a b 0.25, c 1.00, 2.00" in said
    told = {
        "name": "G2 composing",
        "passed": False,
        "advice": "train longer",
        "distance_16": 0.4,
        "sentence": "G2 composing: NOT passed. It is <far>. Train longer.",
    }
    assert "<p>It is &lt;far&gt;.</p>" in gate_html(told) and gate_html(told).lower().count("train longer") == 1
    plain = gate_html({"name": "my gate", "passed": True, "d": 0.25, "e": True})
    assert "<p>d 0.25, e True</p>" in plain


def test_two_models_stand_beside_each_other_by_their_names(run: Path, tmp_path: Path) -> None:
    section = comparison_section(run / "comparison", run)
    assert section.words.startswith("The project's model makes better music than this model: it is nearer")
    assert "against" not in section.content and ">0.40<" in section.content and ">1.96<" in section.content
    assert comparison_section(tmp_path, run).absent.startswith("It was not compared")
    (tmp_path / "comparison.json").write_text('{"measures": {"x": {"first": "1"}}, "runs": 3, "real": []}')
    broken = comparison_section(tmp_path, run)
    assert not broken.absent and "<td" not in broken.content


@pytest.mark.parametrize(
    ("said", "known", "words", "warns"),
    [
        (14, 1, "14 clips of 1 song;", True),
        (14, 5, "14 clips of 5 songs;", False),
        (1, None, "of 1 song;", True),
        (3, 9, "14 clips of 3 songs;", False),
    ],
)
def test_songs_are_counted_as_songs(tmp_path: Path, said: int, known: int | None, words: str, warns: bool) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(make_scores() | {"real": {"clips": 14, "songs": said}}))
    content = scores_section(tmp_path, how="", songs=known).content
    assert words in content and ("one song only" in content) == warns


@pytest.mark.parametrize(
    ("learned", "words"),
    [
        (None, "of 3 songs; whether it learned from them is not known."),
        ([], "of 3 songs; none of them is among those it learned from."),
        (["a.mp3"], "of 3 songs; it learned from 1 song of them."),
    ],
)
def test_the_page_says_never_learned_from_only_where_that_is_known(tmp_path: Path, learned, words) -> None:
    scores = make_scores()
    real = {"clips": 14, "songs": 3, "learned_from": learned}
    warning = Overlap(learned or [], 3).warning() or None
    (tmp_path / "scores.json").write_text(json.dumps(scores | {"real": real, "warning": warning}))
    section = scores_section(tmp_path, how="", songs=1)  # a validation set of one song, which was not measured on
    assert words in section.content and "never learned from." not in section.content
    assert (warning_of(tmp_path) == warning) if learned else (warning_of(tmp_path) == "")
    assert section.note.startswith("flattered") == bool(learned)


def test_with_too_few_recordings_copies_cannot_be_told_and_the_screen_says_the_same(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "dataset", held_out=1)
    write_audio(tmp_path / "music" / "a.wav", tone(300, 6.0, DATASET_RATE), DATASET_RATE)
    sounds = collect_made_music(tmp_path / "music", max_seconds=9.0)
    assert copies_section(sounds, dataset, search="yes").absent == why_not_searched(1) != ""


def test_a_copy_that_misses_everything_is_another_piece_not_the_average(tmp_path: Path) -> None:
    scores = make_scores() | {"reconstructions": {"R": 0.25, "P": 0.8}}
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    said = scores_section(tmp_path, how="").content
    assert "25 % of the levels are missed" in said and "as far off as another piece of music" in said
    random = np.random.default_rng(0)
    first, second = (0.1 * random.standard_normal((2, 1, 16_000)) * scale for scale in (1.0, 0.1))
    clips = [first[0], second[0]]
    assert log_magnitude_ratio(reconstruction=clips[::-1], original=clips, sample_rate=16_000) == pytest.approx(1.0)


def test_small_numbers_keep_digits_that_say_something() -> None:
    shown = [short(value) for value in (1.2e-5, -3e-4, 0.0, 1e-18, 2e-12, 0.012, 1.5, 123.4)]
    assert shown == ["1.2e-5", "\u22120.0003", "0.00", "0.00", "2e-12", "0.012", "1.50", "123"]
    rate = Curve("learning_rate_ear", np.arange(3.0), np.array([3e-5, 2e-5, 1.5e-5]))
    drawn = chart_html(
        CurveChart("Learning rates", "", [rate], is_log=True), Timeline([StageStretch("ear", 0, 2, 3, 1)], [], 2.0)
    )
    assert "<span>1.5e-5</span>" in drawn and "<span>0.00</span>" not in drawn


def test_axes_carry_round_values_and_short_stages_their_number() -> None:
    assert round_steps(0.27, 97.15, 4) == [50.0] and round_steps(0.27, 97.15, 5) == [20.0, 40.0, 60.0, 80.0]
    assert round_steps(0.0, 1.0, 4) == [0.0, 0.5, 1.0] and round_steps(2.0, 2.0, 4) == [2.0]
    stages = [
        StageStretch("autoencoder", 0, 60, 9, 1),
        StageStretch("judges", 60, 62, 2, 2),
        StageStretch("professor", 62, 100, 9, 3),
    ]
    timeline = Timeline(stages, [FindingMark(1, 90.0)], 100.0)
    values = np.linspace(0.27, 97.15, 50)
    drawn = chart_html(CurveChart("x", "", [Curve("x", np.linspace(0, 100, 50), values)]), timeline)
    ticks = [float(text) for text in re.findall(r'class="tick"[^>]*>([^<]+)<', drawn)]
    assert ticks == [20, 40, 60, 80]
    assert re.findall(r">([^<>]+)</span>", drawn.split('class="names')[1].split("</div>")[0]) == [
        "autoencoder",
        "2",
        "professor",
    ]
    late = chart_html(CurveChart("x", "", [Curve("x", np.linspace(62, 100, 50), values)]), timeline)
    assert "left:73.68%" in late and "autoencoder" not in late.split('class="names')[1]


def test_tables_become_cards_on_a_phone_with_cells_that_name_themselves() -> None:
    table = macro("parts.html", "table", ["a", "b<", "c"], [["1", "2", "3"]], caption="x")
    assert '<table class="cards">' in table and '<td data-label="b&lt;">2</td>' in table
    assert 'class="cards"' not in macro("parts.html", "table", ["a", "b"], [["1", "2"]], caption="x")


def test_the_chosen_epoch_is_marked_and_not_praised(run: Path) -> None:
    section = learning_section(run, make_log(), best=2)
    assert "at each of these epochs" in section.words and "every save" not in section.words  # some have no samples
    assert "Epoch 2, chosen" in section.content and "best" not in section.content + section.words
    assert section.content.count("--columns:3") == 2


def test_a_page_says_from_which_model_a_run_went_on(tmp_path: Path) -> None:
    config = load_config_from_yaml(DEFAULT_CONFIG, overrides={"start_from": "shipped"})
    sources = report.Sources(tmp_path, config, None, tmp_path, tmp_path, tmp_path)
    assert "went on from a model that comes with MusiGAN" in report.what_it_is(sources, None)
    sources = sources._replace(config=config.model_copy(update={"start_from": tmp_path}))
    assert "went on from a model that was trained before" in report.what_it_is(sources, None)
    sources = sources._replace(config=config.model_copy(update={"start_from": None}))
    assert "went on" not in report.what_it_is(sources, None)


@pytest.mark.parametrize(
    ("value", "clips", "note"),
    [
        (0.4, 24, "some way from real music (0.40, where 0 is other real music and 1 is noise; 24 clips of 12 songs)"),
        (-0.1, 24, "not told apart from real music with this few songs (24 clips of 12 songs)"),
        (0.4, 2, "cannot tell (only 2 clips of real music, 4 are needed)"),
    ],
)
def test_the_score_on_the_page_is_in_the_words_of_the_screen(tmp_path, value, clips, note) -> None:
    figure = {"value": value, "low": value - 0.1, "high": value + 0.1}
    scores = {"sets": {"samples": {"kernel_score": figure}}, "real": {"clips": clips, "songs": 12}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert scores_section(tmp_path, how="").note == note


def test_the_page_counts_gates_as_the_terminal_does() -> None:
    """The last gate of every stage counts: what failed at first and was passed later has been passed."""
    steps = [
        {"stage": "flow", "step": step, "total_step": step, "epoch": 1, "seconds": 60.0 * step, "flow": 1.0}
        for step in range(200)
    ]
    gates = [
        {"event": "gate", "stage": stage, "seconds": 60.0 * minute, "name": name, "passed": is_passed}
        for minute, (stage, name, is_passed) in enumerate(
            [("autoencoder", "G1", False), ("flow", "G2", True), ("autoencoder", "G1", True), ("flow", "G2", False)]
        )
    ]
    history = [*steps, *gates]
    assert "1 of 2 checks not passed" in run_verdict(history).sentence
    section = findings_section(history)
    assert section.note == "1 of 2 gates not passed" and "1 of 2 gates passed" in training_sentence(history)
    assert section.content.count("measured again later") == 2 and "the last gate counts" in section.content


def test_what_fine_tuning_did_is_told_with_both_sounds_and_left_out_where_nobody_fine_tuned(tmp_path: Path) -> None:
    told = {"event": "effect", "verdict": "moved", "sentence": "Fine-tuning moved it."}
    for name, hertz in (("before", 300.0), ("after", 400.0)):
        write_audio(tmp_path / "effect" / f"{name}.wav", tone(hertz, 1.0), RATE)
    section = effect_section(tmp_path, [{"event": "effect", "verdict": "copied", "sentence": "old"}, told])
    assert (section.words, section.note, section.absent) == ("Fine-tuning moved it.", "it moved", "")
    assert section.content.count("<audio") == 2 and "after fine-tuning" in section.content
    (tmp_path / "effect" / "after.wav").unlink()
    assert effect_section(tmp_path, [told]).content.count("<audio") == 1
    assert effect_section(tmp_path, [{"event": "gate"}]).absent


def test_the_page_tells_no_folder_of_the_computer_it_was_made_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "anna" / "My runs" / "checkpoints")
    (run / "evaluation" / "scores.json").unlink()  # the page then says which command measures this folder
    text = (run / "config.yaml").read_text(encoding="utf-8")
    start = "start_from: /home/anna/my models/older\n"
    (run / "config.yaml").write_text(re.sub(r"start_from:.*\n", start, text), encoding="utf-8")
    page = re.sub(r"base64,[A-Za-z0-9+/=]+", "", make_page(run, "--music", str(run / "music")))
    assert "anna" not in page and "My runs" not in page and str(tmp_path) not in page
    assert '<code>start_from</code></th><td data-label="this run">older</td>' in page
    assert "report &#39;checkpoints&#39;" in page


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ("see /home/anna/x.wav.", "see x.wav."),
        ("<td>/a/b</td><i/>", "<td>b</td><i/>"),
        ("C:\\Users\\anna\\x", "x"),
        ("music/satie/x.mp3 and/or a / b/ c </b>", "music/satie/x.mp3 and/or a / b/ c </b>"),
        ("data:a/b;base64,AA/home/anna/x", "data:a/b;base64,AA/home/anna/x"),
        ("~/music/x", "~/music/x"),
    ],
)
def test_of_a_path_the_last_name_is_told(html: str, told: str) -> None:
    assert without_places(html) == told


def test_all_that_is_not_well_is_named_where_the_head_says_and_more() -> None:
    """The head names a few faults only; the part below names every one, and its title does not say that all is well."""
    stages = [stage for stage in STAGE if stage != "joint"]
    history = [
        {"stage": "joint", "step": step, "total_step": step, "epoch": 1, "seconds": 1.0 * step, "flow": 1.0}
        for step in range(40)
    ]
    history += [{"event": "gate", "stage": "joint", "seconds": 41.0, "name": "G", "passed": False}]
    history += [{"event": "left out", "stage": stage, "seconds": 42.0} for stage in stages]
    history += [{"event": "no score", "stage": "joint", "seconds": 43.0, "reason": "no clips"}]
    told = spoken(history, None, clips=None, songs=None)
    section = findings_section(history, told.faults)
    assert len(told.faults) >= 3 and section.note.startswith("1 of 1 gate not passed, ")
    assert all(f"<li>{fault}</li>" in section.content for fault in told.faults)
    assert findings_section(history[:40]).note == "0 findings"
    head = macro("parts.html", "linked", "and 2 more under What the doctor found.", FINDINGS_TITLE, "#findings")
    assert head == '<p>and 2 more under <a href="#findings">What the doctor found</a>.</p>'


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0.704, 0.54, 0.7), ("0.704", "0.540", "0.700")),
        ((0.6, 0.54, 0.7), ("0.60", "0.54", "0.70")),
        ((0.70, 0.54, 0.704), ("0.70", "0.54", "0.70")),
        ((99.9, 100.2, 300.0), ("99.90", "100", "300")),
        ((250.4, 100.0, 250.2), ("250.4", "100.0", "250.2")),
    ],
)
def test_what_is_outside_its_band_is_seen_to_be(numbers, told) -> None:
    value, low, high = numbers
    assert band_texts(value, low, high, short) == told


@pytest.mark.parametrize(("height", "ends"), [(0.0, (0.0, 1.0)), (0.5, (0.0, 1.0)), (-3.0, (-6.0, 0.0))])
def test_a_number_that_never_moved_has_an_axis_from_nothing(height: float, ends: tuple[float, float]) -> None:
    curve = Curve("x", np.arange(3.0), np.full(3, height))
    assert find_axis(CurveChart("x", "", [curve]), [curve])[:2] == ends


def test_what_is_always_nothing_or_was_measured_once_is_told_and_not_drawn() -> None:
    history = [{"stage": "ear", "seconds": 60.0 * step, "none": 0.0, "moves": 1.0 * step} for step in range(5)]
    history[2]["once"] = 0.25
    content = curves_section(history, None).content
    assert "Always 0, or measured once: none 0.00, once 0.25." in content
    assert "<b>moves</b>" in content and "<b>none</b>" not in content and "<b>once</b>" not in content


def test_made_and_real_stand_in_columns_of_one_height() -> None:
    def sound(kind: SoundKind, number: int) -> ShownSound:
        return ShownSound(kind, f"{kind} {number}", "", tone(440, 0.5), RATE)

    heard = HeardSounds([sound("noise", number) for number in range(2)] + [sound("real", n) for n in range(2)], [], [])
    shown, folded = contrast_section(heard).content.split("<details>")
    assert titles(shown) == ["noise 1", "real 0"] and titles(folded) == ["real 1"]
    copies = contrast_section(HeardSounds([sound("noise", 0), sound("reconstruction", 1)], [], [])).content
    assert titles(copies) == ["reconstruction 1"] and "<summary>Copies of real music" in copies
    more = contrast_section(HeardSounds([sound("noise", number) for number in range(3)], [], []))
    assert more.title == "More pieces" and titles(more.content) == ["noise 1", "noise 2"]
