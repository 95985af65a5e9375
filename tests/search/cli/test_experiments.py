"""The verbs of the lecture and the paper, their pictures, and the options of `sample`."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from workspace import Workspace, some_words

from makemore_core.config import TrialConfig
from makemore_core.data.corpus import Corpus
from makemore_core.data.dataset import Dataset
from makemore_core.lecture.batch_losses import batch_losses
from makemore_core.lecture.capacity import CapacityPoint
from makemore_core.lecture.lr_range import lr_range
from makemore_core.model import checkpoint
from makemore_core.training.trainer import train
from search.figures import lecture_figures

CONFIG = TrialConfig(
    hidden_width=12, embedding_size=3, batch_size=16, examples=16 * 60, evaluations=3
)
DATA = Dataset.from_corpus(Corpus("words", tuple(some_words())), 42)


def config_file(bed: Workspace) -> Path:
    """A small configuration, as `train` takes it."""
    path = bed.root / "config.toml"
    values = {"corpus": str(bed.corpus()), "hidden_width": 12, "batch_size": 16, "examples": 960}
    path.write_text(tomli_w.dumps({"config": values}))
    return path


def picture(path: Path) -> str:
    """The words of a picture, which must be XML."""
    return " ".join(ET.parse(path).getroot().itertext())


def test_lr_range_answers_and_draws(bed: Workspace) -> None:
    """The promised keys, as the core finds them; the picture in the data directory."""
    answer = bed.json("lr-range", config_file(bed), "--seed", 3)
    assert {"suggested", "learning_rates", "losses"} <= set(answer)
    assert len(answer["learning_rates"]) == len(answer["losses"]) == 1000
    config = TrialConfig(hidden_width=12, batch_size=16, examples=960)
    assert answer["suggested"] == lr_range(config, DATA, 3).suggested
    assert Path(answer["picture"]) == bed.data_dir.root / "lr-range.svg"
    assert "learning rate" in picture(Path(answer["picture"]))


def test_lr_range_of_the_lectures_network_on_another_corpus(bed: Workspace) -> None:
    """Without a file, `--corpus` alone; people are told the rule and where the picture is."""
    target = bed.root / "here.svg"
    answer = bed.cli("lr-range", "--corpus", bed.corpus(), "-o", target)
    assert 0 == answer.status
    assert "suggested learning rate 0." in answer.out
    assert "within 0.1 nats" in answer.out
    assert answer.out.rstrip().endswith(str(target))
    assert "suggested" in picture(target)


def test_a_picture_with_no_place_to_go(bed: Workspace) -> None:
    """Is said before anything is computed."""
    answer = bed.cli("capacity", config_file(bed), "-o", bed.root / "none" / "x.svg")
    assert 2 == answer.status
    assert "its directory does not exist" in answer.complaint


def test_capacity_runs_the_grid(bed: Workspace) -> None:
    """A point for each width, told as they come, and drawn."""
    answer = bed.cli("capacity", config_file(bed), "--widths", "2,8,32", "--json")
    points = answer.json["rows"]
    assert points == answer.json["points"]
    assert [2, 8, 32] == [point["hidden_width"] for point in points]
    config = TrialConfig(hidden_width=12, batch_size=16, examples=960, evaluations=1)
    for point in points:
        alone = train(replace(config, hidden_width=point["hidden_width"]), DATA, 1)
        assert (alone.train_loss, alone.dev_loss) == (point["train_loss"], point["dev_loss"])
    assert 3 == answer.err.count("hidden units")
    assert "lowest dev loss" in picture(Path(answer.json["picture"]))
    wrong = bed.cli("capacity", config_file(bed), "--widths", "2,none")
    assert 2 == wrong.status
    assert "--widths 2,none: give whole numbers" in wrong.complaint


def test_mix_gives_two_rows_for_each_model(finished: Workspace) -> None:
    """The network as it was recorded, and mixed: never worse where the share is fitted on dev."""
    answer = finished.json("mix", "tiny")
    networks, mixed = answer["rows"][0::2], answer["rows"][1::2]
    recorded = {trial["number"]: trial["dev_loss"] for trial in finished.json("trials", "tiny")}
    assert [f"MLP{k + 1}" for k in range(len(answer["rows"]))] == [
        row["name"] for row in answer["rows"]
    ]
    assert len(networks) == len(mixed) >= 1
    for alone, twin in zip(networks, mixed, strict=True):
        assert alone["dev_loss"] == pytest.approx(recorded[alone["trial"]], abs=1e-5)
        assert alone["dev_perplexity"] == pytest.approx(math.exp(alone["dev_loss"]))
        assert twin["dev_loss"] <= min(alone["dev_loss"], answer["ngram_dev_loss"]) + 1e-9
        assert (False, True) == (alone["mixed"], twin["mixed"])


def test_mix_with_a_given_share_and_order(finished: Workspace) -> None:
    """A share of 0 is the n-gram, for every network; a table for people."""
    answer = finished.json("mix", "tiny", "--weight", 0, "--order", 2)
    losses = [row["dev_loss"] for row in answer["rows"][1::2]]
    assert losses == pytest.approx([answer["ngram_dev_loss"]] * len(losses))
    assert "perplexity" in finished.cli("mix", "tiny").out
    assert "weight: 1.5 is not from 0 to 1" in finished.cli("mix", "tiny", "--weight", 1.5).err


def test_mix_before_anything_is_trained(bed: Workspace) -> None:
    """Says what to do first."""
    bed.json("submit", bed.file())
    answer = bed.cli("mix", "tiny")
    assert 2 == answer.status
    assert "no complete trial yet; `run` it first" in answer.complaint


def test_sample_options(finished: Workspace) -> None:
    """A prefix, a temperature, and only words that the corpus lacks."""
    words = finished.json(
        "sample", "tiny", "-n", 50, "--seed", 1, "--prefix", "al", "--temperature", 0.7, "--new"
    )
    assert 50 == len(words)
    assert all(word.startswith("al") for word in words)
    assert not set(words) & set(some_words())
    assert 2 == finished.cli("sample", "tiny", "--temperature", 0).status


def test_sample_new_words_from_a_saved_model(bed: Workspace) -> None:
    """Needs to be told the corpus: a checkpoint has none."""
    path = bed.root / "model.safetensors"
    checkpoint.save(path, train(CONFIG, DATA, 1).model, {})
    refused = bed.cli("sample", "--checkpoint", path, "--new")
    assert 2 == refused.status
    assert "needs --corpus" in refused.complaint
    words = bed.json("sample", "--checkpoint", path, "--new", "--corpus", bed.corpus())
    assert 20 == len(words)
    assert not set(words) & set(some_words())


def test_pictures_of_losses() -> None:
    """By step and in logarithms, with running means; train beside dev; letters in a plane."""
    losses = batch_losses(CONFIG, DATA, 1)
    for log10 in (False, True):
        drawn = lecture_figures.batch_losses(losses, log10=log10, window=10)
        words = " ".join(ET.fromstring(drawn).itertext())
        assert ("log10" in words) is log10
        assert 2 == drawn.count("<polyline")
    long = lecture_figures.batch_losses(np.ones(200_000))
    assert len(long) < 100_000
    result = train(replace(CONFIG, embedding_size=2), DATA, 1)
    assert "dev" in " ".join(ET.fromstring(lecture_figures.train_and_dev("x", result)).itertext())
    plane = lecture_figures.embedding("x", result.model)
    assert "its two dimensions as they are" in plane
    assert all(f">{letter}<" in plane for letter in DATA.vocabulary)
    larger = lecture_figures.embedding("x", train(CONFIG, DATA, 1).model)
    assert "first two of 3 principal components" in larger


def test_a_single_size_is_a_picture_too() -> None:
    """A point."""
    point = CapacityPoint(8, 100, 2.0, 2.5, 0.1)
    assert "<circle" in lecture_figures.capacity([point])
