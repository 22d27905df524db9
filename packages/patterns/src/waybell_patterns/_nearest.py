"""Nearest-neighbour classification by weighted character trigrams, no model needed."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping


def _features(text: str) -> Counter[str]:
    """Words and their trigrams, so that inflections and typing errors still meet."""
    found: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.casefold()):
        padded = f" {word} "
        found[padded] += 1
        found.update(padded[start : start + 3] for start in range(len(padded) - 2))
    return found


class NearestExample:
    """The intent of the most similar example, and the cosine similarity to it.

    Args:
        examples: One or more example prompts by intent.

    Raises:
        ValueError: An intent has no example.
    """

    __slots__ = ("_examples", "_weights")

    def __init__(self, examples: Mapping[str, Iterable[str]]) -> None:
        texts = [
            (intent, _features(text))
            for intent, given in examples.items()
            for text in ([given] if isinstance(given, str) else given)
        ]
        empty = set(examples) - {intent for intent, features in texts if features}
        if empty or not texts:
            raise ValueError(f"examples= has no usable text for {sorted(empty)}")
        seen = Counter(name for _, features in texts for name in features)
        self._weights = {
            name: math.log(1 + len(texts) / count) for name, count in seen.items()
        }
        self._examples = [(intent, self._unit(features)) for intent, features in texts]

    def _unit(self, features: Counter[str]) -> dict[str, float]:
        """TF-IDF weights scaled to length 1; what no example has counts as rare."""
        rare = max(self._weights.values())
        weighted = {
            name: (1 + math.log(count)) * self._weights.get(name, rare)
            for name, count in features.items()
        }
        length = math.hypot(*weighted.values()) or 1.0
        return {name: weight / length for name, weight in weighted.items()}

    def __call__(self, prompt: str) -> tuple[str, float]:
        """The nearest intent and its similarity, 0 (nothing shared) to 1 (the same)."""
        asked = self._unit(_features(prompt))
        likeness = [
            (sum(weight * example.get(name, 0.0) for name, weight in asked.items()), -n)
            for n, (_, example) in enumerate(self._examples)
        ]
        best, place = max(likeness)
        return self._examples[-place][0], min(1.0, best)
