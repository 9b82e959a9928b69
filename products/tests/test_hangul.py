"""Hangul taken apart."""

import unicodedata

import pytest

from products import hangul

SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4)]


def keys(syllable):
    """Take a syllable apart by another road: its canonical decomposition, by letter names."""
    split = {
        "WA": "O A", "WAE": "O AE", "OE": "O I", "WEO": "U EO", "WE": "U E", "WI": "U I",
        "YI": "EU I", "KIYEOK-SIOS": "KIYEOK SIOS", "NIEUN-CIEUC": "NIEUN CIEUC",
        "NIEUN-HIEUH": "NIEUN HIEUH", "RIEUL-KIYEOK": "RIEUL KIYEOK",
        "RIEUL-MIEUM": "RIEUL MIEUM", "RIEUL-PIEUP": "RIEUL PIEUP", "RIEUL-SIOS": "RIEUL SIOS",
        "RIEUL-THIEUTH": "RIEUL THIEUTH", "RIEUL-PHIEUPH": "RIEUL PHIEUPH",
        "RIEUL-HIEUH": "RIEUL HIEUH", "PIEUP-SIOS": "PIEUP SIOS",
    }  # fmt: skip
    for letter in unicodedata.normalize("NFD", syllable):
        name = unicodedata.name(letter).split()[-1]
        for part in split.get(name, name).split():
            yield unicodedata.lookup(f"HANGUL LETTER {part}")


def test_every_syllable_comes_apart_as_unicode_says():
    for syllable in SYLLABLES:
        assert hangul.decompose(syllable) == "".join(keys(syllable)), syllable


def test_what_is_typed_on_the_way_to_a_syllable_begins_it():
    """A vowel or final may still grow, and a final may move to the next syllable."""
    for index, syllable in enumerate(SYLLABLES):
        open_one = SYLLABLES[index - index % 28]
        assert hangul.decompose(syllable).startswith(hangul.decompose(open_one))
    for typed in ("ㄴ", "노", "놑", "노트", "노틉", "노트부", "노트북"):
        assert hangul.decompose("노트북").startswith(hangul.decompose(typed)), typed


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Mac\tBook—Pro  ", "mac book pro"),
        ("ＬＧ　노트북", "lg 노트북"),
        (unicodedata.normalize("NFD", "노트북"), "노트북"),
        ("100% 면_티", "100 면 티"),
        ("ㄴㅌㅂ", "ㄴㅌㅂ"),
        ("!?", ""),
        ("L'Oréal Crème Brûlée Ø Œuvre", "l oreal creme brulee o oeuvre"),
        (unicodedata.normalize("NFD", "Nescafé"), "nescafe"),
        ("우유 500㎖ 2㎏ 30㎝", "우유 500ml 2kg 30cm"),
        ("마크Ⅱ ①호 10m²", "마크ii 1호 10m2"),
    ],
)
def test_fold(text, folded):
    assert hangul.fold(text) == folded


def test_words_as_typed_have_their_capitals():
    assert hangul.as_typed(" dhEnrl-200g ") == ["dhEnrl", "200g"]
    # One for each folded word, where folding ends a word too.
    assert hangul.as_typed("ΐX Yz") == hangul.fold("ΐX Yz").split()


def test_initials():
    assert hangul.initials("삼성 노트북 LG") == "ㅅㅅ ㄴㅌㅂ lg"
    assert hangul.is_initials("ㄴㅌㅂ")
    assert hangul.is_initials("ㄳ")
    assert not hangul.is_initials("노ㅌㅂ")
    assert not hangul.is_initials("ㅏ")
    assert not hangul.is_initials("")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shxmqnr", "노트북"),
        ("ShxmQnR", "노트뿎"),
        ("Rhc dhkd", "꽃 왕"),
        ("ㅣ메새ㅔ", "laptop"),
        ("메ㅔㅣㄷ", "apple"),
    ],
)
def test_the_other_layout(typed, meant):
    assert hangul.other_layout(typed) == hangul.decompose(meant)


@pytest.mark.parametrize("text", ["lg노트북", "123", ""])
def test_no_slip_of_the_layout(text):
    assert hangul.other_layout(text) == ""
