"""Verbs of words alone: `corpus` and `baseline`."""

from dataclasses import asdict
from typing import Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import show_notes
from search.cli.options import AS_FILE
from search.cli.session import Session


def baseline(
    session: Session,
    corpus: Annotated[str, typer.Option(help="A corpus by name or path.")],
    order: Annotated[int, typer.Option(min=1, help="Characters of an n-gram.")] = 2,
    split_seed: Annotated[int, typer.Option(min=0)] = 42,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Count models to beat: the bigram, and interpolated Kneser-Ney n-grams."""
    from makemore_core.data import corpus as corpora
    from makemore_core.data import ngram
    from search.terminal import answers

    words = show_notes(session, corpora.load(corpus, session.data_dir.root, layout))
    view = ngram.baseline(words, split_seed, order)
    session.answer(asdict(view), answers.baseline(view))


def corpus(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME_OR_PATH")],
    split_seed: Annotated[int, typer.Option(min=0)] = 42,
    block_size: Annotated[int, typer.Option(min=1, max=64)] = 3,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Drop repeated words.")] = False,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """What is in a corpus."""
    from makemore_core.data import corpus as corpora
    from search.terminal import answers

    words = corpora.load(name, session.data_dir.root, layout, dedupe=dedupe)
    show_notes(session, words)
    view = answers.corpus_document(words, split_seed, block_size)
    session.answer(view, answers.corpus(view))
