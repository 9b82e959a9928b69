"""Text as it is searched: Hangul taken apart into the keys that type it.

A syllable is split into its letters (jamo), compound vowels and compound
finals into theirs, so that whatever has been typed so far, also half a
syllable, is a part of what it will become: 노틉 (ㄴㅗㅌㅡㅂ) is where 노트북
(ㄴㅗㅌㅡㅂㅜㄱ) begins. Doubled consonants are one key and stay one letter.

The arithmetic of syllables is that of the Unicode Standard, section 3.12.
"""

import re
import unicodedata
from functools import lru_cache

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = ["", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"]
# Letters that are typed with two keys.
_COMPOUND = {
    both: first + second
    for both, first, second in zip(
        "ㅘㅙㅚㅝㅞㅟㅢㄳㄵㄶㄺㄻㄼㄽㄾㄿㅀㅄ",
        "ㅗㅗㅗㅜㅜㅜㅡㄱㄴㄴㄹㄹㄹㄹㄹㄹㄹㅂ",
        "ㅏㅐㅣㅓㅔㅣㅣㅅㅈㅎㄱㅁㅂㅅㅌㅍㅎㅅ",
        strict=True,
    )
}
_FIRST, _LAST = 0xAC00, 0xD7A3


def _split(letter: str) -> str:
    return _COMPOUND.get(letter, letter)


# One entry a syllable: `str.translate` does the rest in C.
_LETTERS: dict[int, str] = {ord(letter): parts for letter, parts in _COMPOUND.items()}
_FIRST_LETTER: dict[int, str] = {}
for _code in range(_FIRST, _LAST + 1):
    _index = _code - _FIRST
    _initial = _INITIALS[_index // 588]
    _LETTERS[_code] = _initial + _split(_VOWELS[_index % 588 // 28]) + _split(_FINALS[_index % 28])
    _FIRST_LETTER[_code] = _initial

# Full-width forms of ASCII. NFKC would do, but it also turns the letters that
# people type one by one into others, which belong inside syllables only.
_WIDTH = {0xFF01 + n: 0x21 + n for n in range(94)} | {0x3000: 0x20}
# Signs for several letters (㎖, Ⅱ, ①), of which NFKC is right; Latin letters without
# their marks (é, ø): few keyboards have them.
_PLAIN: dict[int, int | str] = {**_WIDTH}
for _code in (*range(0x2070, 0x208A), *range(0x2150, 0x2180), *range(0x2460, 0x2474),
              *range(0x3380, 0x33E0), 0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE):  # fmt: skip
    _PLAIN[_code] = unicodedata.normalize("NFKC", chr(_code))
for _code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
    _base = unicodedata.normalize("NFD", chr(_code))[0]
    if _base.isascii():
        _PLAIN[_code] = _base
_PLAIN |= {ord(letter): plain for letter, plain in zip("ØøŁłĐđ", "OoLlDd", strict=True)}
_PLAIN |= {ord("Æ"): "AE", ord("æ"): "ae", ord("Œ"): "OE", ord("œ"): "oe"}
# What of these stands in an index that an older version of the code has written (folded).
UNFOLDED = "[" + "".join(chr(code) for code in _PLAIN if code not in _WIDTH) + "]"
_NOT_WORD = re.compile(r"[\W_]+")
_CONSONANTS = frozenset(_INITIALS)
_NOT_INITIALS = frozenset(_VOWELS)

# The two-set keyboard, KS X 5002.
_KEYS = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnmQWERTOP",
        "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡㅃㅉㄸㄲㅆㅒㅖ",
        strict=True,
    )
)
_LETTER_OF_KEY = {
    ord(key): _KEYS.get(key) or _KEYS[key.lower()]
    for key in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
}
_KEY_OF_LETTER = {ord(letter): key.lower() for key, letter in _KEYS.items()}


# The words of a catalogue come again and again in suggestions.
@lru_cache(maxsize=8_000)
def fold(text: str) -> str:
    """Return `text` without what does not matter: case, width, accents, punctuation, spaces.

    Words are parted by one space; NFC, so that a syllable is one character.
    """
    text = unicodedata.normalize("NFC", text).translate(_PLAIN).casefold()
    return _NOT_WORD.sub(" ", text).strip()


def as_typed(text: str) -> list[str]:
    """Return the words of `text`, each as its keys were struck: with its capitals.

    One for each word of the folded text.
    """
    typed = unicodedata.normalize("NFC", text).translate(_PLAIN)
    words, folded = _NOT_WORD.sub(" ", typed).split(), fold(text).split()
    # Some letters are several, folded, and end a word.
    return words if len(words) == len(folded) else folded


@lru_cache(maxsize=8_000)
def decompose(text: str) -> str:
    """Return folded text with every syllable as the letters that type it."""
    return fold(text).translate(_LETTERS)


def initials(text: str) -> str:
    """Return folded text with every syllable as its first consonant: 노트북 is ㄴㅌㅂ."""
    return fold(text).translate(_FIRST_LETTER)


# The letters of both keyboards.
LATIN, KOREAN = "abcdefghijklmnopqrstuvwxyz", "".join(dict.fromkeys(_KEYS.values()))

# Keys of a word that can be told from another in spite of a slip.
WORD_KEYS = range(3, 73)
_WORD_LETTERS = 24


def words_of(text: str) -> list[tuple[str, str]]:
    """Return the words of `text` that typing errors are sought in, each with its keys.

    Letters only, three keys at least: what has figures in it is a number or a
    model, and its neighbours are other ones.
    """
    return [
        (word, keys)
        for word, keys in zip(fold(text).split(), decompose(text).split(), strict=True)
        if len(keys) in WORD_KEYS and len(word) <= _WORD_LETTERS and word.isalpha()
    ]


def is_syllables(word: str) -> bool:
    """Whether a folded word consists of whole Hangul syllables."""
    return all(_FIRST <= ord(letter) <= _LAST for letter in word)


def is_initials(word: str) -> bool:
    """Whether the Hangul in a word is bare consonants, and so means the beginnings of syllables.

    Letters and figures may stand among them: 2ㅅㄷ is 2세대.
    """
    letters = word.translate(_LETTERS)
    return not _CONSONANTS.isdisjoint(letters) and _NOT_INITIALS.isdisjoint(letters)


def other_layout(text: str) -> str:
    """Return, decomposed, what the same keys type on the other keyboard layout.

    `shxmqnr` is 노트북 typed with the keyboard set to English, ㅣ메새ㅔ is
    `laptop` the other way round. Text in which both scripts stand is no slip
    of that kind and comes back empty.
    """
    text = unicodedata.normalize("NFC", text).translate(_WIDTH)
    latin = any("a" <= letter <= "z" for letter in text.lower())
    letters = text.translate(_LETTERS)
    hangul = letters != text or any(ord(letter) in _KEY_OF_LETTER for letter in text)
    if latin == hangul:
        return ""
    other = text.translate(_LETTER_OF_KEY) if latin else letters.translate(_KEY_OF_LETTER)
    return _NOT_WORD.sub(" ", other).strip()
