"""Every rule on a made-up log: sick windows are named, healthy ones are not, and absent signals say nothing."""

import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from piano import piano_main
from piano.checkup.command import as_text, examine, main
from piano.checkup.suspects import Suspect, suspects_of
from piano.doctor.rules import PAUSE, RELAX, RULES, RuleWatch, Window, diagnose
from piano.doctor.signals import ends_window, summarise, windows_of
from piano.doctor.verdict import judge
from piano.foundation import doors
from piano.foundation.errors import CheckpointError
from piano.loss_functions import normalised_discriminator_loss
from piano.run_settings import changes, default_settings
from piano.watching.remedies import REMEDIES

HEALTHY = {
    "d_loss": 0.6, "g_loss": 1.0, "d_real": 0.6, "d_fake": 0.4, "diversity": 0.9, "not_finite": 0.0, "flow": 0.6,
    "kl_dead_share": 0.0, "kl_ratio": 1.0, "beta": 1e-3, "noise_spread": 0.9, "nearest_ratio": 1.0, "prior_gap": 0.1,
    "gradient_ratio": 1.0, "overfitting": 0.1, "probes": 0.2, "accuracy": 0.7, "moved": 0.01, "data_silent": 0.0,
    "data_songs": 9.0, "wiring_leaks": 0.0, "step_size": 1e-3, "flow_training": 0.5,
    "flow_validation": 0.5, "gradient_norm": 1.0,
}  # fmt: skip
SICK = {
    "D overpowering": {"d_loss": 0.05}, "D failure": {"d_loss": 0.95},
    "vanishing generator gradient": {"d_loss": 0.05, "gradient_ratio": 1e-4}, "mode collapse": {"diversity": 0.2},
    "mode dropping": {"noise_spread": 0.1}, "divergence": {"not_finite": 1.0},
    "posterior collapse": {"kl_dead_share": 0.6},
    "posterior explosion": {"kl_ratio": 2.0}, "prior hole": {"prior_gap": 0.4}, "D overfitting": {"overfitting": 0.7},
    "memorisation": {"nearest_ratio": 0.4}, "silent data": {"data_silent": 0.6}, "one song only": {"data_songs": 1.0},
    "wiring": {"wiring_leaks": 3.0}, "D divergence": {"step_size": 0.05},
}  # fmt: skip


def log(*parts: tuple[int, dict[str, float]]) -> list[Window]:
    """Windows of a hundred steps: so many with these signals, healthy otherwise."""
    signals = [HEALTHY | changed for count, changed in parts for _ in range(count)]
    return [Window(100 * (index + 1), "", values) for index, values in enumerate(signals)]


def names(windows: list[Window]) -> set[str]:
    return {finding.name for finding in diagnose(windows)}


def test_a_healthy_log_has_no_finding():
    assert diagnose(log((40, {}))) == []


@pytest.mark.parametrize("name", SICK)
def test_a_rule_names_its_sickness_and_only_after_its_patience(name):
    rule = next(rule for rule in RULES if rule.name == name)
    needed = {"posterior explosion": 10, "prior hole": 3}.get(name, rule.patience)
    assert name not in names(log((6, {}), (needed - 1, SICK[name])))
    (finding,) = [f for f in diagnose(log((6, {}), (needed, SICK[name]))) if f.name == name]
    assert finding.step == 100 * (6 + needed) and finding.is_open
    assert finding.evidence[-1] == (finding.step, finding.value)
    assert finding.sentence and finding.advice and math.isfinite(finding.threshold)


def test_advice_names_commands_by_the_door_that_was_used(monkeypatch):
    monkeypatch.setattr(doors, "_front", "python musigan.py")
    said = {finding.name: finding.advice for name in SICK for finding in diagnose(log((6, {}), (10, SICK[name])))}
    assert "`python musigan.py doctor wiring`" in said["wiring"]
    assert "`python musigan.py evaluate`" in said["memorisation"]
    assert "`python musigan.py train --from shipped`" in said["one song only"]
    assert not any("{musigan" in advice for advice in said.values())


def test_rules_of_two_names_and_courses():
    swinging = [0.3 if index % 4 < 2 else 0.8 for index in range(24)]
    assert "oscillation" in names([Window(i, "", HEALTHY | {"d_loss": v}) for i, v in enumerate(swinging)])
    falling = [0.7 - 0.03 * index + 0.02 * (index % 2) for index in range(20)] + [0.12, 0.14] * 4
    assert "oscillation" not in names([Window(i, "", HEALTHY | {"d_loss": v}) for i, v in enumerate(falling)])
    worse = [
        Window(i, "", HEALTHY | {"flow_training": 0.5 - 0.01 * i, "flow_validation": 0.5 + 0.01 * i}) for i in range(6)
    ]
    assert "G overfitting" in names(worse)
    level = {"d_loss": 0.69, "d_real": 0.5, "d_fake": 0.5}
    assert names(log((12, level))) == {"Nash equilibrium"}
    assert "Nash equilibrium" not in names(log((12, level | {"moved": 0.0})))  # 0.693 of a dead judge
    assert "Nash equilibrium" not in names(log((12, level | {"diversity": 0.4})))
    assert "divergence" in names(log((6, {}), (1, {"gradient_norm": 20.0})))
    assert "D failure" in names(log((3, {"accuracy": 0.1})))


def test_a_judge_that_leaps_is_told_from_one_that_does_not_learn():
    leaping = diagnose(log((6, {}), (6, {"d_loss": 2.0, "step_size": 0.01})))
    assert [finding.name for finding in leaping] == ["D divergence"]
    assert "learning_rate_disc" in leaping[0].advice and "Lower" in leaping[0].advice
    still = diagnose(log((6, {}), (6, {"d_loss": 2.0, "step_size": 1e-4})))
    assert [finding.name for finding in still] == ["D failure"]
    assert names(log((12, {"step_size": 0.01}))) == set()  # large steps of a judge that is right are its beginning


SUSPECTS = (
    ({"learning_rate_disc": 0.05}, "D divergence", ["learning_rate_disc"]),
    ({"learning_rate_disc": 0.05, "penalty": 0.9}, "D overpowering", ["learning_rate_disc", "penalty"]),
    (
        {"stages.ear.learning_rate_disc": 0.05, "stages.professor.learning_rate_disc": 0.05},
        "D divergence",
        ["stages.ear.learning_rate_disc"],
    ),
    ({"loss_weights.energy_score": 0.0}, "mode collapse", ["loss_weights.energy_score"]),
    ({"seed": 5, "model.num_layers": 9}, "D divergence", []),
)


@pytest.mark.parametrize(("unlike", "name", "named"), SUSPECTS)
def test_settings_unlike_the_presets_are_named_with_the_findings_they_can_explain(unlike, name, named):
    settings = (default_settings("tiny") or {}) | unlike
    found = changes(settings)
    assert found is not None and found.is_own and found.values.keys() == unlike.keys()
    finding = diagnose(log((6, {}), (3, SICK[name])))[0]._replace(name=name, stage="ear")
    suspects = suspects_of(finding, found)
    assert [suspect.setting for suspect in suspects] == named
    assert all(suspect.preset == "tiny" and suspect.setting in suspect.sentence() for suspect in suspects)
    assert suspects_of(finding, changes(default_settings("tiny") or {})) == suspects_of(finding, None) == []


def test_how_far_a_setting_is_off_is_said_in_numbers():
    assert Suspect("learning_rate_disc", 0.05, 0.0004, "tiny").sentence() == (
        "learning_rate_disc is 0.05 here; preset tiny has 0.0004 (125 times as much)"
    )
    assert Suspect("penalty", 0.25, 1.0, "tiny").factor() == " (1/4 of it)"
    assert Suspect("share", 0.0, 0.2, "tiny").factor() == ""
    assert Suspect("x", None, 0.2, "tiny").sentence() == "x is not set here; preset tiny has 0.2"


@pytest.mark.parametrize("preset", ["tiny", "of one's own"])
def test_what_a_run_has_unlike_its_preset_is_printed_and_kept(tmp_path, preset):
    lines = [{"stage": "ear", "step": i, "total_step": i, "epoch": 1, "ear_dn": 2.0, "seconds": i} for i in range(40)]
    signals = {"event": "signals", "stage": "ear", "epoch": 1, "seconds": 1, "ear_step_size": 0.1}
    (tmp_path / "metrics.jsonl").write_text(
        "\n".join(json.dumps(line) for line in [*lines, signals | {"total_step": 40}]) + "\n", encoding="utf-8"
    )
    settings = nested((default_settings("tiny") or {}) | {"learning_rate_disc": 0.05, "preset": preset})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    text = unwrapped(as_text(examine(tmp_path), tmp_path))
    assert "cause? learning_rate_disc is 0.05 here; preset tiny has 0.0004 (125 times as much)" in text
    assert ("SETTINGS unlike preset tiny:" if preset == "tiny" else "SETTINGS its own preset is not among") in text
    kept = json.loads((tmp_path / "doctor" / "doctor.json").read_text(encoding="utf-8"))
    assert kept["changed_settings"]["learning_rate_disc"] == [0.05, 0.0004]
    assert [one["setting"] for one in kept["findings"][0]["suspects"]] == ["learning_rate_disc"]
    (tmp_path / "config.yaml").unlink()
    assert "SETTINGS  not known" in as_text(examine(tmp_path), tmp_path)


def write_leap(folder: Path) -> None:
    """A run whose ear leaps from step 70 on, in its eighth epoch, with learning_rate_disc 125 times the usual."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "stage": "autoencoder" if step < 40 else "ear",
            "step": step,
            "total_step": step,
            "epoch": step // 10 + 1,
            "seconds": step,
        }
        for step in range(90)
    ]
    sick = [
        {"event": "signals", "stage": "ear", "epoch": 9, "seconds": 9, "total_step": step, "ear_step_size": size}
        for step, size in ((50, 0.001), (60, 0.001), (70, 0.1), (80, 0.1))
    ]
    entries = sorted([*lines, *sick], key=lambda entry: entry["total_step"])
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, entries)) + "\n", encoding="utf-8")
    settings = nested((default_settings("tiny") or {}) | {"learning_rate_disc": 0.05})
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def write_checkpoints(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        for role in ("generator", "discriminator"):
            (folder / f"{role}_epoch_{epoch}.pt").touch()


def test_the_last_checkpoint_before_a_finding_is_named_with_the_command_that_goes_on_from_it(tmp_path):
    write_leap(tmp_path)
    assert "GO ON No checkpoint" in unwrapped(as_text(examine(tmp_path), tmp_path))
    write_checkpoints(tmp_path, 2, 5, 8)
    restart = examine(tmp_path).restart
    assert "Epoch 5 is the last checkpoint" in unwrapped(restart)
    assert f"--resume 5 --set checkpoint_folder_load={tmp_path} --checkpoints {tmp_path}-from-5" in restart
    assert restart.endswith("--set learning_rate_disc=0.0004")


@pytest.mark.parametrize("name", ["checkpoints", "my run: no. #2"])
@pytest.mark.parametrize("program", ["musigan doctor", "piano/checkup/command.py"])
def test_the_command_that_goes_on_names_the_right_folders_from_anywhere(tmp_path, monkeypatch, name, program):
    write_leap(tmp_path / name)
    write_checkpoints(tmp_path / name, 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    words = shlex.split(examine(Path(name)).restart.splitlines()[-1])
    if program == "musigan doctor":
        assert words[:2] == ["musigan", "train"]
    else:
        assert words[0] == "python" and Path(words[1]).samefile(piano_main.__file__)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = piano_main.read_config(piano_main.parse_arguments(words[2:]))
    assert config.checkpoint_folder_load == tmp_path / name
    assert config.checkpoint_folder == tmp_path / f"{name}-from-5"
    assert (config.resume_from_checkpoint, config.resume_epoch) == (True, 5)
    assert config.learning_rate_disc == 0.0004


def test_what_was_found_is_said_where_nothing_can_be_written(tmp_path, capsys):
    write_leap(tmp_path)
    (tmp_path / "doctor").write_text("in the way")
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "D divergence" in said and "  see " not in said
    said = unwrapped(said)
    assert f"Pictures and doctor.json could not be written to {tmp_path / 'doctor'}: " in said
    assert (tmp_path / "doctor").read_text() == "in the way"


def test_a_run_is_named_as_for_the_other_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("piano.foundation.model_folder.project_folder", lambda name: tmp_path / "model")
    assert main(["shipped"]) == 2
    assert f"there is no folder {tmp_path / 'model'}" in capsys.readouterr().err
    (tmp_path / "model").mkdir()
    assert main(["shipped"]) == 2
    assert "holds no metrics.jsonl" in capsys.readouterr().err
    write_leap(tmp_path / "model")
    assert main(["shipped"]) == 0
    assert "D divergence" in capsys.readouterr().out


def unwrapped(text: str) -> str:
    """A text as if the terminal were wide: what it says does not hang on that."""
    return " ".join(text.split())


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as sections."""
    values: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return values


def test_what_is_low_and_grows_is_not_ill():
    for name, signal in (("posterior collapse", "kl_ratio"), ("mode dropping", "noise_spread")):
        held = [{signal: 0.15}] * 6
        growing = [{signal: 0.15 * 1.15**index} for index in range(6)]
        assert name in names(log(*((1, signals) for signals in held)))
        assert name not in names(log(*((1, signals) for signals in growing)))
    free = [(1, {"kl_ratio": 0.3, "beta": 0.0})] * 6
    assert "posterior collapse" not in names(log(*free))  # nothing holds it down yet


def test_a_judge_that_is_never_wrong_overpowers_earlier():
    assert "D overpowering" in names(log((6, {"d_loss": 0.2, "accuracy": 1.0})))
    assert "D overpowering" not in names(log((6, {"d_loss": 0.2, "accuracy": 0.9})))
    assert "D overpowering" not in names(log((6, {"d_loss": 0.45, "accuracy": 1.0})))


def test_what_is_not_logged_is_not_judged_and_a_plain_gan_needs_five_numbers():
    assert diagnose([Window(index, "", {"loss": 1.0}) for index in range(20)]) == []
    plain = {name: HEALTHY[name] for name in ("d_loss", "g_loss", "d_real", "d_fake", "diversity")}
    assert diagnose([Window(index, "", plain) for index in range(20)]) == []
    collapsed = [Window(index, "", plain | {"diversity": 0.1}) for index in range(5)]
    assert [(f.name, f.severity) for f in diagnose(collapsed)] == [("mode collapse", "critical")]


def test_a_rule_rests_after_it_fired_and_closes_after_healthy_windows():
    rule = next(rule for rule in RULES if rule.name == "mode dropping")
    watch, seen, changes = RuleWatch(rule, ""), [], []
    for spread in [0.1] * 8 + [0.9] * RELAX + [0.1] * 2:
        seen.append(Window(len(seen), "", {"noise_spread": spread}))
        changes.append(watch.look(seen))
    assert [i for i, change in enumerate(changes) if change == "fires"] == [2, 2 + PAUSE + 1]
    assert [i for i, change in enumerate(changes) if change == "closes"] == [8 + RELAX - 1]
    assert len(watch.findings) == 1 and not watch.findings[0].is_open and watch.findings[0].until == 7


def test_evidence_is_the_course_of_the_findings_own_signal():
    growing = [Window(100 * i, "", HEALTHY | {"gradient_norm": 20.0 if i >= 6 else 1.0}) for i in range(1, 8)]
    spoilt = [Window(100 * i, "", HEALTHY | {"not_finite": 1.0, "gradient_norm": 2.0}) for i in range(8, 12)]
    (finding,) = diagnose(growing + spoilt)
    assert (finding.signal, finding.step, finding.until) == ("gradient_norm", 600, 1100)
    assert finding.evidence == [(w.step, w.signals["gradient_norm"]) for w in growing + spoilt]
    swinging = [0.3 if index % 4 < 2 else 0.8 for index in range(24)]
    (finding,) = [
        f
        for f in diagnose([Window(i, "", HEALTHY | {"d_loss": v}) for i, v in enumerate(swinging)])
        if f.name == "oscillation"
    ]
    assert finding.signal == "dn_deviation" and all(value < 0.3 for _, value in finding.evidence)


def staged(*parts: tuple[str, int, dict[str, float]]) -> list[Window]:
    """Windows of a hundred steps: so many of a stage with these signals, healthy otherwise, for the ear."""
    signals = [(stage, changed) for stage, count, changed in parts for _ in range(count)]
    return [
        Window(100 * (index + 1), stage, {"ear_dn": 0.6, "ear_step_size": 1e-3, "diversity": 0.9} | changed)
        for index, (stage, changed) in enumerate(signals)
    ]


def verdict_of(windows: Sequence[Window]) -> str:
    return judge(windows, diagnose(windows), [], steps=windows[-1].step).sentence


LEAPS, LOST = {"ear_step_size": 0.1}, {"ear_dn": 0.01}


def test_what_lasted_until_a_stage_ended_is_told_from_what_lasted_until_the_run_ended():
    windows = staged(("judges", 2, {}), ("judges", 2, LEAPS), ("ear", 4, LEAPS), ("joint", 8, {}))
    findings = diagnose(windows)
    assert [(f.stage, f.is_open, f.until_stage_end) for f in findings] == [
        ("judges", False, True),
        ("ear", False, True),
    ]
    assert verdict_of(windows).startswith(
        "The run went through (1,600 steps), but fell ill: The ear changes by 10.0 % of its weights a step"
    )
    called = "(It is called D divergence in stages judges and ear; first seen at step 300.)"
    assert called in verdict_of(windows)
    assert verdict_of(windows[:8]).startswith("The run failed: The ear changes") and called in verdict_of(windows[:8])
    assert [f.is_open for f in diagnose(windows[:8])] == [False, True]
    came_out = staged(("ear", 4, {}), ("ear", 3, LOST), ("ear", 8, {}), ("joint", 4, {}))
    assert verdict_of(came_out).startswith(
        "The run fell ill on the way and came out of it (1,900 steps): The ear tells"
    )
    assert "(It is called D overpowering; first seen at step " in verdict_of(came_out)
    other = staged(("ear", 6, LOST), ("joint", 6, {"diversity": 0.1}))
    assert "(It is called mode collapse; first seen at step 900 in stage joint (" in verdict_of(other)
    assert verdict_of(other).endswith("Also: D overpowering.")


def test_findings_of_one_rule_in_stages_that_follow_each_other_are_told_together(tmp_path):
    lines = []
    for stage, sizes in (("judges", [1e-3, 0.1]), ("ear", [0.1, 0.1]), ("professor", [1e-3] * 2), ("joint", [0.1])):
        for size in sizes:
            step = len(lines) + 8
            lines += [{"stage": stage, "total_step": step - 8 + i, "step": i, "ear_dn": 0.6} for i in range(8)]
            lines.append({"event": "signals", "stage": stage, "total_step": step, "ear_step_size": size})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    diagnosis = examine(tmp_path)
    assert diagnosis.blocks == [[0, 1], [2]]
    text = unwrapped(as_text(diagnosis, tmp_path))
    assert text.count("Lower learning_rate_disc, and go on") == 2
    assert "CRITICAL D divergence in stages judges and ear, first seen at step 17 " in text
    assert " signal judges, step 17 until the stage ended: ear_step_size = 0.1 (bound 0.03) " in text
    assert "CRITICAL D divergence in stage joint (sound and composition together), step 62 and still at the" in text
    kept = json.loads((tmp_path / "doctor" / "doctor.json").read_text())
    assert [one["until_stage_end"] for one in kept["findings"]] == [True, True, False]


def test_a_run_that_ends_in_no_number_died_of_that(tmp_path):
    lines = [{"stage": "ear", "total_step": i, "step": i, "ear_dn": 0.6, "ear_loss": 1.0} for i in range(60)]
    lines.append(lines[-1] | {"total_step": 60, "step": 60, "ear_loss": math.nan})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = examine(tmp_path).verdict
    assert verdict.startswith("The run died: A loss or gradient was not a number")
    assert "(It is called divergence; first seen at step 61 in stage ear" in verdict


def test_stages_are_not_compared_and_judges_are_judged_apart():
    windows = [Window(i, "ear" if i < 2 else "professor", {"ear_dn": 0.01}) for i in range(4)]
    assert diagnose(windows) == []
    both = [Window(i, "joint", {"ear_dn": 0.6, "professor_dn": 0.01}) for i in range(4)]
    assert [finding.signal for finding in diagnose(both)] == ["professor_dn"]


def test_the_normalised_loss_reads_alike_with_label_smoothing():
    for smoothing in (0.0, 0.1, 0.2):
        assert normalised_discriminator_loss(math.log(2), smoothing) == pytest.approx(math.log(2))
    assert normalised_discriminator_loss(0.40, 0.1) == pytest.approx(0.31, abs=0.01)


def test_the_table_of_remedies_has_as_many_as_are_tried():
    lines = Path("docs/doctor.md").read_text(encoding="utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    rows = {row[0].removesuffix(", at once"): row[2] for row in cells if len(row) == 3}
    for name in REMEDIES.keys() - {"divergence"}:  # that row speaks of steps never taken too
        assert len(rows[name].split("; ")) == len(REMEDIES[name]), name


def test_windows_divide_an_epoch_evenly():
    ends = [step for step in range(1, 501) if ends_window(step, steps_per_epoch=250, most=100)]
    assert ends == [84, 167, 250, 334, 417, 500]
    assert all(ends_window(step, steps_per_epoch=5, most=100) == (step % 5 == 0) for step in range(1, 21))


def test_a_log_becomes_windows_with_or_without_a_doctor_in_the_run():
    lines = [{"stage": "ear", "total_step": i, "step": i, "ear_loss": 0.5 + 0.1 * (i % 2)} for i in range(20)]
    marked = [*lines[:10], {"event": "signals", "stage": "ear", "total_step": 10, "diversity": 0.8}, *lines[10:]]
    assert [(w.step, w.signals.get("diversity")) for w in windows_of(marked)] == [(10, 0.8)]
    assert [w.step for w in windows_of(lines)] == [8, 16]
    assert summarise(lines)["ear_loss"] == pytest.approx(0.55)
    died = [*lines, {"stage": "ear", "total_step": 20, "step": 20, "ear_loss": float("nan")}]
    assert {finding.name for finding in diagnose(windows_of(died))} == {"divergence"}


def test_the_command_says_in_one_sentence_why_a_run_failed(tmp_path):
    losses = [0.6] * 24 + [0.01] * 72
    lines = [{"stage": "professor", "total_step": i, "step": i, "professor_dn": v} for i, v in enumerate(losses)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    diagnosis = examine(tmp_path)
    assert diagnosis.verdict.startswith("The run failed: The professor tells real from generated almost without")
    assert "(It is called D overpowering; first seen at step 48 in stage professor" in diagnosis.verdict
    content = json.loads((tmp_path / "doctor" / "doctor.json").read_text())
    assert content["verdict"] == diagnosis.verdict
    assert (tmp_path / "doctor" / content["findings"][0]["picture"]).stat().st_size > 2000
    assert content["figures"][0]["reading"] == "collapse of the game: the judge knows everything"
    with pytest.raises(CheckpointError, match="there is no folder"):
        examine(tmp_path / "elsewhere")


def test_advice_names_commands_as_they_can_be_typed_here():
    windows = staged(("ear", 6, {"ear_moved": 0.0}))
    told = [finding.advice for finding in diagnose(windows)]
    assert any("`musigan doctor wiring`" in advice for advice in told)
    assert not any("{" in advice for advice in told)
