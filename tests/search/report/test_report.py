"""The report and the pictures: complete, offline, and silent about what is sealed."""

import base64
import gzip
import json
import re
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from workspace import Workspace

from makemore_core.errors import CheckpointError
from makemore_core.model import checkpoint
from search.dashboard import trial_pictures
from search.figures import numpy_model, trial_figures
from search.report import conclusions, space_plots
from search.report import facts as report_facts
from search.report.facts import ReportData
from search.report.plotly_parts import loss_range, subsample
from search.spec import study_spec
from search.study import study
from search.study.study import StoredStudy
from search.trials import results


def reported(bed: Workspace, *arguments: Any) -> str:
    """The page of the study `tiny`."""
    answer = bed.json("report", "tiny", "-o", bed.root / "r.html", *arguments)
    assert {"path": str(bed.root / "r.html")} == answer
    return (bed.root / "r.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The elements of a page, as a browser would have them, and the text in some of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names, self.attributes = set[str](), set[str]()
        self.scripts: list[str | None] = []
        self.texts: dict[str, list[str]] = {}
        self._within = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._within = tag
        if tag == "script":
            self.scripts.append(dict(attrs).get("type"))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_comment(self, data: str) -> None:
        self.names.add("!--")

    def handle_data(self, data: str) -> None:
        if self._within:
            self.texts.setdefault(self._within, []).append(data)


def tiny(bed: Workspace) -> StoredStudy:
    return study.resolve(bed.storage, "tiny")


def facts(bed: Workspace) -> ReportData:
    return report_facts.gather(bed.storage, tiny(bed), bed.data_dir)


def drawn(page: str) -> dict[str, Any]:
    """The page's figures."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found
    figures: dict[str, Any] = json.loads(found[1])
    return figures


def test_the_page_has_every_section_and_a_figure_for_each_place(finished: Workspace) -> None:
    """Headline, course, findings, winner, confirmation, test and reproduction, all with figures."""
    page = reported(finished)
    for anchor in ("course", "findings", "winner", "confirmation", "test", "reproduce"):
        assert f'id="{anchor}"' in page
    places = set(re.findall(r'class="plot" id="([^"]+)"', page))
    assert places == set(drawn(page))
    slices = {f"slice-{name}" for name in space_plots.searched(tiny(finished).spec.space)}
    expected = {"history", "history-time", "curves", "effort", "parallel", "winner-curve", *slices}
    assert expected <= places
    assert f"{results.require_best(finished.storage, tiny(finished)).dev_loss:.4f}" in page


def test_the_page_asks_the_network_for_nothing(finished: Workspace) -> None:
    """No address of another place stands in it, and its policy forbids every connection."""
    page = reported(finished)
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", page)
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page


def test_the_page_is_small(finished: Workspace) -> None:
    """Under 3 MB, the drawing library included, which unpacks to what its package ships."""
    page = reported(finished)
    assert len(page.encode()) < 3_000_000
    packed = re.search(r'<script type="text/plain" id="plotly">([^<]*)</script>', page)
    assert packed
    bundle = files("plotly") / "package_data" / "plotly.min.js"
    assert bundle.read_bytes() == gzip.decompress(base64.b64decode(packed[1]))


def test_the_test_split_is_said_to_be_sealed_until_it_is_opened(finished: Workspace) -> None:
    """Before `test` the page says sealed; afterwards it shows the recorded score."""
    page = reported(finished)
    assert "sealed" in page and "95 % interval" not in page
    answer = finished.json("test", "tiny", "--yes")
    assert f"{answer['test_loss']:.4f}" in reported(finished)


@pytest.mark.usefixtures("trained_here")
def test_a_confirmation_is_shown_with_its_intervals(finished: Workspace) -> None:
    """After `confirm` the page names the winner, with means, spreads and intervals over seeds."""
    finished.json("confirm", "tiny", "--top", 2, "--seeds", 2, "--workers", 1)
    page = reported(finished)
    assert "95 % interval of the mean" in page and "confirmed" in drawn(page)
    winner = facts(finished).confirmed[0].trial
    assert f"The winner: trial {winner}" in page


def test_without_the_checkpoint_the_page_says_so(finished: Workspace) -> None:
    """A report made on a host without the winner's checkpoint has everything else."""
    for path in finished.data_dir.checkpoints(tiny(finished).uid).iterdir():
        path.unlink()
    page = reported(finished)
    assert "is not on this machine" in page and "embedding" not in drawn(page)


def test_a_tampered_checkpoint_is_not_shown(finished: Workspace) -> None:
    """The checkpoint's hash is checked before anything in it is believed."""
    for path in finished.data_dir.checkpoints(tiny(finished).uid).iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    page = reported(finished)
    assert "SHA-256" in page and "embedding" not in drawn(page)


def test_names_from_outside_are_no_markup(bed: Workspace) -> None:
    """A study's name cannot become part of the page, nor begin a script."""
    name = "<!--<script>alert(1)<b onclick='x'>&"
    bed.work(bed.create(study={"name": name}, budget={"trials": 3}))
    bed.json("report", name, "-o", bed.root / "r.html")
    page = Elements((bed.root / "r.html").read_text(encoding="utf-8"))
    assert page.texts["h1"] == [name]
    assert page.texts["title"] == [f"{name}: report"]
    assert [None, "application/json", "text/plain"] == sorted(page.scripts, key=str)
    assert not {"b", "!--"} & page.names
    assert not [key for key in page.attributes if key.startswith("on")]


def test_a_study_without_trials_has_a_page(bed: Workspace) -> None:
    """Right after `submit` there is a report, which says that nothing is complete."""
    bed.create()
    assert "No trial is complete yet" in reported(bed)


def test_the_study_file_in_the_report_is_the_study(finished: Workspace) -> None:
    """What the page shows as the study file defines the very same study."""
    spec = tiny(finished).spec
    again = tomllib.loads(conclusions.definition(spec))
    assert spec == study_spec.from_document(again, "report", spec.defaults)


def test_a_place_that_cannot_be_written_is_one_line(finished: Workspace) -> None:
    """-o into nowhere: status 2, what and where."""
    answer = finished.cli("report", "tiny", "-o", finished.root / "none" / "r.html")
    assert (2, True) == (answer.status, "cannot be written" in answer.complaint)


def test_importances_add_up_to_one(bed: Workspace) -> None:
    """Of all hyperparameters that are searched, once there are enough complete trials."""
    stored = bed.create(budget={"trials": 16}, pruner={"kind": "none"})
    bed.work(stored)
    attempts, space = facts(bed).attempts, stored.spec.space
    figure = space_plots.importances(attempts, space)
    assert figure is not None
    (bar,) = figure["data"]
    assert set(space_plots.searched(space)) == set(bar["y"])
    assert 1.0 == pytest.approx(sum(bar["x"]))
    assert f"{bar['y'][-1]} {bar['x'][-1]:.0%}, " in space_plots.importances_in_words(figure)
    assert space_plots.importances(attempts[:5], space) is None


def test_thinning_keeps_the_ends() -> None:
    """A thinned list has its first and last, and is as short as asked."""
    assert [0, 50, 100] == subsample(list(range(101)), 3)
    assert [1, 2] == subsample([1, 2], 3)


def test_the_focus_holds_the_best() -> None:
    """However bad the worst losses, the best lies within the picture."""
    low, high = loss_range([2.0, 2.1, 2.2, 99.0])
    assert low < 2.0 < high < 3.0


# Pictures


def test_plain_models_are_the_cores(finished: Workspace) -> None:
    """The model that is read without torch gives the core's logits, bar rounding."""
    best = results.require_best(finished.storage, tiny(finished))
    path = finished.data_dir.checkpoint(tiny(finished).uid, best.trial)
    plain = numpy_model.load(path, str(best.checkpoint_sha256))
    core, _ = checkpoint.load(path, best.checkpoint_sha256)
    contexts = np.random.default_rng(0).integers(
        len(core.vocabulary), size=(50, core.config.block_size)
    )
    expected = core.logits(torch.from_numpy(contexts)).numpy()
    assert core.vocabulary == plain.vocabulary
    np.testing.assert_allclose(expected, plain.logits(contexts), rtol=1e-4, atol=1e-5)
    words = numpy_model.sample(plain, 20, 1)
    assert words == numpy_model.sample(plain, 20, 1) and len(words) == 20
    with pytest.raises(CheckpointError):
        numpy_model.load(path, "0" * 64)


def test_two_dimensions_are_shown_as_they_are() -> None:
    """A two-dimensional embedding is not turned; a larger one keeps most of its variance."""
    vectors = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    points, share = numpy_model.project_to_plane(vectors)
    assert 1.0 == share and points.tolist() == vectors.tolist()
    line = np.outer(np.arange(5.0), np.ones(4)).astype(np.float32)
    assert 1.0 == pytest.approx(numpy_model.project_to_plane(line)[1])


@pytest.mark.parametrize(
    "curve", [[[10, 2.5, 0.1, 2.6]], [[10, 2.5, 0.1, 2.6], [20, 2.4, 0.2, 2.5]]]
)
def test_pictures_are_well_formed(curve: list[list[float]]) -> None:
    """Every picture is XML, whatever the letters and however short the curve."""
    tensors = {"embedding": np.arange(12, dtype=np.float32).reshape(4, 3)}
    model = numpy_model.NumpyModel(".<&a", tensors)
    for picture in (
        trial_figures.learning_curve("trial <1>", curve),
        trial_figures.embedding("t", model),
        trial_figures.samples("t", ["<b>", "", "x" * 50]),
    ):
        ElementTree.fromstring(picture)


def test_no_picture_fails_a_run(bed: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Where no picture can be written, the log has a warning and the run ends as every other."""
    bed.data_dir.root.mkdir(parents=True)
    bed.data_dir.artifacts().write_text("a file where the directory should be")
    answer = bed.cli("run", bed.file(), "--workers", 1)
    assert 0 == answer.status
    warnings = {
        record.getMessage()
        for record in caplog.records
        if record.name == trial_pictures.__name__ and record.levelname == "WARNING"
    }
    assert 1 == len(warnings)
    assert "no more pictures of study tiny" in warnings.pop()
    assert 12 == len([t for t in bed.json("trials", "tiny") if t["state"] != "failed"])
