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
        """What stands in the text box, word by word."""
        return text.replace(",", " ").replace(";", " ").split()

    def number_of(self, word: str, most: int) -> int:
        """A whole number, no more than `most`; -1 if the word is none."""
        number = 0
        for letter in word:
            digit = ord(letter) - ord("0")
            if digit < 0 or digit > 9:
                return -1
            number = min(10 * number + digit, most)
        return number if len(word) > 0 else -1

    @torch.jit.export
    def seconds_of(self, text: str) -> int:
        """The first whole number in a text that is no tempo, in its limits; SECONDS if there is none."""
        words = self.words_of(text)
        for index in range(len(words)):
            number = self.number_of(words[index].replace("s", ""), self.most_seconds)
            is_tempo = index + 1 < len(words) and words[index + 1].lower() == "bpm"
            if number >= 0 and not is_tempo:
                return max(number, 1)
        return self.seconds

    @torch.jit.export
    def tempo_of(self, text: str) -> float:
        """Beats a minute, such as 96 bpm, that stand in a text, in their limits; 0 if none do."""
        words = self.words_of(text)
        for index in range(len(words)):
            word = words[index].lower()
            if word == "bpm" and index > 0:
                word = words[index - 1] + "bpm"
            number = self.number_of(word.replace("bpm", ""), 1000)
            if word.endswith("bpm") and number > 0:
                return min(max(float(number), self.least_tempo), self.most_tempo)
        return 0.0

    @torch.jit.export
    def bar_of(self, text: str) -> int:
        """Beats of the bars of a metre such as 3/4 or 6/8 in a text; 0 if there is none."""
        for word in self.words_of(text):
            parts = word.split("/")
            if len(parts) == 2:
                beats, unit = self.number_of(parts[0], 99), self.number_of(parts[1], 99)
                is_compound = unit >= 8 and beats > 3 and beats % 3 == 0
                if beats > 0 and unit > 0:
                    return beats // 3 if is_compound else beats
        return 0

    @torch.jit.export
    def key_of(self, text: str) -> int:
        """Which of KEYS a text names, such as Dm, D minor or Bb major; -1 if none."""
        words = self.words_of(text)
        for index in range(len(words)):
            word = words[index]
            tonic = "C D EF G A B".find(word[:1].upper())
            if tonic < 0 or word[:1] == " ":
                continue
            rest = word[1:]
            if rest[:1] == "#" or rest[:1] == "b":
                tonic = (tonic + (1 if rest[:1] == "#" else 11)) % 12
                rest = rest[1:]
            told = words[index + 1].lower() if index + 1 < len(words) else ""
            is_minor = rest == "m" or rest == "min" or (rest == "" and (told == "minor" or told == "min"))
            is_minor = is_minor or (rest == "" and told != "major" and word[:1] != word[:1].upper())
            if is_minor or rest == "" or rest == "maj":
                return tonic + 12 * int(is_minor)
        return -1
