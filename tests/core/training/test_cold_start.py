"""The first process on a machine compiles the kernels; those after it load them from disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
from makemore_core.config import TrialConfig
from makemore_core.data.dataset import Dataset
from makemore_core.training.trainer import train

words = ("emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia") * 20
data = Dataset("." + "".join(sorted(set("".join(words)))), words[:120], words[120:])
for targets, optimizer, dropout in (("sampled", "sgd", 0.0), ("expected", "adamw", 0.2)):
    config = TrialConfig(
        embedding_size=8, hidden_width=40, block_size=3, batch_size=64, targets=targets,
        optimizer=optimizer, dropout=dropout, learning_rate=0.01, examples=20_000, evaluations=2,
    )
    print(train(config, data, 1).dev_loss.hex())
"""


def losses(cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.long
def test_a_process_that_compiles_trains_to_the_same_bits_as_one_that_loads(tmp_path: Path) -> None:
    """A cold and a warm process agree bit for bit, for either optimiser and kind of target."""
    cold = losses(tmp_path)

    assert cold == losses(tmp_path)
    assert any(tmp_path.rglob("*.nbc")), "nothing was kept on disk, so this proves nothing"
