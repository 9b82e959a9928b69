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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    def learn(cls, examples: Iterable[Features], answers: Sequence[int]) -> "Learnt":
        """Learn from products' features and their classes (primary keys). Always the same result.

        Features that only one product has tell nothing of others, and are left
        out where there are many products.
        """
        numbers: dict[str, int] = {}
        times = array("I")
        held: list[_Vector] = []
        for example in examples:
            vector = _Vector(array("I"), array("f"))
            for name, value in example.items():
                number = numbers.setdefault(name, len(numbers))
                if number == len(times):
                    times.append(0)
                times[number] += 1
                vector.features.append(number)
                vector.values.append(value)
            held.append(vector)
        least = 1 if len(held) < 500 else 2
        rarity = array(
            "f",
            (
                math.log((len(held) + 1) / (count + 0.5)) if count >= least else 0.0
                for count in times
            ),
        )
        for vector in held:
            vector.weigh(rarity)
        classes = sorted(set(answers))
        index_of = {pk: index for index, pk in enumerate(classes)}
        weights = _train(held, [index_of[pk] for pk in answers], len(classes), len(numbers))
        largest = max((abs(w) for found in weights for w in found.values()), default=0.0)
        packed = cls(classes, array("Q"), array("f"), array("I", [0]), array("H"), array("f"))
        rows = ((_key(name), number) for name, number in numbers.items() if rarity[number])
        for key, number in sorted(rows):
            packed.keys.append(key)
            packed.rarity.append(rarity[number])
            for index, weight in sorted(weights[number].items()):
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


@dataclass
class _Vector:
    """One product: the numbers of its features, and how much each weighs."""

    features: "array[int]"
    values: "array[float]"

    def weigh(self, rarity: "array[float]") -> None:
        """Weigh features by how rare they are, as a vector of length 1; drop those of no use."""
        pairs = [
            (number, value * rarity[number])
            for number, value in zip(self.features, self.values, strict=True)
            if rarity[number]
        ]
        length = math.sqrt(sum(value * value for _number, value in pairs)) or 1.0
        self.features = array("I", (number for number, _value in pairs))
        self.values = array("f", (value / length for _number, value in pairs))


def _train(
    vectors: Sequence[_Vector], answers: Sequence[int], classes: int, features: int
) -> list[dict[int, float]]:
    """Return averaged weights by feature: of each class that it speaks for or against."""
    weights: list[dict[int, float]] = [{} for _feature in range(features)]
    if classes < 2:
        return weights
    # Each change times the step it came at: the average without adding up every step.
    late: list[dict[int, float]] = [{} for _feature in range(features)]
    shuffled = random.Random(1)  # noqa: S311
    order = list(range(len(vectors)))
    step = 1
    for _epoch in range(_EPOCHS):
        shuffled.shuffle(order)
        for number in order:
            vector, right = vectors[number], answers[number]
            scores: dict[int, float] = {}
            for feature, value in zip(vector.features, vector.values, strict=True):
                for index, weight in weights[feature].items():
                    scores[index] = scores.get(index, 0.0) + value * weight
            own = scores.pop(right, 0.0)
            # A class that nothing speaks of has 0, as at the beginning all have.
            rival = max(scores, key=scores.__getitem__, default=-1)
            if rival < 0 or (scores[rival] < 0 and len(scores) + 1 < classes):
                rival = next(
                    index for index in range(classes) if index != right and index not in scores
                )
            if own - scores.get(rival, 0.0) < _MARGIN:
                for feature, value in zip(vector.features, vector.values, strict=True):
                    found, lately = weights[feature], late[feature]
                    for index, change in ((right, value), (rival, -value)):
                        found[index] = found.get(index, 0.0) + change
                        lately[index] = lately.get(index, 0.0) + step * change
            step += 1
    for found, lately in zip(weights, late, strict=True):
        for index in found:
            found[index] -= lately[index] / step
    return weights
