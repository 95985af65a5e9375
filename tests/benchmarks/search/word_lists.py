"""Makes word lists of other packages (Faker, pyspellchecker), for the tables and for measuring.

The words are those packages' own, so a list is made where it is needed and is never committed; its
SHA-256 tells whether the installed package still has the same words.
"""

import argparse
import functools
import gzip
import hashlib
import importlib
import importlib.resources
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FIRST_NAMES = ("first_names", "first_names_male", "first_names_female")
LAST_NAMES = ("last_names", "last_names_male", "last_names_female")
TOWNS = ("cities", "city_names", "towns")
DIRECTORY = Path("build/words")
"""Where the lists are made unless something else is asked for."""


@dataclass(frozen=True)
class WordList:
    """A list, by the rule that makes it."""

    use: Literal["design", "held back", "live"]
    """Whether algorithms are designed on its table, only judged on it, or it is never recorded and
    opened for a comparison of whole programs alone."""
    words: Callable[[], list[str]]
    sha256: str
    """Of the file."""


def faker_words(provider: str, locale: str, attributes: tuple[str, ...]) -> list[str]:
    """Returns what these attributes of one of Faker's providers list, in lower case; no dots."""
    module = importlib.import_module(f"faker.providers.{provider}.{locale}")
    words: set[str] = set()
    for name in attributes:
        listed = getattr(module.Provider, name, ())
        if not isinstance(listed, property):
            words.update(word.strip().lower() for word in listed)
    return sorted(word for word in words if word and "." not in word)


def dictionary_words(language: str, count: int) -> list[str]:
    """Returns so many words of two letters or more, drawn from one of pyspellchecker's lists."""
    packed = importlib.resources.files("spellchecker") / "resources" / f"{language}.json.gz"
    listed = json.loads(gzip.decompress(packed.read_bytes()))
    return drawn([word for word in listed if word.isalpha() and len(word) > 1], count)


def drawn(words: Iterable[str], count: int) -> list[str]:
    """Returns so many of the words, the same each time."""
    return sorted(random.Random(0).sample(sorted(words), count))


def few_faker_words(
    provider: str, locale: str, attributes: tuple[str, ...], count: int
) -> list[str]:
    """Returns so many of `faker_words`."""
    return drawn(faker_words(provider, locale, attributes), count)


WORD_LISTS = {
    "towns-cs": WordList(
        "design",
        functools.partial(faker_words, "address", "cs_CZ", TOWNS),
        "762e28d9cea758d2d22262d0a85d3001f5a7f55fe339f0a18977a341521ee2ea",
    ),
    "surnames-sk": WordList(
        "design",
        functools.partial(faker_words, "person", "sk_SK", LAST_NAMES),
        "31d1b8a15f3d79bdbaee8e7af776214946006ef0644f298ba6a782bd60cd5a53",
    ),
    "spanish-5000": WordList(
        "design",
        functools.partial(dictionary_words, "es", 5_000),
        "7ec928893a67c97b34683ea41e771e4ce34ef7b23335166cca82f15fd1418136",
    ),
    "towns-nl": WordList(
        "held back",
        functools.partial(faker_words, "address", "nl_NL", TOWNS),
        "3ae2d654fba58c147f2589c84f90a103940145b04b486071f30f422b3604aa4a",
    ),
    "first-is": WordList(
        "held back",
        functools.partial(faker_words, "person", "is_IS", FIRST_NAMES),
        "a84ef824b268e52ad542333d60032f628e918e0f5494c8ea024afe3697f58509",
    ),
    "russian-8000": WordList(
        "held back",
        functools.partial(dictionary_words, "ru", 8_000),
        "82d0f93e0f5e00b44d5dd1cd07e4361181963477bfb4f94c081efa1bc2f2ac11",
    ),
    "latvian-20000": WordList(
        "live",
        functools.partial(dictionary_words, "lv", 20_000),
        "8c33cacaf06c9305cff03a7e30d98d95840a64bc4a072dd8d429b51c62db5ada",
    ),
    "french-20000": WordList(
        "live",
        functools.partial(dictionary_words, "fr", 20_000),
        "08b98fe0d1b94532eb95b87eb1b36eb5c25fcd392fc87270a97bcaf9d418e157",
    ),
    "surnames-ru-400": WordList(
        "live",
        functools.partial(few_faker_words, "person", "ru_RU", LAST_NAMES, 400),
        "c725cf81aed4df23bcec6b1f513b8b797cfc989f61ce3aa06a4430295d304d1f",
    ),
    "towns-sk-2400": WordList(
        "live",
        functools.partial(few_faker_words, "address", "sk_SK", TOWNS, 2_400),
        "eab3aa798b96fced9765e353a13112e87dad4b30b31a5df010ac169301bdaea9",
    ),
}


class OtherWordsError(Exception):
    """The installed package lists other words than those a table was recorded on."""


def make(name: str, directory: Path) -> Path:
    """Writes a list as a file with one word per line, unless it is there; returns its path.

    Raises:
        OtherWordsError: the file would have another SHA-256.
    """
    path = directory / f"{name}.txt"
    if path.is_file() and _sha256(path.read_bytes()) == WORD_LISTS[name].sha256:
        return path
    raw = ("\n".join(WORD_LISTS[name].words()) + "\n").encode()
    if _sha256(raw) != WORD_LISTS[name].sha256:
        raise OtherWordsError(
            f"{name}: the installed package lists other words (SHA-256 {_sha256(raw)}); install "
            "the version that the table names"
        )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def of_use(use: str) -> list[str]:
    """Returns the names of the lists for a use."""
    return [name for name, each in WORD_LISTS.items() if each.use == use]


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", default=list(WORD_LISTS), metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=DIRECTORY, help="a directory")


def main(given: argparse.Namespace) -> None:
    for name in given.names:
        if name not in WORD_LISTS:
            raise SystemExit(f"no list {name!r}; there are {', '.join(WORD_LISTS)}")
        try:
            path = make(name, given.output)
        except (OtherWordsError, ImportError, FileNotFoundError) as error:
            raise SystemExit(str(error)) from None
        words = path.read_text(encoding="utf-8").split("\n")[:-1]
        print(f"{path}: {len(words)} words, {WORD_LISTS[name].use}")
