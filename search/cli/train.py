"""Verbs of single models: `train` and `sample`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from makemore_core.data.printable import printable
from search.cli.common import beside, check_device, load_words, show_notes
from search.cli.options import AS_FILE, AnyStudyName, Device, Threads
from search.cli.session import Session
from search.errors import BadInput
from search.spec.study_file import read_config
from search.study import study
from search.trials import results

if TYPE_CHECKING:
    from makemore_core.model.network import Model


def train(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="CONFIG.toml")],
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    save: Annotated[Path | None, typer.Option(help="Write the model here.")] = None,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Train one configuration, without a study."""
    from makemore_core.data.dataset import Dataset
    from makemore_core.model import checkpoint
    from makemore_core.training import trainer
    from makemore_core.training.evaluate import word_losses
    from makemore_core.training.warm_up import warm_up
    from search.confidence_intervals import bootstrap
    from search.terminal import answers

    section, config = beside(
        lambda: read_config(file),
        lambda: check_device(device),
        lambda: _check_writable(save),
    )
    words = load_words(session, section, layout)
    console = session.console

    def tell(evaluation: trainer.Evaluation) -> None:
        if not session.quiet:
            console.print(
                f"{evaluation.seconds:7.1f}s  {evaluation.examples:>12,} examples  "
                f"dev {evaluation.dev_loss:.4f}  train {evaluation.train_loss:.4f}"
            )

    warm_up()
    data = Dataset.of(words, section.split_seed)
    result = trainer.train(
        config,
        data,
        seed,
        threads=threads,
        device=device,
        on_evaluation=tell,
    )
    if save is not None:
        checkpoint.save(save, result.model, {"seed": seed, "dev_loss": result.dev_loss})
    ci95 = bootstrap(*word_losses(result.model, data.dev_words))
    session.answer(answers.training_document(result, ci95), answers.training(result, ci95))


def _check_writable(save: Path | None) -> None:
    """Before the training, not after it."""
    if save is not None and save.is_dir():
        raise BadInput(f"--save {save}: is a directory; give a file")
    if save is not None and not (save.parent.is_dir() and os.access(save.parent, os.W_OK)):
        raise BadInput(f"--save {save}: its directory does not exist or cannot be written")


def sample(
    session: Session,
    name: AnyStudyName = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A model that `train` saved.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000_000)] = 20,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: a new one each time.")] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 tamer, above 1 wilder.")] = 1.0,
    prefix: Annotated[str, typer.Option(help="What every word begins with.")] = "",
    new: Annotated[bool, typer.Option("--new", help="Only words that the corpus lacks.")] = False,
    corpus: Annotated[
        str | None, typer.Option(help="For --checkpoint with --new: by name or path.")
    ] = None,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """New words from the model of a study's winner, or from a saved one."""
    from makemore_core.model import sampling

    if (name is None) == (checkpoint is None):
        raise BadInput("sample: give either a STUDY or --checkpoint FILE")
    if (corpus is not None) != (checkpoint is not None and new):
        raise BadInput("sample: --checkpoint FILE with --new needs --corpus, and nothing else does")
    if checkpoint is not None:
        model, words = _saved(session, checkpoint, corpus, layout)
    else:
        model, words = _best_of(session, str(name), new)
    chosen = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    drawn = sampling.sample(
        model, number, chosen, temperature=temperature, prefix=prefix, exclude=frozenset(words)
    )
    session.answer(drawn, "\n".join(map(printable, drawn)))


def _saved(
    session: Session, file: Path, corpus: str | None, layout: CorpusFormat
) -> "tuple[Model, tuple[str, ...]]":
    """A saved model, and the words of a corpus."""
    from makemore_core.data import corpus as corpora
    from makemore_core.model import checkpoint

    model, _ = checkpoint.load(file)
    if corpus is None:
        return model, ()
    return model, show_notes(session, corpora.load(corpus, session.data_dir.root, layout)).words


def _best_of(session: Session, name: str, new: bool) -> "tuple[Model, tuple[str, ...]]":
    """The winner's model; and the words of its corpus, where they are to be left out."""
    from search.evaluation import winner

    storage = session.open()
    stored = study.resolve(storage, name)
    best = results.require_best(storage, stored)
    path = winner.model_file(stored, session.data_dir, best)
    model = study.load_model(stored, path, best.checkpoint_sha256)
    if not session.quiet:
        session.console.print(f"words of {winner.describe_model(best)}", highlight=False)
    return model, study.corpus_of(storage, stored, session.data_dir).words if new else ()
