"""The command line: answers, exit statuses, one line for every mistake, nothing made by one."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from workspace import Workspace, ended, invoke, some_words, tree

from makemore_core.config import TrialConfig
from makemore_core.data import sealed_test
from search.study import study
from search.study.study import StoredStudy
from search.trials.results import attempt_of_trial

STATUS = {"study", "state", "trials", "budget", "best", "elapsed_seconds", "eta_seconds"}
BEST = {
    "study",
    "trial",
    "dev_loss",
    "dev_loss_unseen",
    "config",
    "parameters",
    "checkpoint_sha256",
}
TRIAL = {
    "number",
    "state",
    "dev_loss",
    "config",
    "seconds",
    "examples",
    "reason",
    "retry_of",
}
TRAIN = {
    "dev_loss",
    "final_dev_loss",
    "dev_loss_unseen",
    "train_loss",
    "parameters",
    "steps",
    "examples",
    "train_seconds",
    "steps_per_second",
    "curve",
}


# Answers


def test_status_of_one_study_and_of_all(finished: Workspace) -> None:
    """One document for a study, by name or file; a list of the same without one."""
    one = finished.json("status", "tiny")
    assert STATUS <= one.keys()
    assert {"complete", "pruned", "failed", "running", "waiting"} == one["trials"].keys()
    assert {"trials", "finished"} == one["budget"].keys()
    assert ("tiny", "done") == (one["study"], one["state"])
    assert BEST <= one["best"].keys()
    assert one == finished.json("status", finished.root / "tiny.toml")
    assert [one] == finished.json("status")


def test_status_of_a_study_that_has_only_been_created(bed: Workspace) -> None:
    """No best yet, and every known configuration waiting."""
    bed.create(enqueue=[{"hidden_width": 16}])
    view = bed.json("status", "tiny")
    assert ("open", None, 1) == (view["state"], view["best"], view["trials"]["waiting"])
    assert {"trials": 12, "finished": 0} == view["budget"]


def test_trials_as_json_and_csv(finished: Workspace) -> None:
    """Every trial, flat, in both formats, with the same values."""
    listed = finished.json("trials", "tiny")
    assert 12 == len(listed)
    assert all(TRIAL <= trial.keys() for trial in listed)
    assert list(range(12)) == [trial["number"] for trial in listed]
    assert listed == finished.cli("trials", "tiny", "--format", "json").json
    table = list(csv.DictReader(io.StringIO(finished.cli("trials", "tiny", "--format", "csv").out)))
    assert [str(trial["number"]) for trial in listed] == [row["number"] for row in table]
    assert [trial["dev_loss"] for trial in listed] == [float(row["dev_loss"]) for row in table]
    assert [t["config"]["batch_size"] for t in listed] == [int(r["batch_size"]) for r in table]
    assert [str(trial["examples"]) for trial in listed] == [row["examples"] for row in table]
    assert {"4000"} == {row["config_examples"] for row in table}


def test_every_column_of_the_csv_has_a_name_of_its_own(finished: Workspace) -> None:
    """The header is the same for every study, also without a trial; its first names are those of
    the JSON."""
    header = finished.cli("trials", "tiny", "--format", "csv").out.splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    assert list(header[:7]) == [k for k in header if k in TRIAL]
    assert {f.name for f in dataclasses.fields(TrialConfig)} <= {
        name.removeprefix("config_") for name in header
    }


def test_the_csv_of_a_study_without_trials_has_its_header(bed: Workspace) -> None:
    """A script that reads columns by their names finds them."""
    bed.create()
    assert "config_examples" in bed.cli("trials", "tiny", "--format", "csv").out


@pytest.mark.parametrize("verb", ["status", "trials", "best"])
def test_no_json_document_names_a_key_twice(verb: str, finished: Workspace) -> None:
    """Every key of every object stands once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    json.loads(finished.cli(verb, "tiny", "--json").out, object_pairs_hook=once)


def test_best_as_json_and_as_a_file_for_train(finished: Workspace) -> None:
    """`best --toml` writes what `train` takes; with the trial's seed it is the trial again."""
    best = finished.json("best", "tiny")
    assert BEST <= best.keys()
    config = finished.root / "best.toml"
    config.write_text(finished.cli("best", "tiny", "--toml").out)
    stored = study.resolve(finished.storage, "tiny")
    seed = attempt_of_trial(finished.storage, stored, best["trial"]).training_seed
    trained = finished.json("train", config, "--seed", seed, "--quiet")
    assert TRAIN <= trained.keys()
    assert best["dev_loss"] == trained["dev_loss"]
    assert best["parameters"] == trained["parameters"]
    assert all(3 == len(point) for point in trained["curve"])
    assert trained["dev_loss"] == min(loss for _, loss, _ in trained["curve"])


def test_replay_is_identical(finished: Workspace) -> None:
    """Any trial, pruned ones too, comes out the same bit for bit."""
    numbers = {trial["state"]: trial["number"] for trial in finished.json("trials", "tiny")}
    assert {"complete", "pruned"} == numbers.keys()
    for number in numbers.values():
        view = finished.json("replay", "tiny", number)
        assert {"recorded", "replayed", "identical"} <= view.keys()
        assert view["identical"] is True
        assert view["recorded"] == view["replayed"]


def test_preview_creates_nothing(bed: Workspace) -> None:
    """The space and the cost are told; no file appears."""
    file = bed.file()
    before = tree(bed.root)
    view = bed.json("preview", file, "--workers", 1)
    assert {"study", "space", "trials", "estimated_seconds"} <= view.keys()
    assert ("tiny", 12) == (view["study"], view["trials"])
    assert {"low": 2, "high": 8} == view["space"]["embedding_size"]
    assert 0 < view["estimated_seconds"] < 3600
    assert before == tree(bed.root)


def test_preview_of_epochs(bed: Workspace) -> None:
    """A trial of so many passes over the train split costs what as many examples do."""

    def seconds(epochs: float) -> float:
        file = bed.file(budget={"epochs": epochs})
        return float(bed.json("preview", file, "--workers", 1)["estimated_seconds"])

    assert 5 * seconds(4) < seconds(4000)


def test_submit_creates_and_returns(bed: Workspace) -> None:
    """The study is there, nobody works on it; submitting it again is the same study."""
    file = bed.file()
    view = bed.json("submit", file, "--trials", 3)
    assert STATUS <= view.keys()
    assert ("open", {"trials": 3, "finished": 0}) == (view["state"], view["budget"])
    assert view["study"] == bed.json("submit", file)["study"]
    assert [] == bed.json("trials", "tiny")


def test_the_options_of_run_replace_what_the_file_says(bed: Workspace) -> None:
    """`--trials`, `--timeout`, `--corpus` and `--seed` count as if they stood in the file."""
    other = bed.corpus(some_words(150, seed=3), "other.txt")
    file = bed.file()
    options = ("--trials", 5, "--timeout", "1m30s", "--corpus", other, "--seed", 77)
    bed.json("submit", file, *options)
    spec = study.resolve(bed.storage, "tiny").spec
    assert (5, 90.0, 77) == (spec.budget.trials, spec.budget.timeout, spec.study.seed)
    answer = bed.cli("submit", file)
    assert 3 == answer.status
    assert "study.seed" in answer.complaint
    assert "study.corpus" in answer.complaint


def test_sample_gives_words(finished: Workspace) -> None:
    """As many as asked for, of the corpus's alphabet; a seed makes them the same again."""
    words = finished.json("sample", "tiny", "-n", 7, "--seed", 3)
    assert 7 == len(words)
    assert set("".join(words)) <= set("aeilmnorst")
    assert words == finished.json("sample", "tiny", "-n", 7, "--seed", 3)
    assert words != finished.json("sample", "tiny", "-n", 7, "--seed", 4)


def test_a_saved_model_can_be_sampled(finished: Workspace) -> None:
    """`train --save` writes what `sample --checkpoint` reads."""
    config = finished.root / "best.toml"
    config.write_text(finished.cli("best", "tiny", "--toml").out)
    saved = finished.root / "model.safetensors"
    finished.json("train", config, "--save", saved, "--quiet")
    assert 20 == len(finished.json("sample", "--checkpoint", saved))


def test_corpus_tells_what_is_in_it(bed: Workspace) -> None:
    """Counts, alphabet and fingerprint; of the test split only how many words it holds."""
    words = [*some_words(90), *["twice"] * 10]
    view = bed.json("corpus", bed.corpus(words))
    assert {
        "name",
        "words",
        "unique_words",
        "vocabulary",
        "sha256",
        "splits",
        "dev_words_seen_in_train",
    } <= view.keys()
    assert (100, len(set(words))) == (view["words"], view["unique_words"])
    splits = view["splits"]
    assert (80, 10, {"words": 10}) == (
        splits["train"]["words"],
        splits["dev"]["words"],
        splits["test"],
    )
    assert {"words", "examples", "unique_contexts"} == splits["train"].keys()
    assert "".join(sorted({".", *"".join(words)})) == view["vocabulary"]


def test_the_built_in_names(bed: Workspace) -> None:
    """`first-names` works offline and is plain, lower-case and sorted."""
    view = bed.json("corpus", "first-names")
    assert ("first-names", view["words"]) == (view["name"], view["unique_words"])
    assert ".abcdefghijklmnopqrstuvwxyz" == view["vocabulary"]
    assert view["words"] > 5_000


def test_baseline_counts(bed: Workspace) -> None:
    """The bigram model and its losses."""
    view = bed.json("baseline", "--corpus", bed.corpus(), "--order", 3)
    assert {
        "order",
        "train_loss",
        "dev_loss",
        "dev_loss_unseen",
        "all_words_loss",
    } <= view.keys()
    assert 3 == view["order"]


def test_stop_and_delete_answer(finished: Workspace) -> None:
    """`stop` answers as `status`; `delete` asks for `--yes` where nobody can be asked."""
    assert STATUS <= finished.json("stop", "tiny").keys()
    answer = finished.cli("delete", "tiny")
    assert 2 == answer.status
    assert "--yes" in answer.complaint
    assert 12 == len(finished.json("trials", "tiny"))
    finished.json("delete", "tiny", "--yes")
    assert [] == finished.json("status")


def test_people_are_answered_without_json(finished: Workspace) -> None:
    """Each verb that shows something says it in words, too."""
    for command in (
        ("status",),
        ("status", "tiny"),
        ("trials", "tiny"),
        ("best", "tiny"),
        ("sample", "tiny"),
        ("corpus", finished.root / "words.txt"),
        ("preview", finished.root / "tiny.toml", "--workers", 1),
        ("replay", "tiny", 0),
        ("test", "tiny", "--yes"),
    ):
        answer = finished.cli(*command)
        assert 0 == answer.status, answer.err
        assert answer.out.strip()


def test_the_module_is_the_program(finished: Workspace) -> None:
    """`python -m search` and `makemore-search` are the same; neither writes anything but JSON to
    standard output; both work from any directory."""
    script = Path(sys.executable).with_name("makemore-search")
    answers = []
    for program in ([sys.executable, "-m", "search"], [str(script)]):
        answer = subprocess.run(
            [*program, *finished.arguments("best", "tiny", "--json")],
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert 0 == answer.returncode, answer.stderr
        answers.append(json.loads(answer.stdout))
    assert answers[0] == answers[1]


@pytest.mark.sqlite_file
def test_the_environment_says_where_things_are(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options outrank `MAKEMORE_SEARCH_DATA_DIR` and `MAKEMORE_SEARCH_STORAGE`."""
    monkeypatch.setenv("MAKEMORE_SEARCH_DATA_DIR", str(finished.data_dir.root))
    assert 0 == invoke("status", "tiny").status
    moved = finished.root / "moved.db"
    finished.data_dir.database.rename(moved)
    monkeypatch.setenv("MAKEMORE_SEARCH_STORAGE", f"sqlite:///{moved}")
    assert 0 == invoke("status", "tiny").status
    assert 2 == invoke("status", "tiny", "--storage", "sqlite:///nowhere.db").status


def test_the_default_data_directory_is_runs(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options and environment everything is kept in `runs`, here."""
    file = bed.file()
    monkeypatch.chdir(bed.root)
    assert 0 == invoke("submit", file).status
    assert (bed.root / "runs" / "studies.db").is_file()


# Mistakes


def refused(bed: Workspace, status: int, *arguments: Any) -> str:
    """The one line of complaint of a command that must fail so and leave everything as it was."""
    before = tree(bed.root)
    for option in ((), ("--json",)):
        answer = bed.cli(*arguments, *option)
        assert status == answer.status, answer
        assert "" == answer.out
        assert answer.complaint
    assert before == tree(bed.root)
    return answer.complaint


def bad_corpus(bed: Workspace, content: bytes) -> Path:
    path = bed.root / "bad.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("no words", b""),
        ("no words", b"\n\n \r\n"),
        ("9 words", b"\n".join([b"word"] * 9)),
        ("line 3, byte 10", b"emma\navas\n\xff\xfe\n" + b"word\n" * 20),
        ("line 2", b"emma\nst. john\n" + b"word\n" * 20),
        ("NUL", b"emma\nst\x00john\n" + b"word\n" * 20),
    ],
)
def test_a_corpus_that_cannot_be_used(expected: str, content: bytes, bed: Workspace) -> None:
    """Empty, too small, not UTF-8, with the boundary inside a word: refused with the place."""
    corpus = bad_corpus(bed, content)
    file = bed.file(study={"corpus": str(corpus)})
    for command in (("run", file), ("submit", file), ("preview", file), ("corpus", corpus)):
        assert expected in refused(bed, 2, *command)
    assert str(corpus) in refused(bed, 2, "run", bed.file(), "--corpus", corpus)


def test_ten_words_are_enough(bed: Workspace) -> None:
    """The smallest corpus that can be split can be searched and tested."""
    corpus = bed.corpus(["emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia", "evelyn",
                         "abigail", "a" * 60])  # fmt: skip
    stored = bed.create(study={"corpus": str(corpus)}, budget={"trials": 3})
    bed.work(stored)
    assert 3 == len(bed.outcomes(stored))
    check_test_loss(bed, stored)


def check_test_loss(bed: Workspace, stored: StoredStudy) -> None:
    """What `test` answers is the mean over the test words, as `score` finds them one by one."""
    corpus = study.corpus_of(bed.storage, stored, bed.data_dir)
    words = sealed_test.open_test_split(corpus, stored.spec.study.split_seed)
    scores = bed.json("score", stored.name, *words)
    expected = sum(s["nats"] for s in scores) / sum(s["characters"] for s in scores)
    answered = bed.json("test", stored.name, "--yes")["test_loss"]
    assert expected == pytest.approx(answered, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("letters", [*"abcdefghijklmnopqrst"] * 3),
        ("unicode", ["żółw", "日本", "naïve", "ёж", "😀😀", "ß"] * 9),
        ("spaces within", ["mary ann", "anna lee", "jo"] * 9),
        ("long", ["x" * 60, "yx" * 30, "zy" * 20] * 5),
        ("equal", ["same"] * 40),
    ],
)
def test_odd_words_can_be_searched(name: str, words: list[str], bed: Workspace) -> None:
    """Single letters, any script, spaces, words longer than any block, one word again and again."""
    corpus = bed.corpus(words, f"{name}.txt")
    stored = bed.create(study={"name": name, "corpus": str(corpus)}, budget={"trials": 2})
    bed.work(stored)
    assert 2 == len(bed.outcomes(stored))
    assert STATUS <= bed.json("status", name).keys()
    assert all(set(word) <= set("".join(words)) for word in bed.json("sample", name, "--seed", 1))
    check_test_loss(bed, stored)


@pytest.mark.parametrize("verb", ["run", "submit", "preview", "train"])
def test_a_file_that_is_not_there(verb: str, bed: Workspace) -> None:
    """Missing, or a directory: the path is named."""
    assert "missing.toml" in refused(bed, 2, verb, bed.root / "missing.toml")
    assert "directory" in refused(bed, 2, verb, bed.root)


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("search.hidden_widht", {"search": {"hidden_widht": 3}}),
        ("budget.trials", {"budget": {"trials": "x"}}),
        ("search.hidden_width", {"search": {"hidden_width": []}}),
        ("search.block_size", {"search": {"block_size": {"low": 4, "high": 2}}}),
        (
            "search.weight_decay",
            {"search": {"weight_decay": {"low": 0, "high": 1, "log": True}}},
        ),
        ("enqueue.0.hidden_width", {"enqueue": [{"hidden_width": 99}]}),
    ],
)
def test_a_study_file_with_a_mistake(key: str, sections: dict[str, Any], bed: Workspace) -> None:
    """Unknown keys, wrong types, empty and reversed ranges, log at zero, an enqueued configuration
    outside the space: each is told with its key, and nothing is created."""
    file = bed.file(**sections)
    for verb in ("run", "submit", "preview"):
        assert key in refused(bed, 2, verb, file)


def test_drift_and_its_exit_status(finished: Workspace) -> None:
    """A changed definition is refused with 3, by `run` and `submit` alike."""
    file = finished.file(study={"seed": 5})
    for verb in ("run", "submit"):
        assert "study.seed" in refused(finished, 3, verb, file)


@pytest.mark.parametrize(
    "command",
    [
        ("status", "huge"),
        ("trials", "huge"),
        ("best", "huge"),
        ("test", "huge"),
        ("sample", "huge"),
        ("replay", "huge", 0),
        ("stop", "huge"),
        ("delete", "huge", "--yes"),
        ("worker", "huge"),
        ("replay", "tiny", 99),
        ("sample", "--checkpoint", "missing.safetensors"),
        ("sample",),
        ("sample", "tiny", "--checkpoint", "x"),
        ("corpus", "missing.txt"),
        ("baseline", "--corpus", "missing.txt"),
        ("baseline", "--corpus", "first-names", "--order", 0),
        ("trials", "tiny", "--format", "xml"),
        ("sample", "tiny", "-n", 0),
        ("run",),
        ("fly",),
        ("status", "--fast"),
        ("status", "tiny", "tiny"),
        ("replay", "tiny", "first"),
        ("replay", "tiny", -1),
        ("dashboard", "--port", 99999999),
    ],
)
def test_what_does_not_exist_or_makes_no_sense(
    command: tuple[Any, ...], finished: Workspace
) -> None:
    """No such study, trial, checkpoint, corpus, verb, option or value: exit 2, one line."""
    refused(finished, 2, *command)


@pytest.mark.parametrize(
    "options",
    [
        ("--workers", 0),
        ("--threads", 0),
        ("--trials", 0),
        ("--trials", "many"),
        ("--timeout", "soon"),
        ("--timeout", "0s"),
        ("--seed", -1),
        ("--corpus", "missing.txt"),
        ("--device", "abacus"),
        ("--device", "cuda:99"),
        ("--storage", "nonsense"),
        ("--storage", "sqlite://"),
        ("--storage", "mysql://u:s3cret@h/d"),
    ],
)
def test_options_of_run_that_make_no_sense(options: tuple[Any, ...], bed: Workspace) -> None:
    """Each is refused before anything is created; a password is never printed."""
    assert "s3cret" not in refused(bed, 2, "run", bed.file(), *options)


@pytest.mark.sqlite_file
@pytest.mark.parametrize("verb", ["status", "trials", "best", "test", "stop"])
def test_looking_creates_no_storage(verb: str, bed: Workspace) -> None:
    """Where there is no storage, looking for a study in it makes none."""
    assert str(bed.data_dir.database) in refused(bed, 2, verb, "tiny")


def test_a_storage_that_cannot_be_used(bed: Workspace) -> None:
    """A directory, or a file that is no database, is named and left alone."""
    file = bed.file()
    (bed.root / "folder").mkdir()
    (bed.root / "text.db").write_text("just text, and quite a lot of it" * 99)
    for name in ("folder", "text.db"):
        url = f"sqlite:///{bed.root / name}"
        assert name in refused(bed, 2, "run", file, "--storage", url)
        assert name in refused(bed, 2, "status", "--storage", url)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory nobody can write")
def test_a_place_that_cannot_be_written(bed: Workspace) -> None:
    """A data directory or a database where nothing can be made: exit 2, before any work."""
    file = bed.file()
    before = tree(bed.root)
    for options in (
        ("--data-dir", "/proc/self/none"),
        ("--data-dir", bed.root / "words.txt"),
        ("--data-dir", bed.data_dir.root, "--storage", "sqlite:////proc/self/none.db"),
    ):
        for verb in ("run", "submit"):
            answer = invoke(verb, file, *options)
            assert 2 == answer.status, answer
            assert answer.complaint
    created = tree(bed.root) - before
    assert not any(name.endswith(".db") for name in created)


def test_a_model_that_was_tampered_with(finished: Workspace) -> None:
    """A checkpoint's hash is checked before it is loaded: exit 2, and the file is named."""
    best = finished.json("best", "tiny")
    uid = study.resolve(finished.storage, "tiny").uid
    path = finished.data_dir.checkpoint(uid, best["trial"])
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert str(path) in refused(finished, 2, "sample", "tiny")
    assert path.name in refused(finished, 2, "sample", "--checkpoint", path)
    path.write_bytes(b"not a checkpoint")
    refused(finished, 2, "sample", "--checkpoint", path)
    refused(finished, 2, "sample", "--checkpoint", finished.root)


def test_debug_shows_where(bed: Workspace) -> None:
    """A traceback is shown to whoever asks for it, and to nobody else."""
    answer = bed.cli("status", "tiny", "--debug")
    assert 2 == answer.status
    assert "Traceback" in answer.err


def test_a_file_that_ends_too_early_is_no_interruption(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typer takes every EOFError for Ctrl-D, wherever it comes from."""

    def empty(*_: object, **__: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr("makemore_core.data.corpus.load", empty)
    answer = bed.cli("corpus", "first-names")
    assert 1 == answer.status
    assert "Ran out of input" in answer.complaint


def test_a_reader_that_leaves_is_no_error(finished: Workspace) -> None:
    """`makemore-search trials | head -1` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "search", *finished.arguments("trials", "tiny")],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    answer = ended(process)
    assert (0, "") == (answer.status, answer.err)


def test_a_config_file_with_mistakes(bed: Workspace) -> None:
    """`train` tells them all at once and writes nothing."""
    file = bed.root / "config.toml"
    file.write_text(tomli_w.dumps({"config": {"corpus": "first-names", "hiden": 3, "dropout": 7}}))
    complaint = refused(bed, 2, "train", file, "--save", bed.root / "model.safetensors")
    assert "config.hiden" in complaint
    assert "config.dropout" in complaint
    file.write_text(tomli_w.dumps({"config": {"corpus": str(bed.corpus())}}))
    refused(bed, 2, "train", file, "--save", bed.root / "none" / "model.safetensors")
    refused(bed, 2, "train", file, "--save", bed.root)


def test_a_relative_corpus_is_the_same_from_any_directory(
    bed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `best --toml` writes can be trained from elsewhere, however the study was begun."""
    bed.corpus()
    bed.file(study={"corpus": "words.txt"}, budget={"trials": 1})
    (bed.root / "elsewhere").mkdir()
    for command in (("tiny.toml",), ("tiny.toml", "--corpus", "words.txt")):
        monkeypatch.chdir(bed.root)
        bed.json("submit", *command)
        bed.work(study.resolve(bed.storage, "tiny"))
        monkeypatch.chdir("elsewhere")
        config = Path("best.toml")
        config.write_text(bed.cli("best", "tiny", "--toml").out)
        assert bed.json("train", config, "--quiet")["dev_loss"] > 0


@pytest.fixture
def unwritable(finished: Workspace) -> Iterator[Workspace]:
    """The finished study in a database that not even root can write."""
    finished.close()
    database = finished.data_dir.database
    database.chmod(0o400)
    if os.access(database, os.W_OK) and subprocess.run(["chattr", "+i", database]).returncode:
        pytest.skip("root may write anything here")
    yield finished
    subprocess.run(["chattr", "-i", database], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.sqlite_file
def test_a_storage_that_cannot_be_written(unwritable: Workspace) -> None:
    """Looking works; whatever would write is refused with 2, and nothing is lost."""
    for command in (("status",), ("best", "tiny"), ("trials", "tiny")):
        unwritable.json(*command)
    for command in (("stop", "tiny"), ("delete", "tiny", "--yes"), ("test", "tiny")):
        assert "read-only" in refused(unwritable, 2, *command)
    assert "read-only" in refused(unwritable, 2, "run", unwritable.root / "tiny.toml")
