r"""LaTeX: what stands for a letter is the letter, and nothing else changes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.plain.code import read_code
from retriever.reading.plain.latex import letters_of_accents


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"K{\"o}ln K\"oln K\"{o}ln K{\"{o}}ln \"Uber", "Köln Köln Köln Köln Über"),
        (r"caf\'e r\'{e}sum\'e \'Etude", "café résumé Étude"),
        (
            r"gar\c{c}on \v{C}apek Erd\H{o}s Mo\v s pi\k{e}kny \r{A}",
            "garçon Čapek Erdős Moš piękny Å",
        ),
        (r"na\"{\i}ve na\"\i ve \^{\i}le", "naïve naïve île"),
        (r"Stra\ss e Stra{\ss}e Stra\ss{}e Fu\ss.", "Straße Straße Straße Fuß."),
        (r"S{\o}ren S\o ren \O re {\L}\'od\'z \AE gir \aa", "Søren Søren Øre Łódź Ægir å"),
        (r"trans\-por\-ta\-tion", "transportation"),
        (r"Kr\d{s}na and f \d{x}", "Krṣna and f \\d{x}"),
        (r"\cite{a} \verb|\"o| \begin{verbatim}\"o\end{verbatim} \\'a", None),
        (r"\begin{tabbing}\=Name\'a\end{tabbing}", None),
        (r"\newcommand{\L}{\mathcal L} $\L$", None),
        (r"\operatorname \url{a} \kappa \rho \omega \lambda \order \thanks \ngeq", None),
        ('\\usepackage[ngerman]{babel}\nK"oln, Stra"se, Bett"-wäsche', None),
    ],
)
def test_accents(source, text):
    if "babel" in source:
        text = "\\usepackage[ngerman]{babel}\nKöln, Straße, Bettwäsche"
    assert letters_of_accents(source) == (source if text is None else text)


MARKS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v",
         "\u0327": "c", "\u030b": "H", "\u0328": "k", "\u030a": "r", "\u0306": "u"}  # fmt: skip
ACCENTED = [
    chr(code)
    for code in range(0xC0, 0x17F)
    if len(parts := unicodedata.normalize("NFD", chr(code))) == 2 and parts[1] in MARKS
]


@given(st.lists(st.sampled_from([*ACCENTED, "a", "s", " "]), max_size=20), st.booleans())
def test_what_is_written_with_commands_comes_back(letters, outer):
    def command(letter: str) -> str:
        if letter not in ACCENTED:
            return letter
        base, mark = unicodedata.normalize("NFD", letter)
        written = f"\\{MARKS[mark]}{{{base}}}"
        return f"{{{written}}}" if outer else written

    assert letters_of_accents("".join(map(command, letters))) == "".join(letters)


def test_facts():
    found = read_code(
        b"\\documentclass{article}\n"
        b'\\title[Short]{The \\emph{Great} Lighthouse:\\\\ of {K\\"o}ln\\thanks{Grant {7}}}\n'
        b"\\author{Ada \\textsc{Lovelace}\\inst{1} \\and Bob~R. % note\n}\\date{7th March 2024}\n",
        "a.tex",
    )
    assert found.title == "The Great Lighthouse: of Köln"
    assert found.author == "Ada Lovelace, Bob R."
    assert found.date == "2024-03-07"


def test_lines_stay():
    source = 'Die Universit\\"at\nin K{\\"o}ln,\r\n\\ss\nEnd'
    text = read_code(source.encode(), "a.tex").pages[0].text
    assert text == "Die Universität\nin Köln,\nß\nEnd"
    assert read_code(b'x = "\\"o"', "a.py").pages[0].text == 'x = "\\"o"'
