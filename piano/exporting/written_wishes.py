"""What stands in a text box, inside TorchScript: how long a piece shall be, how fast, in which key and metre."""

import torch
from torch import nn

SECONDS, MOST_SECONDS = 20, 300
TEMPI = (40.0, 240.0)
"""Beats a minute that can be asked for."""


class WrittenWishes(nn.Module):
    """Reads texts such as `20, 96 bpm, D minor, 3/4`, in any order; what it does not know it passes over."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.most_seconds = SECONDS, MOST_SECONDS
        self.least_tempo, self.most_tempo = TEMPI

    def words_of(self, text: str) -> list[str]:
        """What stands in the text box, word by word: `B flat` is one word, and `♭` a `b`."""
        plain = text.replace("♭", "b").replace("♯", "#")
        for mark in (",", ";", "-", "_"):
            plain = plain.replace(mark, " ")
        for name in (" flat", " Flat"):
            plain = plain.replace(name, "b")
        for name in (" sharp", " Sharp"):
            plain = plain.replace(name, "#")
        return plain.split()

    def number_of(self, word: str) -> float:
        """A number such as 96 or 96.5; -1 if the word is none."""
        digits, points = 0, 0
        for letter in word:
            if ord(letter) >= ord("0") and ord(letter) <= ord("9"):
                digits += 1
            elif letter == ".":
                points += 1
            else:
                return -1.0
        return float(word) if digits > 0 and digits < 12 and points <= 1 else -1.0

    @torch.jit.export
    def seconds_of(self, text: str) -> int:
        """The first number in a text that is no tempo, as a whole one in its limits; SECONDS if there is none."""
        words = self.words_of(text)
        for index in range(len(words)):
            word = words[index].lower()
            for ending in ("seconds", "sec", "s"):
                word = word[: len(word) - len(ending)] if word.endswith(ending) else word
            number = self.number_of(word)
            is_tempo = index + 1 < len(words) and words[index + 1].lower() == "bpm"
            if number >= 0.0 and not is_tempo:
                return int(min(max(number, 1.0), float(self.most_seconds)))
        return self.seconds

    @torch.jit.export
    def tempo_of(self, text: str) -> float:
        """Quarter notes a minute, such as 96 bpm, that stand in a text, in their limits; 0 if none do."""
        words = self.words_of(text)
        for index in range(len(words)):
            word = words[index].lower()
            if word == "bpm" and index > 0:
                word = words[index - 1] + "bpm"
            if word.endswith("bpm"):
                number = self.number_of(word[: len(word) - 3])
                if number > 0.0:
                    return min(max(number, self.least_tempo), self.most_tempo)
        return 0.0

    def meter_of(self, text: str) -> tuple[int, int]:
        """The first metre in a text, such as 3, 4; 0, 0 if there is none."""
        for word in self.words_of(text):
            parts = word.split("/")
            if len(parts) == 2:
                beats, unit = int(self.number_of(parts[0])), int(self.number_of(parts[1]))
                if beats >= 1 and beats <= 32 and unit in (1, 2, 4, 8, 16, 32):
                    return beats, unit
        return 0, 0

    @torch.jit.export
    def bar_of(self, text: str) -> int:
        """Beats that the bars of a metre in a text are heard in, as in `piano.loops.Meter`; 0 if there is none."""
        beats, unit = self.meter_of(text)
        return beats // 3 if unit >= 8 and beats > 3 and beats % 3 == 0 else beats

    @torch.jit.export
    def beats_per_second_of(self, text: str) -> float:
        """Of the beats that are heard; 0 if a text names no tempo."""
        beats, unit = self.meter_of(text)
        tempo = self.tempo_of(text) / 60.0
        return tempo if unit == 0 else tempo * self.bar_of(text) * unit / (4.0 * beats)

    @torch.jit.export
    def key_of(self, text: str) -> int:
        """Which of `foundation.keys.KEYS` a text names, such as Dm, D minor or Bb major; -1 if none.

        A small letter alone is a word of a sentence, unless the mode follows.
        """
        words = self.words_of(text)
        for index in range(len(words)):
            word, told = words[index], ""
            if index + 1 < len(words):
                told = words[index + 1].lower()
            tonic = "C D EF G A B".find(word[:1].upper())
            if tonic < 0:
                continue
            rest = word[1:]
            if rest[:1] == "#" or rest[:1] == "b":
                tonic = (tonic + (1 if rest[:1] == "#" else 11)) % 12
                rest = rest[1:]
            if rest == "" and told in ("minor", "min", "major", "maj", "m"):
                rest = told
            elif word == word.lower() and (rest == "" or word == "am"):
                continue
            mode = "M" if rest == "M" else rest.lower()
            if mode in ("m", "min", "minor"):
                return tonic + 12
            if mode in ("", "M", "maj", "major"):
                return tonic
        return -1
