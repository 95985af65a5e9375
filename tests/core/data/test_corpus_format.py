"""Corpus files as people have them: what they hold, or what they are instead of a list of words."""

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore_core.data.corpus import Corpus, parse, read_file
from makemore_core.data.corpus_format import MAX_COUNTED, CorpusFormat
from makemore_core.errors import CorpusError, CorpusMissing

NAMES = ("emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia", "evelyn", "abigail",
         "luna", "zoe", "o'neil", "mary ann")  # fmt: skip
SINGLE = tuple(name.replace(" ", "-") for name in NAMES)


def lines_of(told: Callable[[int, str], str], names: tuple[str, ...] = NAMES) -> str:
    return "\n".join(told(number, name) for number, name in enumerate(names, start=1))


def read(text: str, **layout: object) -> Corpus:
    return parse(text.encode(), "names", "names.txt", CorpusFormat(**layout))  # type: ignore[arg-type]


TABLES = {
    "--column 1 --separator , and --count 3": lines_of(lambda n, name: f"{name},F,{900 - n}"),
    "--column 2 --separator ,": lines_of(lambda n, name: f'1880,"{name}",0.0{900 - n},"girl"'),
    "--column 1 --separator tab and --count 2": lines_of(lambda n, name: f"{name}\t{900 - n}\r"),
    "--column 1 --separator ';' and --count 2": lines_of(lambda n, name: f"{name};{900 - n}  "),
    "--column 1 --separator '|'": lines_of(lambda n, name: f"{name}|x{n}"),
    "--column 1 --separator : and --count 2": lines_of(lambda n, name: f"{name}: {n}"),
    "--column 1 --separator blanks and --count 2": lines_of(
        lambda n, name: f"{name}   {900 - n}", SINGLE
    ),
    "--column 2 --separator blanks and --count 1": lines_of(
        lambda n, name: f"{900 - n:7d} {name}", SINGLE
    ),
    "--column 2 --separator blanks": lines_of(lambda n, name: f"{n}. {name}", SINGLE),
    "--column 1 --separator blanks": lines_of(lambda n, name: f"{name} {'FM'[n % 2]}", SINGLE),
    "--column 1 --separator ,": lines_of(lambda _, name: f'"{name}"'),
}


@pytest.mark.parametrize("header", [None, "name", "word"])
@pytest.mark.parametrize("options", TABLES)
def test_a_table_is_refused_with_the_options_that_read_it(options: str, header: str | None) -> None:
    """A file with columns is no list of words: what is suggested reads exactly the words, with
    their counts where a column has them, and the header is no word."""
    text = TABLES[options]
    if header and "," in text and '"emma"' not in text:
        text = f"{header},sex,count\n{text}"
    with pytest.raises(CorpusError) as refused:
        read(text)
    told = str(refused.value)
    given = shlex.split(options.replace(" and", ""))
    layout = dict(zip((name.removeprefix("--") for name in given[::2]), given[1::2], strict=True))
    assert all(f"--{name} {shlex.quote(value)}" in told for name, value in layout.items())
    assert "--separator none" in told
    names = NAMES if "mary ann" in text else SINGLE
    found = read(text, column=int(layout["column"]), separator=layout["separator"])
    assert names == found.words
    if "count" in layout:
        counts = {"column": int(layout["column"]), "count": int(layout["count"])}
        counted = read(text, separator=layout["separator"], **counts)
        assert dict.fromkeys(names) == dict.fromkeys(counted.words)
        assert len(counted.words) in (sum(range(1, 14)), sum(900 - n for n in range(1, 14)))


COMMANDS = {
    "a JSON array": '["' + '",\n "'.join(NAMES) + '"]',
    "a JSON array on one line": '["' + '", "'.join(NAMES) + '"]',
    "lines of JSON": lines_of(lambda n, name: f'{{"id": {n}, "name": "{name}"}}'),
    "lines of JSON arrays": lines_of(lambda n, name: f'["{name}", {n}]'),
    "comments": "# girls\n" + "\n".join(NAMES[:6]) + "\n#boys\n" + "\n".join(NAMES[6:]) + "\n  # x",
    "a numbered list": lines_of(lambda n, name: f"{n}) {name}"),
    "a numbered list without blanks": lines_of(lambda n, name: f"{n}.{name}"),
    "numbers behind": lines_of(lambda n, name: f"{name} {n}"),
    "bullets": lines_of(lambda _, name: f"- {name}"),
    "markup": lines_of(lambda _, name: f"<li>{name}</li>"),
    "words on one line": ", ".join(NAMES),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_what_is_no_table_is_refused_with_a_command_that_makes_words(
    kind: str, tmp_path: Path
) -> None:
    """The command that the one line of the refusal shows makes exactly the words of the file."""
    path = tmp_path / "the names.txt"
    path.write_text(COMMANDS[kind], encoding="utf-8")
    with pytest.raises(CorpusError) as refused:
        read_file(path)
    told = str(refused.value)
    assert str(path) in told
    command = told.split("`")[1]
    if shutil.which(shlex.split(command)[0]) is None:
        pytest.skip(f"no {shlex.split(command)[0]} here")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, timeout=20)
    assert NAMES == read_file(tmp_path / "words-only.txt").words
    if "\n" in COMMANDS[kind] and "1." not in COMMANDS[kind]:
        assert len(read_file(path, CorpusFormat(separator="none")).words) >= 13


LISTS = {
    "cities": ["new york", "los angeles", "san jose", "new jersey", "st louis"] * 4,
    "one first word": [f"new {name}" for name in NAMES],
    "two words": [f"{a} {b}" for a, b in zip(SINGLE, reversed(SINGLE), strict=True)],
    "numbers": [f"{n} {n + 1}" for n in range(20)],
    "dates": [f"2020-01-{n:02d}" for n in range(1, 20)],
    "hashtags": [f"#{name}" for name in SINGLE],
    "languages": ["c++", "c", "f#", "c#", "go", "r", "-", "+", "a/b", "k&r", "{}", "[]"] * 3,
    "with digits": ["b2b", "h2o", "3com", "7up", "mp3"] * 4,
    "a few commas": [*NAMES, "smith, john", "doe, jane"],
    "a few numbers": [*NAMES, "route 66", "area 51"],
    "quotes within": ["'tis", 'the "x"', "o'neil"] * 5,
    "other scripts": ["żółw", "日本", "naïve", "ёж", "😀😀", "ß", "ไทย", "می‌خواهم"] * 3,
}


@pytest.mark.parametrize("kind", LISTS)
def test_legitimate_words_are_taken_as_they_are(kind: str) -> None:
    """Words of several parts, with signs or digits, are words; a few odd ones are no layout."""
    assert tuple(LISTS[kind]) == read("\r\n".join(f"{word} " for word in LISTS[kind])).words


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=30),
       st.sampled_from([None, "none", ",", "tab", "blanks", '"', "ab", "\\"]),
       st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]), st.booleans())  # fmt: skip
def test_any_text_is_words_or_one_line_of_complaint(
    lines: list[str], separator: str | None, column: int | None, count: int | None, drop: bool
) -> None:
    """Whatever stands in a file, reading it ends in words without a boundary or in CorpusError."""
    text = "\n".join(lines)
    try:
        found = read(text, separator=separator, column=column, count=count, drop_unusable=drop)
    except CorpusError as error:
        assert len(str(error)) < 3_000
    else:
        assert not any("." in word or not word.strip() for word in found.words)
        assert found.words == tuple("\n".join(found.words).split("\n"))


def test_counts_are_repetitions() -> None:
    """A counted word is as good as its line repeated: the same words, the same fingerprint; kept
    once where repeated words are dropped."""
    table = lines_of(lambda n, name: f"{name},{n}")
    written_out = "\n".join(name for n, name in enumerate(NAMES, start=1) for _ in range(n))
    counted = read(table, column=1, count=2)
    assert read(written_out).fingerprint == counted.fingerprint
    assert any("13 lines, counted as 91 words" in note for note in counted.notes)
    once = parse(table.encode(), "names", "names.txt", CorpusFormat(count=2), dedupe=True)
    assert NAMES == once.words
    assert "olivia" not in read(table.replace("olivia,2", "olivia,0"), count=2).words


def test_counts_beyond_memory_are_refused() -> None:
    """Counts that add up to more than can be held are refused with a divisor, at once."""
    with pytest.raises(CorpusError, match="divide the counts by") as refused:
        read(lines_of(lambda n, name: f"{name},{10**15 + n}"), count=2)
    assert f"{MAX_COUNTED:,}" in str(refused.value)


def test_all_unusable_lines_are_named_or_left_out() -> None:
    """Every line with the boundary in it is named, or left out and counted if that is asked for."""
    wrong = [f"st. {name}" for name in NAMES]
    text = "\n".join(line for pair in zip(NAMES, wrong, strict=True) for line in pair)
    with pytest.raises(CorpusError) as refused:
        read(text)
    told = str(refused.value)
    assert told.startswith("corpus names.txt: 13 lines cannot be words (contains '.'")
    assert "line 2 'st. emma'" in told
    assert "24, 26" in told
    assert "--drop-unusable" in told
    kept = read(text, drop_unusable=True)
    assert NAMES == kept.words
    assert any("13 lines" in note for note in kept.notes)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("emma", "has 1 column"),
        (",7", "has no word in column 1"),
        ("emma,x", "has no whole number in column 2"),
        ("emma,-3", "has no whole number in column 2"),
        ("emma,1.5", "has no whole number in column 2"),
        ("e.mma,3", "contains '.'"),
        ("e\0mma,3", "NUL"),
    ],
)
def test_a_row_that_is_none_is_named(row: str, why: str) -> None:
    """A row without its columns is refused with its line, or left out if that is asked for."""
    text = lines_of(lambda n, name: f"{name},{n}") + f"\n{row}"
    with pytest.raises(CorpusError, match=r"line 14") as refused:
        read(text, column=1, count=2)
    assert why in str(refused.value)
    left = read(text, column=1, count=2, drop_unusable=True)
    assert set(NAMES) == set(left.words)


def test_a_byte_order_mark_is_never_a_letter() -> None:
    """Where files were joined a mark begins a word, or stands between two: no word has it."""
    text = "\ufeffemma\nava\n\ufeffmia\nolivia\ufeffzoe\n" + "\n".join(NAMES)
    found = read(text)
    assert ("emma", "ava", "mia", "olivia", "zoe", *NAMES) == found.words
    assert any("lines 3, 4: a byte-order mark" in note for note in found.notes)


def test_two_ways_to_write_an_accent_are_mentioned() -> None:
    """Words that differ in Unicode's form alone are taken as they are, and named with the remedy;
    composed ones are not worth a word."""
    plain = read("josé\n" + "\n".join(NAMES))
    assert () == plain.notes
    mixed = read("josé\njose\u0301\n" + "\n".join(NAMES))
    (note,) = mixed.notes
    assert 15 == len(mixed.words)
    assert "line 2" in note
    assert "josé" in note
    assert "NFC" in note
    assert "python3" in note


def test_characters_that_cannot_be_seen_are_mentioned_as_escapes() -> None:
    """Control, zero-width and direction characters are letters, said by their codes."""
    found = read("an\u200bna\nb\x07ob\ne\u202eve\n" + "\n".join(NAMES))
    (note,) = found.notes
    for code in (r"\x07", r"\u200b", r"\u202e", "lines 1, 2, 3"):
        assert code in note
    assert note.isprintable()


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("gunzip", b"\x1f\x8b\x08\0\0\0"),
        ("unzip", b"PK\x03\x04\x14\0"),
        ("iconv -f UTF-16 -t UTF-8", "\n".join(NAMES).encode("utf-16")),
        ("iconv -f UTF-16LE -t UTF-8", "\n".join(NAMES).encode("utf-16-le")),
        ("iconv -f UTF-16BE -t UTF-8", "\n".join(NAMES).encode("utf-16-be")),
        ("iconv -f UTF-32 -t UTF-8", "\n".join(NAMES).encode("utf-32")),
        ("line 2, byte 8: not UTF-8", "emma\njosé\n".encode("latin-1")),
        ("iconv -f WINDOWS-1252", "emma\njosé\n".encode("latin-1")),
    ],
)
def test_other_encodings_are_named_with_the_command(expected: str, content: bytes) -> None:
    """A file in another encoding or a compressed one is named as what it is."""
    with pytest.raises(CorpusError) as refused:
        parse(content, "names", "names.txt")
    assert expected in str(refused.value)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    """A directory, a device and a missing file are told apart; none is waited for."""
    with pytest.raises(CorpusError, match="is a directory"):
        read_file(tmp_path)
    with pytest.raises(CorpusError, match="is a device"):
        read_file(Path("/dev/zero"))
    for missing in (tmp_path / "no.txt", Path(__file__) / "no.txt"):
        with pytest.raises(CorpusMissing, match="no such file"):
            read_file(missing)
