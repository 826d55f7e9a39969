"""Names of layers in few letters, in figures and tables, that still differ."""

from collections import Counter
from collections.abc import Sequence

LONGEST_LABEL = 24
"""Letters of a layer's label; longer names lose parts that many share. See `test_labels_differ_and_are_short`."""


def short_labels(names: Sequence[str], longest: int = LONGEST_LABEL) -> list[str]:
    """Names without words between dots that many share, if some are too long and all of them stay different.

    What is still longer has its beginning replaced by an ellipsis, if the labels differ then.
    """
    parts = [_printable(name).split(".") for name in names]
    words = Counter(word for name in parts for word in dict.fromkeys(name) if word.isalpha() or "_" in word)
    for word, _ in words.most_common():
        if not any(word in name for name in parts if len(".".join(name)) > longest):
            continue
        tried = [[part for part in name if part != word] or name for name in parts]
        if len({*map(tuple, tried)}) == len({*map(tuple, parts)}):
            parts = tried
    labels = [".".join(name) for name in parts]
    cut = [label if len(label) <= longest else f"…{label[1 - longest :]}" for label in labels]
    counts = Counter(cut)
    return [short if counts[short] == 1 or label == short else label for short, label in zip(cut, labels, strict=True)]


def _printable(name: str) -> str:
    """A module's name may be any text."""
    return "".join(character if character.isprintable() else "?" for character in name) or "(the model)"
