"""Nearest-neighbour classification by weighted character trigrams, no model needed."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping


_WORDS = re.compile(r"\w+")


def _features(text: str) -> Counter[str]:
    """Words and their trigrams, so that inflections and typing errors still meet."""
    found: Counter[str] = Counter()
    for word in _WORDS.findall(text.casefold()):
        padded = f" {word} "
        found[padded] += 1
        for start in range(len(padded) - 2):
            found[padded[start : start + 3]] += 1
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
        if empty:
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
        length = math.sqrt(sum(weight * weight for weight in weighted.values())) or 1.0
        return {name: weight / length for name, weight in weighted.items()}

    def __call__(self, prompt: str) -> tuple[str, float]:
        """The nearest intent and its similarity, 0 (nothing shared) to 1 (the same)."""
        asked = self._unit(_features(prompt))
        best, intent = -1.0, ""
        for candidate, example in self._examples:
            score = sum(
                weight * example.get(name, 0.0) for name, weight in asked.items()
            )
            if score > best:
                best, intent = score, candidate
        return intent, min(1.0, best)
