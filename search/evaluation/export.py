"""The winner of a study as files that need no storage: model, configuration, vocabulary, card."""

import json
import shutil
from pathlib import Path

from makemore_core.data.printable import printable
from makemore_core.model import checkpoint
from search.evaluation import final_test
from search.evaluation.final_test import TestResult
from search.evaluation.output_directory import output_directory
from search.evaluation.winner import (
    describe_best,
    describe_model,
    describe_winner,
    load_winning_model,
    model_file,
)
from search.formatting import format_seed_interval
from search.paths import DataDir
from search.storage.database import Storage
from search.study.study import StoredStudy, config_file
from search.trials.results import BestView, require_best

MODEL, CONFIG, VOCABULARY, CARD = "model.safetensors", "config.toml", "vocabulary.json", "README.md"


def export_winner(
    storage: Storage, study: StoredStudy, data_dir: DataDir, target: Path
) -> list[Path]:
    """Writes the winner's files into a new directory, all of them or none; returns their paths.

    Raises:
        NotFound: the study has no complete trial.
        CheckpointError: the winner's model is missing, or not what was recorded.
        BadInput: the directory exists and is not empty, or cannot be written.
    """
    best = require_best(storage, study)
    model = load_winning_model(study, data_dir, best)
    with output_directory(target) as directory:
        shutil.copyfile(model_file(study, data_dir, best), directory / MODEL)
        checkpoint.load(directory / MODEL, best.checkpoint_sha256)
        texts = {
            CONFIG: config_file(study, best.config) + "\n",
            VOCABULARY: json.dumps(_vocabulary(model.vocabulary), ensure_ascii=False, indent=1)
            + "\n",
            CARD: _card(storage, study, best),
        }
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    return [target.absolute() / name for name in (MODEL, CONFIG, VOCABULARY, CARD)]


def _vocabulary(vocabulary: str) -> dict[str, object]:
    """The characters in the order of the model's rows; the first stands for a word's boundary."""
    return {"boundary": vocabulary[0], "characters": list(vocabulary)}


def _card(storage: Storage, study: StoredStudy, best: BestView) -> str:
    """What the model is, how good it is, and how it is used, in Markdown."""
    section = study.spec.study
    values = "\n".join(f"| `{key}` | {value} |" for key, value in best.config.items())
    return f"""# {printable(study.name)}: a makemore MLP

A character-level language model of words (Bengio et al. 2003), the winner of a hyperparameter
search by makemore-search: {describe_model(best)}. {best.parameters:,} parameters.

## Losses

Nats per predicted character; the end of a word counts as one.

{_losses(storage, study, best)}

## Data

Corpus `{printable(study.corpus_name)}`, SHA-256 of its words `{study.fingerprint}`,
split with seed {section.split_seed} into train, dev and test words.

## Configuration

| | |
|---|---|
{values}

`{CONFIG}` is the file with which `makemore-search train {CONFIG}` trains it again.

## Use

```sh
makemore-search sample --checkpoint {MODEL} -n 20
makemore-search score --checkpoint {MODEL} WORD...
```

```python
from pathlib import Path
from makemore_core.model.checkpoint import load
from makemore_core.model.sampling import sample

model, _ = load(Path("{MODEL}"), "{best.checkpoint_sha256}")
print(sample(model, 20, seed=1))
```

`{VOCABULARY}` lists the characters in the order of the model's rows; the first marks the boundary
of a word.
"""


def _losses(storage: Storage, study: StoredStudy, best: BestView) -> str:
    lines = [f"- {describe_best(best)}"]
    lines.append(f"- dev loss as searched (the lowest of many, so too good): {best.dev_loss:.4f}")
    if best.dev_loss_unseen is not None:
        lines.append(f"- the same over dev words that are not in train: {best.dev_loss_unseen:.4f}")
    if best.dev_loss_mean is not None:
        lines.append(
            f"- confirmed dev loss: {best.dev_loss_mean:.4f}, mean of {best.seeds} fresh seeds "
            f"({format_seed_interval(best.dev_loss_mean_ci95)})"
        )
    else:
        lines.append("- not confirmed: no retraining on fresh seeds")
    lines.append(_test_loss(final_test.recorded_result(storage, study)))
    return "\n".join(lines)


def _test_loss(result: TestResult | None) -> str:
    if result is None:
        return "- test loss: none, the test split has not been opened"
    low, high = result.test_loss_ci95
    return (
        f"- test loss of {describe_winner(result.trial, result.per_model)}, measured once: "
        f"{result.test_loss:.4f} (95% interval over words {low:.4f} to {high:.4f})"
    )
