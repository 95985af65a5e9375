"""Every number that the lectures state, where they state it, and the test that gives it.

Part 1 is "The spelled-out intro to language modeling: building makemore" (video PaCmpygFfXo),
part 2 "Building makemore Part 2: MLP" (video TCH_1BHY58I); times are those of their chapters.

    part 1   3:03  32,033 names; the shortest has 2 characters, the longest 15     here
             9:24  n ends 6,763 names, a 6,640; a is followed by n 5,438 times     here
            20:54  27 symbols with the boundary                                    test_lecture
            50:14  loss of the bigram 2.454; of a uniform guess 3.2958             here
          1:00:50  "andrejq" is impossible, with fake counts it costs 3.4834       here
          1:26:17  the untrained network on "emma": 3.7693                         here
          1:42:55  228,146 pairs; descent from 3.7590 by 3.3711 to 2.47            here
    part 2   9:03  the first five names give 32 examples, all give 228,146         test_lecture
            29:53  loss of the untrained network on them: 17.77                    test_lecture
            32:17  3,481 parameters                                                test_lecture
            37:56  overfitting them ends near 0.25 and not at 0                    here
            41:25  loss of the untrained network on all names: 19.5052             here
            45:40  a good learning rate is near 0.1                                test_lr_range
            53:20  182,625 / 22,655 / 22,866 examples                              here
            53:20  2 features, 100 units: about 2.3 on dev, no overfitting         here
          1:00:49  300 units: 10,281 parameters                                    here
          1:07:16  10 features, 200 units: 11,897 parameters                       test_lecture
          1:11:46  train 2.126, dev 2.17 after 200,000 steps                       test_lecture
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from examples import lecture_corpus

from makemore_core.config import LECTURE
from makemore_core.data.contexts import count_contexts
from makemore_core.data.dataset import Dataset
from makemore_core.data.splits import split
from makemore_core.lecture import bigram
from makemore_core.model.network import initialize
from makemore_core.training.evaluate import split_loss
from makemore_core.training.trainer import train

SMALL = replace(LECTURE, embedding_size=2, hidden_width=100)


def lecture_generator() -> torch.Generator:
    """The one that both lectures use."""
    return torch.Generator().manual_seed(2147483647)


def test_part_1_the_names() -> None:
    """Exactly."""
    names = lecture_corpus()
    lengths = [len(word) for word in names.words]
    assert (32_033, 2, 15) == (len(lengths), min(lengths), max(lengths))
    assert ("emma", "olivia", "ava") == names.words[:3]


def test_part_1_the_pairs() -> None:
    """Exactly; `.` is 0, a 1, n 14."""
    names = lecture_corpus()
    counts = bigram.count_pairs(names.words, names.vocabulary)
    assert (27, 27) == counts.shape
    assert 228_146 == counts.sum()
    assert (6_763, 6_640, 5_438) == (counts[14, 0], counts[1, 0], counts[1, 14])


def test_part_1_the_loss_of_the_bigram() -> None:
    """To all digits shown, but that the lecture's 2.4541 is a sum in single precision."""
    names = lecture_corpus()
    counts = bigram.count_pairs(names.words, names.vocabulary)
    assert 2.4541 == pytest.approx(bigram.loss(bigram.probabilities(counts), counts), abs=1e-4)
    uniform = np.full((27, 27), 1 / 27)
    assert 3.2958 == round(bigram.loss(uniform, counts), 4) == round(math.log(27), 4)


def test_part_1_fake_counts() -> None:
    """To all digits shown: jq never occurs."""
    names = lecture_corpus()
    counts = bigram.count_pairs(names.words, names.vocabulary)
    andrejq = bigram.count_pairs(("andrejq",), names.vocabulary)
    assert math.inf == bigram.loss(bigram.probabilities(counts), andrejq)
    assert 3.4834 == round(bigram.loss(bigram.probabilities(counts, 1), andrejq), 4)


def test_part_1_the_bigram_by_gradient() -> None:
    """To 1e-4 from the lecture's own weights; to 0.005 after its 100 steps of rate 50."""
    names = lecture_corpus()
    counts = bigram.count_pairs(names.words, names.vocabulary)
    emma = bigram.count_pairs(("emma",), names.vocabulary)
    untrained = bigram.train_network(emma, lecture_generator(), steps=1)
    assert 3.7693 == pytest.approx(untrained.losses[0], abs=1e-4)
    network = bigram.train_network(counts, lecture_generator(), steps=100)
    assert (3.7590, 3.3711) == pytest.approx(network.losses[:2], abs=1e-4)
    assert 2.47 == pytest.approx(network.losses[-1], abs=0.005)


def test_part_2_overfitting_one_batch() -> None:
    """The floor is the empirical conditional entropy, 0.2515: `...` is followed by five different
    letters. Training reaches it to 0.002 in 10,000 steps and never falls below."""
    names = lecture_corpus()
    words = names.words[:5]
    counted = count_contexts(words, names.vocabulary, 3)
    share = counted.count / counted.frequency[counted.row_of_pair]
    floor = float(-(counted.count @ np.log(share)) / counted.examples)
    assert 0.2515 == round(floor, 4)
    assert floor == pytest.approx(5 * math.log(5) / 32)  # and nothing else is uncertain
    config = replace(
        SMALL, schedule="constant", targets="expected", examples=32 * 10_000, evaluations=4
    )
    result = train(config, Dataset(names.vocabulary, words, words), 1)
    assert floor < result.train_loss < floor + 0.002
    assert min(each.dev_loss for each in result.curve) > floor
    lecture = train(replace(config, examples=32_000), Dataset(names.vocabulary, words, words), 1)
    assert 0.2561 == pytest.approx(lecture.train_loss, abs=0.01)


def test_part_2_the_untrained_network_on_all_names() -> None:
    """To all digits shown, with the lecture's generator."""
    names = lecture_corpus()
    model = initialize(SMALL, names.vocabulary, lecture_generator())
    everything = count_contexts(names.words, names.vocabulary, 3)
    assert 19.5052 == round(split_loss(model, everything).all, 4)


def test_part_2_the_splits() -> None:
    """Exactly; what is left for the test split follows without opening it."""
    names = lecture_corpus()
    data = Dataset.from_corpus(names, 42).contexts(3)
    assert (182_625, 22_655) == (data.train.examples, data.dev.examples)
    assert 22_866 == 228_146 - data.train.examples - data.dev.examples
    assert 3_204 == split(names, 42).test_words


def test_part_2_the_small_networks() -> None:
    """About 2.3 on dev within 0.06 after 40,000 steps, and train no lower: it underfits."""
    names = lecture_corpus()
    result = train(
        replace(SMALL, examples=40_000 * 32, evaluations=4), Dataset.from_corpus(names, 42), 1
    )
    assert 2.3 == pytest.approx(result.dev_loss, abs=0.06)
    assert result.train_loss == pytest.approx(result.dev_loss, abs=0.02)
    larger = initialize(replace(SMALL, hidden_width=300), names.vocabulary, lecture_generator())
    assert (3_481, 10_281) == (result.parameters, larger.parameters)
