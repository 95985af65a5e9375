"""Verbs that follow the lecture and the paper: `lr-range`, `capacity` and `mix`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import load_words
from search.cli.options import AS_FILE, CorpusName, StudyName
from search.cli.session import Session
from search.errors import BadInput

if TYPE_CHECKING:
    from makemore_core.config import TrialConfig
    from makemore_core.data.dataset import Dataset
    from makemore_core.lecture.capacity import CapacityPoint

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG.toml]", help="The file that `train` takes.")
]
Seed = Annotated[int, typer.Option(min=0, help="The training seed.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="The plot. Default: a file in the data directory."),
]


def lr_range(
    session: Session,
    file: ConfigFile = None,
    corpus: CorpusName = None,
    layout: CorpusFormat = AS_FILE,
    seed: Seed = 1,
    output: Output = None,
) -> None:
    """Run the learning-rate range test, with its plot; without a file, of the lecture's network."""
    from makemore_core.config import LECTURE
    from makemore_core.lecture.lr_range import VALLEY
    from makemore_core.lecture.lr_range import lr_range as run_range_test
    from search.figures import lecture_figures

    target = _target(session, output, "lr-range.svg")
    config, data = _config_and_data(session, file, corpus, layout, LECTURE)
    result = run_range_test(config, data, seed)
    _write(target, lecture_figures.lr_range(result))
    document = {
        "suggested": result.suggested,
        "valley": list(result.valley),
        "learning_rates": result.learning_rates.tolist(),
        "losses": result.losses.tolist(),
        "smoothed": result.smoothed.tolist(),
        "picture": str(target),
    }
    low, high = result.valley
    text = (
        f"suggested learning rate {result.suggested:.2g}: the middle, in the exponent, of the "
        f"valley from {low:.2g} to {high:.2g},\nwhere the smoothed loss is within {VALLEY:g} nats "
        f"of its lowest ({result.smoothed.min():.4f}; one seed)\n{target}"
    )
    session.print_result(document, text)


def capacity(
    session: Session,
    file: ConfigFile = None,
    corpus: CorpusName = None,
    layout: CorpusFormat = AS_FILE,
    seed: Seed = 1,
    widths: Annotated[str | None, typer.Option(help="Hidden widths, such as 4,16,64,256.")] = None,
    output: Output = None,
) -> None:
    """Show under- and overfitting: train and dev loss against model size, with a plot."""
    from makemore_core.lecture.capacity import CONFIG, WIDTHS, verdict
    from makemore_core.lecture.capacity import capacity as train_grid
    from search.figures import lecture_figures

    sizes = WIDTHS if widths is None else _whole_numbers(widths)
    target = _target(session, output, "capacity.svg")
    config, data = _config_and_data(session, file, corpus, layout, CONFIG)
    points = train_grid(
        config, data, seed, sizes, on_point=lambda point: _print_point(session, point)
    )
    _write(target, lecture_figures.capacity(points))
    text = f"{verdict(points)}\n{target}"
    rows = [asdict(point) for point in points]
    document = {"rows": rows, "points": rows, "picture": str(target)}  # `points`: its older name
    session.print_result(document, text)


def _print_point(session: Session, point: "CapacityPoint") -> None:
    if not session.quiet:
        session.console.print(
            f"{point.hidden_width:6,} hidden units  {point.parameters:9,} parameters  "
            f"train {point.train_loss:.4f}  dev {point.dev_loss:.4f}  ({point.seconds:.1f}s)"
        )


def mix(
    session: Session,
    name: StudyName,
    order: Annotated[int, typer.Option(min=1, help="Characters in an n-gram.")] = 3,
    weight: Annotated[
        float | None, typer.Option(help="The network's weight. Default: fitted on the dev split.")
    ] = None,
) -> None:
    """Evaluate a study's models, alone and mixed with an n-gram: the table of the paper."""
    from search.evaluation import ngram_mixture
    from search.study import study
    from search.terminal import answers

    storage = session.open()
    stored = study.resolve(storage, name)
    view = ngram_mixture.table(storage, stored, session.data_dir, order, weight)
    session.print_result(asdict(view), answers.mixtures(view))


def _config_and_data(
    session: Session,
    file: Path | None,
    corpus: str | None,
    layout: CorpusFormat,
    default: "TrialConfig",
) -> "tuple[TrialConfig, Dataset]":
    """The configuration of a file, or the default one on the corpus that needs no download."""
    from makemore_core.data.dataset import Dataset
    from search.spec.sections import StudySection
    from search.spec.study_file import read_config

    section, config = (StudySection(name="config"), default) if file is None else read_config(file)
    words = load_words(session, section, layout, corpus)
    return config, Dataset.from_corpus(words, section.split_seed)


def _target(session: Session, output: Path | None, name: str) -> Path:
    """The file of a plot; checks before the work that its directory exists."""
    if output is None:
        session.data_dir.root.mkdir(parents=True, exist_ok=True)
        return session.data_dir.root / name
    if not output.parent.is_dir():
        raise BadInput(f"--output {output}: its directory does not exist")
    return output


def _write(target: Path, picture: str) -> None:
    try:
        target.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--output {target}: cannot be written ({error.strerror})") from None


def _whole_numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise BadInput(f"--widths {text}: give whole numbers from 1 up, such as 4,16,64")
    return numbers
