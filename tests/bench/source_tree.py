"""A tree like the source of a middling program: 2,400 files in 310 folders, 54 MB, nothing of it anybody's.

Everything follows from one seed. Folders grow by hanging each under an earlier one, so a few are wide and some are
deep. Sizes have a long tail (log-normal, half of the files below 4 KiB), and six files of 1 to 8 MB stand for what
lies in such trees besides code. Content is text from an invented vocabulary with the frequencies of words in a
language (the n-th word is about n times rarer than the first), broken into indented lines: zstd leaves three tenths
of it, about as much as of source.
"""

import random
from collections.abc import Iterator
from itertools import accumulate
from math import log
from pathlib import Path

FILES = 2_400
FOLDERS = 310
BYTES = 54_000_000
SEED = 5

_LARGE = (8_000_000, 6_000_000, 4_500_000, 3_000_000, 1_500_000, 1_000_000)
_MIDDLE, _SPREAD, _MOST = 5_000.0, 1.5, 600_000
"""Bytes: the median of the other files' sizes, the width of their logarithms, and the largest."""

_ENDINGS = ("c", "h", "md", "py", "txt", "json", "yaml", "")
_SYLLABLES = (
    "an",
    "ber",
    "co",
    "der",
    "el",
    "fi",
    "gra",
    "ho",
    "in",
    "ka",
    "lor",
    "mes",
    "no",
    "pu",
    "ris",
    "tem",
)


def write_source_tree(root: Path) -> None:
    """Write the tree below `root`, the same one each time."""
    chance = random.Random(SEED)
    words = [_word(chance) for _ in range(6_000)]
    folders = [root]
    for number in range(FOLDERS - 1):
        folders.append(chance.choice(folders) / f"{chance.choice(words)}{number}")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        *(f"{word} " for word in words),
        " = ",
        "(",
        ");\n",
        "\n\n",
        *("\n" + "    " * n for n in range(5)),
    ]
    # Separators are as frequent as the most frequent words.
    weights = [1 / (n + 3) for n in range(len(words))] + [0.25] * (len(pieces) - len(words))
    summed = list(accumulate(weights))
    for number, size in enumerate(_sizes(chance)):
        ending = chance.choice(_ENDINGS)
        name = f"{chance.choice(words)}_{number}" + (f".{ending}" if ending else "")
        with (chance.choice(folders) / name).open("w", encoding="ascii", newline="") as stream:
            left = size
            while left:
                text = "".join(chance.choices(pieces, cum_weights=summed, k=min(left, 100_000) // 4 + 1))[
                    :left
                ]
                left -= stream.write(text)


def _sizes(chance: random.Random) -> Iterator[int]:
    """Bytes of each file, BYTES together."""
    small = [min(_MOST, chance.lognormvariate(log(_MIDDLE), _SPREAD)) for _ in range(FILES - len(_LARGE))]
    scale = (BYTES - sum(_LARGE)) / sum(small)
    sizes = [*_LARGE, *(int(size * scale) for size in small)]
    sizes[0] += BYTES - sum(sizes)
    chance.shuffle(sizes)
    yield from sizes


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(_SYLLABLES, k=chance.choice((1, 2, 2, 3, 4))))
