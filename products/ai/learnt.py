"""What the shop's own products say: an averaged perceptron over their words.

A product that staff have put into a category is an example. The perceptron
(Rosenblatt 1958; averaged, Collins 2002, "Discriminative training methods for
hidden Markov models", with a margin) needs no library, learns a thousand
products in about a second, and what it learnt is a few flat arrays.
"""

import math
import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

_EPOCHS = 6
_MARGIN = 0.3
# Weights below this part of the largest change no answer worth the memory.
_SMALL = 0.01

Features = Mapping[str, float]


def _key(feature: str) -> int:
    return int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")


class Learnt:
    """Weights by feature and class, kept as flat arrays sorted by the feature's hash."""

    def __init__(
        self,
        classes: Sequence[int],
        keys: "array[int]",
        rarity: "array[float]",
        starts: "array[int]",
        of_class: "array[int]",
        weights: "array[float]",
    ) -> None:
        self.classes = list(classes)
        self.keys = keys
        self.rarity = rarity
        self.starts = starts
        self.of_class = of_class
        self.weights = weights

    @classmethod
    def learn(cls, examples: Sequence[Features], answers: Sequence[int]) -> "Learnt":
        """Learn from products' features and their classes (primary keys). Always the same result.

        Features that only one product has tell nothing of others, and are left out.
        """
        times = Counter(name for example in examples for name in example)
        rare = {
            name: math.log((len(examples) + 1) / (count + 0.5))
            for name, count in times.items()
            if count > 1 or len(examples) < 500
        }
        vectors = [_unit(example, rare) for example in examples]
        classes = sorted(set(answers))
        index_of = {pk: index for index, pk in enumerate(classes)}
        weights = _train(vectors, [index_of[pk] for pk in answers], len(classes))
        return cls._packed(classes, rare, weights)

    @classmethod
    def _packed(
        cls,
        classes: Sequence[int],
        rare: Mapping[str, float],
        weights: Mapping[str, Mapping[int, float]],
    ) -> "Learnt":
        largest = max((abs(w) for found in weights.values() for w in found.values()), default=0.0)
        rows = sorted((_key(name), name) for name in rare)
        packed = cls(classes, array("Q"), array("f"), array("I", [0]), array("H"), array("f"))
        for key, name in rows:
            packed.keys.append(key)
            packed.rarity.append(rare[name])
            for index, weight in sorted(weights.get(name, {}).items()):
                if abs(weight) >= _SMALL * largest:
                    packed.of_class.append(index)
                    packed.weights.append(weight)
            packed.starts.append(len(packed.weights))
        return packed

    def scores(self, example: Features) -> tuple[dict[int, float], float]:
        """Return each class's score by primary key, and how familiar the product's words are.

        Familiarity is the share of the product's weight that was seen before: 0 to 1.
        """
        unseen = math.log(len(self.keys) + 2)
        known: list[tuple[int, float]] = []
        strange = 0.0
        for name, weight in example.items():
            key = _key(name)
            at = bisect_left(self.keys, key)
            if at < len(self.keys) and self.keys[at] == key:
                known.append((at, weight * self.rarity[at]))
            elif name.startswith("w:"):
                strange += (weight * unseen) ** 2
        heard = sum(weight * weight for _at, weight in known)
        length = math.sqrt(heard) or 1.0
        scores = [0.0] * len(self.classes)
        for at, weight in known:
            for place in range(self.starts[at], self.starts[at + 1]):
                scores[self.of_class[place]] += weight / length * self.weights[place]
        familiar = heard / (heard + strange) if heard else 0.0
        return dict(zip(self.classes, scores, strict=True)), familiar


def _unit(example: Features, rare: Mapping[str, float]) -> dict[str, float]:
    """Return features weighed by how rare they are, as a vector of length 1."""
    weighed = {name: value * rare[name] for name, value in example.items() if name in rare}
    length = math.sqrt(sum(value * value for value in weighed.values())) or 1.0
    return {name: value / length for name, value in weighed.items()}


def _train(
    vectors: Sequence[Mapping[str, float]], answers: Sequence[int], classes: int
) -> dict[str, dict[int, float]]:
    """Return averaged weights by feature and class."""
    weights: dict[str, dict[int, float]] = {}
    # Each change times the step it came at: the average without adding up every step.
    late: dict[str, dict[int, float]] = {}
    if classes < 2:
        return weights
    shuffled = random.Random(1)  # noqa: S311
    order = list(range(len(vectors)))
    step = 1
    for _epoch in range(_EPOCHS):
        shuffled.shuffle(order)
        for number in order:
            vector, right = vectors[number], answers[number]
            scores = [0.0] * classes
            for name, value in vector.items():
                for index, weight in weights.get(name, {}).items():
                    scores[index] += value * weight
            rival = max(
                (index for index in range(classes) if index != right), key=scores.__getitem__
            )
            if scores[right] - scores[rival] < _MARGIN:
                for name, value in vector.items():
                    found, lately = weights.setdefault(name, {}), late.setdefault(name, {})
                    for index, change in ((right, value), (rival, -value)):
                        found[index] = found.get(index, 0.0) + change
                        lately[index] = lately.get(index, 0.0) + step * change
            step += 1
    return {
        name: {index: weight - late[name][index] / step for index, weight in found.items()}
        for name, found in weights.items()
    }
