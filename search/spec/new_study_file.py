"""A first study file: one of the packaged examples, or a commented one for a user's own words."""

import json
import re
from importlib import resources
from pathlib import Path
from string import Template

from makemore_core.data.corpus import BUILT_IN
from makemore_core.data.corpus_format import CorpusFormat
from search.errors import BadInput
from search.spec.study_spec import from_document

DEFAULT_CORPUS = "first-names"


def example_names() -> list[str]:
    """The examples that the package carries.

    >>> example_names()
    ['bengio', 'lecture', 'names', 'quick']
    """
    files = resources.files("search").joinpath("examples").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def study_file_text(name: str, corpus: str | None, layout: CorpusFormat, directory: Path) -> str:
    """The text of a new study file.

    Args:
        name: an example's name, or that of a new study.
        corpus: a built-in corpus or a path; None: the example's own, or `first-names`.
        layout: where the words of the corpus file are.
        directory: of the new file; the path of a corpus below it is written relative to it.

    Raises:
        StudyFileError: the name or the layout cannot stand in a study file.
    """
    named = None if corpus is None else _corpus_path(corpus, directory)
    if name in example_names():
        text = resources.files("search").joinpath("examples", f"{name}.toml").read_text("utf-8")
    else:
        text = Template(_TEMPLATE).substitute(name=_string(name), corpus=_string(DEFAULT_CORPUS))
    if named is None:
        return text
    lines = [f"corpus = {_string(named)}", *_layout_lines(layout)]
    return re.sub(r"^corpus = .*$", lambda _: "\n".join(lines), text, count=1, flags=re.MULTILINE)


def check_new_study(name: str, where: Path) -> None:
    """Raises StudyFileError unless a study may have this name."""
    from_document({"study": {"name": name}}, where)


def write_study_file(path: Path, text: str) -> None:
    """Writes a new file; never over an existing one.

    Raises:
        BadInput: there is such a file already, or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{path}: exists already; give another file with -o") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from None


def _corpus_path(corpus: str, directory: Path) -> str:
    """As the study file names a corpus; reading takes a relative path from the file's directory."""
    if corpus in BUILT_IN:
        return corpus
    path, root = Path(corpus).expanduser().absolute(), directory.absolute()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _layout_lines(layout: CorpusFormat) -> list[str]:
    values = {
        "column": layout.column,
        "separator": layout.separator,
        "count": layout.count,
        "drop_unusable": layout.drop_unusable or None,
    }
    return [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]


def _string(text: str) -> str:
    """A basic string of TOML; JSON escapes all that it must, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_TEMPLATE = """\
# A study of the makemore MLP. `makemore-search preview FILE` shows its cost, `makemore-search run
# FILE` runs it, and the same command continues it. Lines that begin with #: are examples of what
# else can be set; without them the defaults apply.

[study]
name = $name
corpus = $corpus
#: seed = 1              # the same seed asks for the same configurations
#: split_seed = 42       # the split into train, dev and test words
#: dedupe = true         # drop repeated words before the split

[budget]
#: trials = 100          # finished trials, in all
#: timeout = "10m"       # working time, in all
#: target = 2.1          # stop at this dev loss, in nats per character
#: epochs = 22           # of one full trial; by default it follows from the size of the corpus
#: evaluations = 20      # dev evaluations of a full trial; pruners compare at them

# For each hyperparameter: a range, a list of choices, or one fixed value. These are the defaults,
# which hold for any corpus; there are more.
[search]
#: embedding_size = { low = 8, high = 128, log = true }    # numbers for each character
#: hidden_width = { low = 64, high = 2048, log = true }    # hidden units
#: block_size = { low = 2, high = 12 }                     # characters of context
#: batch_size = [32, 64, 128, 256, 512, 1024]
#: learning_rate = { low = 1e-3, high = 0.1, log = true, relative = true } # to sqrt(batch/width)
#: schedule = ["step", "linear", "cosine"]                 # also "constant" and "inverse"
#: weight_decay = { low = 0.01, high = 1.0, log = true }
#: decay_growth = { low = 1.0, high = 2.5 }                # with each character further back
#: dropout = { low = 0.0, high = 0.5 }
#: smoothing = { low = 0.0, high = 1.0 }                   # weight of an n-gram in the targets
#: optimizer = "adamw"                                     # or "sgd"

#: [sampler]
#: kind = "bayes"        # or "tpe", "gp", "random", "qmc"

#: [pruner]
#: kind = "predictive"   # or "asha", "hyperband", "median", "none"

#: [limits]              # of each trial
#: seconds = 120
#: memory = "2GB"

# Known configurations, tried first.
#: [[enqueue]]
#: embedding_size = 10
#: hidden_width = 200
#: block_size = 3
#: batch_size = 64
#: learning_rate = 0.01
"""
