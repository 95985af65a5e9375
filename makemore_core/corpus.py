"""Words in: a built-in corpus, the lecture's, or a file; its vocabulary and fingerprint."""

import contextlib
import hashlib
import importlib
import os
import pkgutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from makemore_core.errors import CorpusError

BOUNDARY = "."
"""Begins and ends every word; index 0 of every vocabulary (lecture: the character '.')."""

FEWEST_WORDS = 10
"""Fewer words cannot be split 80/10/10 with a word in each part."""

NAMES_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
NAMES_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
CORPORA_VARIABLE = "MAKEMORE_SEARCH_CORPORA"


@dataclass(frozen=True)
class Corpus:
    """A named list of words, in the order of its file.

    >>> Corpus("toy", ("emma", "ava")).vocabulary
    '.aemv'
    """

    name: str
    words: tuple[str, ...]

    @cached_property
    def vocabulary(self) -> str:
        """The boundary, then every character of the whole file in code point order.

        The alphabet is public, so it includes characters that only the test split uses. One that
        never occurs in the training split keeps its initial embedding and still gets a finite loss.
        """
        return BOUNDARY + "".join(sorted(set().union(*self.words)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the words joined by newlines; line endings and blank lines do not count."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def deduplicated(self) -> "Corpus":
        """The same corpus without repeated words; the first of each stays where it was."""
        return check(Corpus(self.name, tuple(dict.fromkeys(self.words))))


def load(name_or_path: str, data_dir: Path, *, dedupe: bool = False) -> Corpus:
    """Reads a corpus by name (`first-names`, `names`) or path.

    Raises:
        CorpusError: it cannot be found, read or used; the message says where and why.
    """
    if name_or_path == "first-names":
        corpus = check(Corpus(name_or_path, _first_names()))
    elif name_or_path == "names":
        corpus = parse(_names_file(data_dir).read_bytes(), name_or_path, name_or_path)
    else:
        corpus = read_file(Path(name_or_path))
    return corpus.deduplicated() if dedupe else corpus


def read_file(path: Path) -> Corpus:
    """Reads a UTF-8 text file with one word per line; the corpus is named after the file.

    Raises:
        CorpusError: there is no such file, or it cannot be read or used.
    """
    if path.is_dir():
        raise CorpusError(f"corpus {path}: is a directory; give a text file with one word per line")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            f"corpus {path}: no such file, and not a built-in corpus (first-names, names)"
        ) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"corpus {path}: cannot be read ({error})") from None
    return parse(raw, path.stem, str(path))


def parse(raw: bytes, name: str, where: str) -> Corpus:
    """Bytes to words: a byte-order mark, CRLF and blank lines are accepted.

    Raises:
        CorpusError: they are not UTF-8, or a line cannot be a word; the message says which.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"corpus {where}: line {line}, byte {error.start}: not UTF-8; save the file as UTF-8"
        ) from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    words = []
    for number, text_line in enumerate(lines, start=1):
        word = text_line.strip()
        if BOUNDARY in word:
            raise CorpusError(
                f"corpus {where}: line {number}: {word[:40]!r} contains {BOUNDARY!r}, "
                "which marks the boundary of a word; remove it"
            )
        if "\0" in word:
            raise CorpusError(
                f"corpus {where}: line {number}: contains a NUL; is this a text file?"
            )
        if word:
            words.append(word)
    return check(Corpus(name, tuple(words)), where)


def check(corpus: Corpus, where: str | None = None) -> Corpus:
    """Returns the corpus.

    Raises:
        CorpusError: it has too few words to be split.
    """
    if len(corpus.words) < FEWEST_WORDS:
        found = f"{len(corpus.words)} words" if corpus.words else "no words"
        raise CorpusError(
            f"corpus {where or corpus.name}: {found}; at least {FEWEST_WORDS} are needed "
            "for a train, a dev and a test split"
        )
    return corpus


def save(corpus: Corpus, path: Path) -> None:
    """Writes the words, whole or not at all; reading them back gives the same fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text("\n".join(corpus.words), encoding="utf-8")
    temporary.replace(path)


def _first_names() -> tuple[str, ...]:
    """The first names of Faker's person providers that are plain ASCII letters, two or more."""
    from faker.providers import person

    found: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Faker says of one locale that another replaces it
        for locale in pkgutil.iter_modules(person.__path__):
            module = importlib.import_module(f"{person.__name__}.{locale.name}")
            provider = module.Provider(None)
            for attribute in dir(provider):
                if attribute.startswith("first_names"):
                    found.update(_plain(getattr(provider, attribute)))
    return tuple(sorted(found))


def _plain(names: Iterable[str]) -> set[str]:
    return {n.lower() for n in names if len(n) >= 2 and n.isascii() and n.isalpha()}


def _names_file(data_dir: Path) -> Path:
    """The lecture's corpus: where the variable points, in the data dir, or downloaded once."""
    kept = data_dir / "corpora" / "names.txt"
    variable = os.environ.get(CORPORA_VARIABLE)
    candidates = ([Path(variable) / "names.txt"] if variable else []) + [kept]
    for candidate in candidates:
        if candidate.is_file():
            return _checked(candidate)
    return _downloaded(kept)


def _checked(path: Path) -> Path:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CorpusError(f"corpus names: {path} cannot be read ({error})") from None
    if found != NAMES_SHA256:
        raise CorpusError(
            f"corpus names: {path} is not the lecture's file (SHA-256 {found[:12]}…, "
            f"expected {NAMES_SHA256[:12]}…); remove it, or give its path as the corpus"
        )
    return path


def _downloaded(path: Path) -> Path:
    import pooch

    made = [each for each in (path.parent, path.parent.parent) if not each.exists()]
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(NAMES_URL, f"sha256:{NAMES_SHA256}", path.name, path.parent)
    except Exception as error:  # noqa: BLE001  pooch passes on whatever its transport raises
        for directory in made:  # a refusal leaves nothing behind
            with contextlib.suppress(OSError):
                directory.rmdir()
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CorpusError(
            f"corpus names: could not be downloaded from {NAMES_URL} ({reason[:120]}); "
            f"put the file at {path}, or set {CORPORA_VARIABLE} to its directory"
        ) from None
    return path
