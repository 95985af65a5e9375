"""Losses of any size: what is infinite, no number, huge, tiny, equal or nothing at all has a place
in every picture, interval, report and answer."""

import json
import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace import Workspace, some_words

from makemore_core.lecture.capacity import CapacityPoint
from makemore_core.lecture.lr_range import LrRange
from makemore_core.lecture.mixture import perplexity
from search import confidence_intervals
from search.algorithms.samplers import sampler_for
from search.dashboard import trial_pictures
from search.evaluation.baselines import Baselines
from search.figures import lecture_figures, trial_figures
from search.figures.numpy_model import NumpyModel
from search.figures.svg import Chart, Scale
from search.finite import finite
from search.report import space_plots, study_plots
from search.report.page import in_script
from search.spec import search_space, study_spec
from search.trials import results
from search.trials.history import AttemptView

WILD = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1e-8, 1.0, 2.0, 1e30, 3.4e38, 1e300, math.inf, -math.inf,
                     math.nan, -1e-7]),
    st.floats(),
)  # fmt: skip
FINITE = st.one_of(
    st.sampled_from([0.0, 1e-45, 2.3, 2.3, 1e30, 3.4e38]), st.floats(0, 3.4e38, allow_nan=False)
)
SPEC = study_spec.from_document(
    {
        "study": {"name": "wild"},
        "search": {
            "learning_rate": {"low": 1e-3, "high": 1e3},
            "hidden_width": {"low": 16, "high": 64, "log": True},
            "batch_size": [32, 64],
        },
    },
    "wild",
)


DEFAULT_PARAMS = {"block_size": 3, "embedding_size": 4, "schedule": "constant", "optimizer": "sgd"}


def attempt(number: int, loss: float | None, others: Sequence[float], outcome: str) -> AttemptView:
    values = {"learning_rate": 1e-3 + number, "hidden_width": 16 + number % 49, "batch_size": 32}
    config = search_space.configuration(SPEC.space, values | DEFAULT_PARAMS, {}, examples=100)
    curve = [[k + 1, each, 0.1, each] for k, each in enumerate(others)]
    return AttemptView(
        trial=number, outcome=outcome, reason=None, dev_loss=loss, dev_loss_unseen=loss,
        train_loss=loss, seconds=0.0, examples=100, parameters=1, config=vars(config), curve=curve,
        ended_at=float(number), worked_seconds=float(number), training_seed=1, threads=1,
        device="cpu", versions={}, checkpoint_sha256=None,
    )  # fmt: skip


ATTEMPTS = st.lists(
    st.tuples(st.one_of(st.none(), WILD), st.lists(WILD, min_size=1, max_size=4),
              st.sampled_from(["complete", "pruned", "failed"])),
    max_size=12,
).map(lambda rows: [attempt(n, *row) for n, row in enumerate(rows)])  # fmt: skip


def parsed(picture: str) -> ElementTree.Element:
    """A picture is XML without a number that is none."""
    assert "nan" not in picture
    assert "inf" not in picture.replace("infinit", "")
    return ElementTree.fromstring(picture)


@given(attempts=ATTEMPTS, bigram=st.one_of(st.none(), FINITE))
def test_every_figure_of_the_report_copes(
    attempts: list[AttemptView], bigram: float | None
) -> None:
    """Each figure is a JSON document, and the ends of its axes are numbers, the lower one first."""
    others = Baselines(bigram, bigram, None)
    made: list[dict[str, Any] | None] = [
        study_plots.history_by_trial(attempts, others),
        study_plots.history_by_time(attempts, others),
        study_plots.learning_curves(attempts, 0 if attempts else None),
        study_plots.effort(attempts),
        study_plots.effort_by_reason(attempts),
        *space_plots.slice_plots(attempts, SPEC.space).values(),
        space_plots.parallel_coordinates(attempts, SPEC.space),
        space_plots.importances(attempts, SPEC.space),
        *(study_plots.winner_curve(each) for each in attempts[:1]),
        study_plots.confirmation(
            [("a", each.dev_loss or 0.0, 1.0, each.dev_loss) for each in attempts]
        ),
    ]
    for figure in filter(None, made):
        document = json.loads(in_script(figure))
        for name, axis in document["layout"].items():
            if "axis" in name and "range" in axis:
                assert axis["range"][0] < axis["range"][1]


@given(curve=st.lists(st.tuples(st.integers(1, 10**9), FINITE, WILD), min_size=1, max_size=9))
def test_a_learning_curve_is_drawn(curve: list[tuple[int, float, float]]) -> None:
    """Whatever the losses, a curve is a picture; that of a repeated word comes down to nothing."""
    rows = [[examples, loss, 0.1, finite(train)] for examples, loss, train in sorted(curve)]
    parsed(trial_figures.learning_curve("trial 0", rows))


@given(low=WILD, high=WILD, values=st.lists(WILD, max_size=5), log=st.booleans())
def test_an_axis_has_a_place_for_every_number(
    low: float, high: float, values: list[float], log: bool
) -> None:
    """Between any two ends; its ticks are few, and in order."""
    scale = Scale(low, high, 0, 100, log=log)
    assert all(math.isfinite(scale(value)) for value in (low, high, *values))
    ticks = scale.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(ticks)
    chart = Chart(Scale(0, 1, 0, 100), scale)
    chart.axes("x")
    chart.line([(0.5, value) for value in values], "a")


@given(st.lists(WILD, min_size=20, max_size=40), st.integers(1, 50), st.booleans())
def test_the_lecture_s_pictures_cope(losses: list[float], window: int, log10: bool) -> None:
    """Losses of batches, of a range test and of a grid of sizes, whatever they are."""
    found = np.array(finite(losses), float)
    found = np.where(np.isnan(found), 1.0, found)
    with np.errstate(all="ignore"):
        parsed(lecture_figures.batch_losses(np.abs(found), log10=log10, window=window))
    rates = np.geomspace(1e-3, 1.0, len(found))
    parsed(lecture_figures.lr_range(LrRange(0.1, (0.01, 0.2), rates, found, found)))
    points = [CapacityPoint(n, n, loss, loss, 0.1) for n, loss in enumerate(found, start=1)]
    parsed(lecture_figures.capacity(points))


@given(
    vectors=st.lists(st.lists(WILD, min_size=3, max_size=3), min_size=2, max_size=8),
    size=st.integers(1, 3),
)
def test_an_embedding_is_drawn_wherever_its_vectors_lie(
    vectors: list[list[float]], size: int
) -> None:
    """Of two symbols, of equal ones, and of characters that XML cannot hold."""
    matrix = np.array(vectors)[:, :size]
    with np.errstate(all="ignore"):
        matrix = matrix.astype(np.float32)
    vocabulary = ".\x01\u202e\ufffe<&語 a"[: len(vectors)]
    parsed(trial_figures.embedding("trial 0", NumpyModel(vocabulary, {"embedding": matrix})))
    json.loads(in_script(study_plots.embedding(NumpyModel(vocabulary, {"embedding": matrix}))))


def test_an_embedding_of_thousands_is_a_picture_of_some() -> None:
    """Of a large alphabet some characters are drawn, and how many is said."""
    rng = np.random.default_rng(0)
    vocabulary = "." + "".join(map(chr, range(0x4E00, 0x4E00 + 5_000)))
    model = NumpyModel(vocabulary, {"embedding": rng.normal(size=(5_001, 2))})
    picture = trial_figures.embedding("trial 0", model)
    parsed(picture)
    assert "one in 11 of 5,001 characters" in picture
    assert len(picture) < 100_000


@given(st.lists(st.text(max_size=30), max_size=20))
def test_samples_of_any_characters_are_a_picture(words: list[str]) -> None:
    """Control characters and halves of surrogates break no picture."""
    parsed(trial_figures.samples("trial 0", words))


@given(st.lists(WILD, max_size=6))
def test_intervals_of_any_losses(losses: list[float]) -> None:
    """Ordered ends, or none; never an error."""
    found = confidence_intervals.mean_over_seeds(losses)
    assert found is None or found[0] <= found[1]
    assert all(perplexity(loss) >= 0 or math.isnan(loss) for loss in losses)
    assert "NaN" not in json.dumps(finite({"losses": losses, "rows": [tuple(losses)]}))


@pytest.mark.parametrize("loss", [0.0, 1e38, math.inf, math.nan])
def test_the_interval_of_a_split(loss: float) -> None:
    """Over words of which one has such nats; of a single word; of equal ones."""
    for nats in ([loss, 1.0], [loss], [loss, loss, loss]):
        low, high = confidence_intervals.bootstrap(np.array(nats), np.full(len(nats), 3))
        assert low <= high


EQUAL, SPREAD = [0.0] * 12, [0.0, 1e-45, 2.3, 2.3, 1e30, 3.4e38, 5.0, 1e-8, 4.0, 3.0, 2.0, 1e10]


@pytest.mark.parametrize("losses", [EQUAL, SPREAD, [3.4e38] * 12], ids=["zero", "spread", "huge"])
@pytest.mark.parametrize("kind", ["tpe", "gp"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_samplers_learn_from_any_losses(kind: str, losses: list[float]) -> None:
    """A sampler that has seen losses of any size asks for a configuration within the space."""
    study = optuna.create_study(sampler=sampler_for(kind, 1, 30))
    names = search_space.distributions(SPEC.space)
    draws = np.random.default_rng(0)
    for loss in losses:
        params = {
            "learning_rate": float(draws.uniform(1e-3, 1e3)),
            "hidden_width": int(draws.integers(16, 65)),
            "batch_size": int(draws.choice([32, 64])),
            **{name: DEFAULT_PARAMS[name] for name in names if name in DEFAULT_PARAMS},
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=names, value=loss))
    asked = study.ask(names).params
    assert all(SPEC.space[name].contains(value) for name, value in asked.items())


LONG = pytest.mark.long
WILD_SEARCH = {
    "learning_rate": {"low": 1e-3, "high": 1e3},
    "optimizer": "sgd",
    "initialisation": "lecture",
    "hidden_width": 16,
}
EVERYTHING = {"pruner": {"kind": "none"}, "budget": {"trials": 3, "examples": 2_000}}


@pytest.mark.parametrize(
    ("words", "search"),
    [
        (some_words(60), WILD_SEARCH),
        (["emma"] * 20, {}),
        pytest.param(["a"] * 10, {"embedding_size": 2, "learning_rate": 1.0}, marks=LONG),
        pytest.param(["a", "aa"] * 6, {}, marks=LONG),
        pytest.param([*"abcdefghij"], {}, marks=LONG),
        pytest.param(["x" * 5_000, *["ab"] * 12], {"batch_size": 8192}, marks=LONG),
        pytest.param([chr(0x4E00 + n) for n in range(1_500)], {}, marks=LONG),
        (["an\u200bna", "b\x01ob", "e\u202eve", "\ufffex", "<b>&", "]]>", "語 語"] * 3, {}),
    ],
    ids=["a wild rate", "one repeated word", "one letter", "two words", "single letters",
         "a giant word", "a large alphabet", "characters that break things"],
)  # fmt: skip
def test_a_whole_study_copes(bed: Workspace, words: list[str], search: dict[str, Any]) -> None:
    """Trials, pictures, the report and every answer of a study whose corpus or losses are at an
    edge: each is made, is JSON, XML or a page without a character that cannot stand there."""
    file = bed.file(study={"corpus": str(bed.corpus(words))}, search=search, **EVERYTHING)
    stored = bed.create(file)
    bed.work(stored)
    assert 3 == len(bed.outcomes(stored))
    assert all(t.dev_loss is None or math.isfinite(t.dev_loss) for t in bed.trials(stored))
    for verb in (
        ("status",),
        ("trials",),
        ("best",),
        ("sample",),
        ("sample", "--seed", 1),
        ("mix",),
    ):
        if "--seed" not in verb:
            bed.json(verb[0], "tiny", *verb[1:])
        answer = bed.cli(verb[0], "tiny", *verb[1:])
        assert 0 == answer.status
        assert "\x01" not in answer.out
        assert "\u202e" not in answer.out
    page = bed.root / "r.html"
    bed.json("report", "tiny", "-o", page)
    assert not set("\x01\u200b\u202e\ufffe") & set(page.read_text())
    bed.json("preview", file, "--workers", 1)
    for kind in ("corpus", "baseline"):
        option = ("--corpus",) if kind == "baseline" else ()
        assert 0 == bed.cli(kind, *option, bed.root / "words.txt").status
        bed.json(kind, *option, bed.root / "words.txt")
    best = results.require_best(bed.storage, stored).trial
    trial_pictures.publish_trial(bed.storage, stored, bed.data_dir, best)
    drawn = [path.read_text() for path in bed.data_dir.artifacts().iterdir()]
    pictures_drawn = [each for each in drawn if each.startswith("<svg")]
    assert len(pictures_drawn) >= 3
    for picture in pictures_drawn:
        ElementTree.fromstring(picture)
    assert bed.json("test", "tiny", "--yes")["test_loss"] >= 0
