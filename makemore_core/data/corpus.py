"""Corpora: a built-in one, the lecture's, or a file; its words, vocabulary and fingerprint."""

import contextlib
import hashlib
import importlib
import os
import pkgutil
import shlex
import stat
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from makemore_core.data.corpus_format import BOUNDARY as BOUNDARY
from makemore_core.data.corpus_format import CorpusFormat, parse_words
from makemore_core.data.printable import printable
from makemore_core.errors import CorpusError, CorpusMissing

MIN_WORDS = 10
"""Fewer words cannot be split 80/10/10 with a word in each part."""

BUILT_IN = ("first-names", "names")

MAX_BYTES = 500_000_000
"""The size above which a corpus file is refused."""

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
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Remarks for the user on how the words were read."""

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
        return check(replace(self, words=tuple(dict.fromkeys(self.words))))


PLAIN = CorpusFormat()
"""One word on each line."""


def load(
    name_or_path: str, data_dir: Path, layout: CorpusFormat = PLAIN, *, dedupe: bool = False
) -> Corpus:
    """Reads a corpus by name (`first-names`, `names`) or path.

    Raises:
        CorpusError: it cannot be found, read or used; the message says where and why.
        CorpusMissing: there is no such file.
    """
    if name_or_path in BUILT_IN:
        if layout.has_columns:
            raise CorpusError(
                f"corpus {name_or_path}: is built in and has no columns; leave --column, "
                "--separator and --count out"
            )
        if name_or_path == "first-names":
            corpus = check(Corpus(name_or_path, _first_names()))
        else:
            corpus = parse(_names_file(data_dir).read_bytes(), name_or_path, name_or_path)
    else:
        corpus = read_file(Path(name_or_path), layout, dedupe=dedupe)
    return corpus.deduplicated() if dedupe else corpus


def read_file(path: Path, layout: CorpusFormat = PLAIN, *, dedupe: bool = False) -> Corpus:
    """Reads a UTF-8 text file, or a pipe; the corpus is named after the file.

    Args:
        dedupe: each word will be kept once, so counts are not written out.

    Raises:
        CorpusError: there is no such file, or it cannot be read or used.
        CorpusMissing: there is no such file.
    """
    where = printable(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise CorpusError(
                f"corpus {where}: is a directory; give a text file with one word per line"
            )
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or _is_terminal(path, mode)):
            raise CorpusError(f"corpus {where}: is a device or a socket; give a text file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CorpusMissing(
            f"corpus {where}: no such file, and not a built-in corpus ({', '.join(BUILT_IN)})"
        ) from None
    except PermissionError:
        raise CorpusMissing(f"corpus {where}: may not be read by this user") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"corpus {where}: cannot be read ({error})") from None
    if len(raw) > MAX_BYTES:
        raise CorpusError(
            f"corpus {where}: has more than {MAX_BYTES // 10**6} MB, which is no list of words; "
            f"take a part of it, such as `shuf -n 100000 FILE > words-only.txt`"
        )
    name = printable(path.stem) if stat.S_ISREG(mode) else "standard input"
    return parse(raw, name, where, layout, dedupe=dedupe)


def _is_terminal(path: Path, mode: int) -> bool:
    return stat.S_ISCHR(mode) and os.isatty(0) and path.samefile("/dev/stdin")


def parse(
    raw: bytes, name: str, where: str, layout: CorpusFormat = PLAIN, *, dedupe: bool = False
) -> Corpus:
    """Parses bytes to words; byte-order marks, CRLF, trailing blanks and blank lines are accepted.

    Raises:
        CorpusError: they are not UTF-8, or lines cannot be words; the message says which.
    """
    parsed = parse_words(_decoded(raw, where), where, layout, unique=dedupe)
    return check(Corpus(name, parsed.words, parsed.notes), where)


CONTAINERS = {
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"BZh": ("bzip2", "bunzip2 -c"),
    b"\xfd7zXZ": ("xz", "unxz -c"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd -c"),
    b"PK\x03\x04": ("zip, or an office document", "unzip -p"),
}
"""The first bytes of compressed files, and the command that decompresses them."""

OTHER_ENCODINGS = {
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}  # fmt: skip


def _decoded(raw: bytes, where: str) -> str:
    """Decodes UTF-8.

    Raises:
        CorpusError: the bytes are something else; the message names it and the command to convert
            it.
    """
    file = shlex.quote(where)
    for start, (kind, command) in CONTAINERS.items():
        if raw.startswith(start):
            raise CorpusError(
                f"corpus {where}: is compressed ({kind}); `{command} {file} > words-only.txt`"
            )
    for start, encoding in OTHER_ENCODINGS.items():
        if raw.startswith(start):
            raise _encoded_otherwise(where, encoding)
    for first, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if len(raw) > 20 and raw[first:2000:2].count(0) > 0.9 * len(raw[first:2000:2]):
            raise _encoded_otherwise(where, encoding)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"corpus {where}: line {line}, byte {error.start}: not UTF-8; save the file as UTF-8, "
            f"such as by `iconv -f WINDOWS-1252 -t UTF-8 {file} > words-only.txt`"
        ) from None


def _encoded_otherwise(where: str, encoding: str) -> CorpusError:
    return CorpusError(
        f"corpus {where}: is {encoding}, not UTF-8; "
        f"`iconv -f {encoding} -t UTF-8 {shlex.quote(where)} > words-only.txt`"
    )


def read_saved(path: Path) -> Corpus:
    """The words that `save` wrote, exactly.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        return Corpus(path.stem, tuple(path.read_bytes().decode().split("\n")))
    except (OSError, ValueError) as error:
        raise CorpusError(f"corpus {path}: cannot be read ({error})") from None


def check(corpus: Corpus, where: str | None = None) -> Corpus:
    """Returns the corpus.

    Raises:
        CorpusError: it has too few words to be split.
    """
    if len(corpus.words) < MIN_WORDS:
        size = f"{len(corpus.words)} words" if corpus.words else "no words"
        raise CorpusError(
            f"corpus {where or corpus.name}: {size}; at least {MIN_WORDS} are needed "
            "for a train, a dev and a test split"
        )
    return corpus


def save(corpus: Corpus, path: Path) -> None:
    """Writes the words, whole or not at all; reading them back gives the same fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("\n".join(corpus.words), encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _first_names() -> tuple[str, ...]:
    """The first names of Faker's person providers that are plain ASCII letters, two or more."""
    from faker.providers import person

    names: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Faker says of one locale that another replaces it
        for locale in pkgutil.iter_modules(person.__path__):
            module = importlib.import_module(f"{person.__name__}.{locale.name}")
            provider = module.Provider(None)
            for attribute in dir(provider):
                if attribute.startswith("first_names"):
                    names.update(_plain(getattr(provider, attribute)))
    return tuple(sorted(names))


def _plain(names: Iterable[str]) -> set[str]:
    return {n.lower() for n in names if len(n) >= 2 and n.isascii() and n.isalpha()}


def _names_file(data_dir: Path) -> Path:
    """The lecture's corpus: where the variable points, in the data dir, or downloaded once."""
    cached = data_dir / "corpora" / "names.txt"
    variable = os.environ.get(CORPORA_VARIABLE)
    if variable and (Path(variable) / "names.txt").is_file():
        return _checked(Path(variable) / "names.txt")
    try:
        if cached.is_file():
            return _checked(cached)
    except CorpusError as damaged:  # our own copy: it is downloaded again
        try:
            return _downloaded(cached)
        except CorpusError:
            raise damaged from None
    return _downloaded(cached)


def _checked(path: Path) -> Path:
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CorpusError(f"corpus names: {path} cannot be read ({error})") from None
    if sha256 != NAMES_SHA256:
        raise CorpusError(
            f"corpus names: {path} is not the lecture's file (SHA-256 {sha256[:12]}…, "
            f"expected {NAMES_SHA256[:12]}…); remove it, or give its path as the corpus"
        )
    return path


def _downloaded(path: Path) -> Path:
    import pooch

    created = [each for each in (path.parent, path.parent.parent) if not each.exists()]
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(NAMES_URL, f"sha256:{NAMES_SHA256}", path.name, path.parent)
    except Exception as error:  # noqa: BLE001  pooch passes on whatever its transport raises
        for directory in created:  # a failure leaves nothing behind
            with contextlib.suppress(OSError):
                directory.rmdir()
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CorpusError(
            f"corpus names: could not be downloaded from {NAMES_URL} ({reason[:120]}); "
            f"put the file at {path}, or set {CORPORA_VARIABLE} to its directory"
        ) from None
    return path
