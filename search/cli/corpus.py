"""Verbs of words alone: `corpus` and `baseline`."""

from dataclasses import asdict
from typing import Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import print_notes
from search.cli.options import AS_FILE, SplitSeed
from search.cli.session import Session


def baseline(
    session: Session,
    corpus: Annotated[str, typer.Option(help="A corpus, by name or path.")],
    order: Annotated[int, typer.Option(min=1, help="Characters in an n-gram.")] = 2,
    split_seed: SplitSeed = 42,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Evaluate count models, the losses to beat: bigram and interpolated Kneser-Ney n-grams."""
    from makemore_core.data import ngram
    from makemore_core.data.corpus import load
    from search.terminal import answers

    words = print_notes(load(corpus, session.data_dir.root, layout))
    view = ngram.baseline(words, split_seed, order)
    session.print_result(asdict(view), answers.baseline(view))


def corpus(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_PATH", help="first-names, names, or a file of words."),
    ],
    split_seed: SplitSeed = 42,
    block_size: Annotated[
        int, typer.Option(min=1, max=64, help="Context length for which contexts are counted.")
    ] = 3,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Drop repeated words.")] = False,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Show what is in a corpus: its words, alphabet and splits."""
    from makemore_core.data.corpus import load
    from search.terminal import answers

    words = print_notes(load(name, session.data_dir.root, layout, dedupe=dedupe))
    view = answers.corpus_document(words, split_seed, block_size)
    session.print_result(view, answers.corpus(view))
