"""What a trial looks like: its learning curve, its embedding, its schedule, and its words."""

from collections.abc import Sequence

from makemore_core.config import TrialConfig
from makemore_core.data.printable import printable
from makemore_core.training.schedule import learning_rate_at
from search.figures.numpy_model import NumpyModel, project_to_plane
from search.figures.svg import HEIGHT, LEFT, RIGHT, WIDTH, Chart, Scale, document, text
from search.finite import LOWEST_DRAWN, is_finite
from search.trials.history import Curve

SCHEDULE_POINTS = 201
COLUMNS = 4

MAX_LETTERS = 500
"""Characters in a picture of an embedding; of larger alphabets some are drawn."""


def learning_curve(name: str, curve: Curve) -> str:
    """Dev and train loss against the examples seen; the losses on a log scale."""
    dev = [(row[0], row[1]) for row in curve]
    train = [(row[0], row[3]) for row in curve if len(row) > 3 and is_finite(row[3])]
    losses = [max(loss, LOWEST_DRAWN) for _, loss in (*dev, *train)]
    pad = (max(losses) / min(losses)) ** 0.04 if max(losses) > min(losses) else 1.02
    chart = Chart.over((0, dev[-1][0]), (min(losses) / pad, max(losses) * pad), log=True)
    chart.axes("training examples seen")
    if train:
        chart.line(train, "b")
    chart.line(dev, "a")
    best = min(dev, key=lambda point: point[1])
    x, y = chart.x(best[0]), chart.y(best[1])
    chart.body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="fa"/>')
    chart.legend([("dev", "a"), ("train (batches)", "b")])
    what = f"nats per character, log scale; best dev loss {best[1]:.4f}"
    return document(f"Learning curve, {name}", what, chart.body)


def embedding(name: str, model: NumpyModel) -> str:
    """Each character where its vector lies, in two dimensions."""
    points, share = project_to_plane(model.embedding)
    size = model.embedding.shape[1]
    how = (
        "its two dimensions as they are"
        if size == 2
        else f"first two of {size} principal components, {share:.0%} of the variance"
    )
    (low_x, low_y), (high_x, high_y) = points.min(axis=0), points.max(axis=0)
    x = Scale(float(low_x), float(high_x), 40, WIDTH - 40)
    y = Scale(float(low_y), float(high_y), HEIGHT - 30, 84)
    vowels = set("aeiouy")
    every = -(-len(points) // MAX_LETTERS)
    body = [
        text(x(float(px)), y(float(py)), character, f"letter {_color(character, vowels)}")
        for character, (px, py) in list(zip(model.vocabulary, points, strict=True))[::every]
    ]
    some = f"one in {every} of {len(points):,} characters; " if every > 1 else ""
    return document(f"Embedding, {name}", f"{some}{how}; vowels orange, '.' ends a word", body)


def _color(character: str, vowels: set[str]) -> str:
    return "fb" if character in vowels else "fa" if character.isalpha() else "quiet"


def schedule(name: str, config: TrialConfig) -> str:
    """The learning rate over the trial."""
    shares = [index / (SCHEDULE_POINTS - 1) for index in range(SCHEDULE_POINTS)]
    rates = [(share * config.examples, learning_rate_at(config, share)) for share in shares]
    chart = Chart.over((0, config.examples), (0, config.learning_rate * 1.05))
    chart.axes("training examples seen")
    chart.line(rates, "a")
    what = f"{config.schedule}, peak {config.learning_rate:.4g}, {config.optimizer}"
    return document(f"Learning rate, {name}", what, chart.body)


def samples(name: str, words: Sequence[str]) -> str:
    """Words that the model made up."""
    rows = -(-len(words) // COLUMNS)
    step = (HEIGHT - 110) / max(1, rows - 1)
    width = (WIDTH - LEFT / 2 - RIGHT) / COLUMNS
    body = [
        text(
            LEFT / 2 + width * (index % COLUMNS),
            92 + step * (index // COLUMNS),
            shortened(word),
            "ink word",
        )
        for index, word in enumerate(words)
    ]
    return document(f"{len(words)} samples, {name}", "drawn from the model, none chosen", body)


def shortened(word: str, longest: int = 14) -> str:
    """A word that fits its column; an empty one is drawn as such."""
    if not word:
        return "(empty)"
    word = printable(word)
    return word if len(word) <= longest else word[: longest - 1] + "…"
