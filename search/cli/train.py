"""Verbs of single models: `train`, `sample` and `score`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from makemore_core.data.printable import printable
from search.cli.common import check_all, check_device, load_words, print_notes
from search.cli.options import AS_FILE, AnyStudyName, Device, Threads
from search.cli.session import Session
from search.errors import BadInput

if TYPE_CHECKING:
    from makemore_core.model.network import Model
    from makemore_core.training.trainer import Evaluation

Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A model that `train` or `export` wrote."),
]


def train(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="As `best --toml` writes it.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="The training seed.")] = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the model to this file.")
    ] = None,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Train one configuration, without a study."""
    from makemore_core.data.dataset import Dataset
    from makemore_core.model import checkpoint
    from makemore_core.training import trainer
    from makemore_core.training.evaluate import word_losses
    from makemore_core.training.warm_up import warm_up
    from search.confidence_intervals import bootstrap
    from search.spec.study_file import read_config
    from search.terminal import answers

    section, config = check_all(
        lambda: read_config(file),
        lambda: check_device(device),
        lambda: _check_writable(save),
    )
    words = load_words(session, section, layout)
    warm_up()
    data = Dataset.from_corpus(words, section.split_seed)
    result = trainer.train(
        config,
        data,
        seed,
        threads=threads,
        device=device,
        on_evaluation=lambda evaluation: _print_evaluation(session, evaluation),
    )
    if save is not None:
        checkpoint.save(save, result.model, {"seed": seed, "dev_loss": result.dev_loss})
    ci95 = bootstrap(*word_losses(result.model, data.dev_words))
    session.print_result(answers.training_document(result, ci95), answers.training(result, ci95))


def _print_evaluation(session: Session, evaluation: "Evaluation") -> None:
    if not session.quiet:
        session.console.print(
            f"{evaluation.seconds:7.1f}s  {evaluation.examples:>12,} examples  "
            f"dev {evaluation.dev_loss:.4f}  train {evaluation.train_loss:.4f}"
        )


def _check_writable(save: Path | None) -> None:
    """Checks before the training that the model can be written after it."""
    if save is not None and save.is_dir():
        raise BadInput(f"--save {save}: is a directory; give a file")
    if save is not None and not (save.parent.is_dir() and os.access(save.parent, os.W_OK)):
        raise BadInput(f"--save {save}: its directory does not exist or cannot be written")


def sample(
    session: Session,
    name: AnyStudyName = None,
    checkpoint: Checkpoint = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=1_000_000, help="Number of words.")
    ] = 20,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: a new one each time.")] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 likelier words, above 1 more unusual ones.")
    ] = 1.0,
    prefix: Annotated[str, typer.Option(help="The beginning of every word.")] = "",
    new: Annotated[
        bool, typer.Option("--new", help="Only words that the corpus does not contain.")
    ] = False,
    corpus: Annotated[
        str | None, typer.Option(help="For --checkpoint with --new: by name or path.")
    ] = None,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Draw new words from the model of a study's winner, or from a saved model."""
    from makemore_core.model import sampling

    if (name is None) == (checkpoint is None):
        raise BadInput("sample: give either a STUDY or --checkpoint FILE")
    if (corpus is not None) != (checkpoint is not None and new):
        raise BadInput("sample: --checkpoint FILE with --new needs --corpus, and nothing else does")
    if checkpoint is not None:
        model, words = _saved_model(session, checkpoint, corpus, layout)
    else:
        model, words = _winning_model(session, str(name), new)
    chosen = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    drawn = sampling.sample(
        model, number, chosen, temperature=temperature, prefix=prefix, exclude=frozenset(words)
    )
    session.print_result(drawn, "\n".join(map(printable, drawn)))


def score(
    session: Session,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY] WORD...",
            help="A study, unless --checkpoint is given, and words; - reads words from standard "
            "input, one per line.",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Show the loss of words, in nats, from the model of a study's winner or from a saved model."""
    from makemore_core.training.evaluate import score_words
    from search.terminal import answers

    given = arguments or []
    if len(given) < (2 if checkpoint is None else 1):
        raise BadInput("score: give STUDY WORD..., or --checkpoint FILE WORD...")
    if checkpoint is None:
        model, words = _winning_model(session, given[0], new=False)[0], given[1:]
    else:
        model, words = _saved_model(session, checkpoint, None, AS_FILE)[0], given
    if words == ["-"]:
        words = [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    scores = score_words(model, words)
    session.print_result([each._asdict() for each in scores], answers.scores(scores))


def _saved_model(
    session: Session, file: Path, corpus: str | None, layout: CorpusFormat
) -> "tuple[Model, tuple[str, ...]]":
    """A saved model, and the words of a corpus."""
    from makemore_core.data.corpus import load
    from makemore_core.model import checkpoint

    model, _ = checkpoint.load(file)
    if corpus is None:
        return model, ()
    return model, print_notes(load(corpus, session.data_dir.root, layout)).words


def _winning_model(session: Session, name: str, new: bool) -> "tuple[Model, tuple[str, ...]]":
    """The winner's model; with `new`, also the words of its corpus."""
    from search.evaluation import winner
    from search.study import study
    from search.trials import results

    storage = session.open()
    stored = study.resolve(storage, name)
    best = results.require_best(storage, stored)
    model = winner.load_winning_model(stored, session.data_dir, best)
    if not session.quiet:
        session.console.print(f"model: {winner.describe_model(best)}", highlight=False)
    return model, study.corpus_of(storage, stored, session.data_dir).words if new else ()
