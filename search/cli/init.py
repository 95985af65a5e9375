"""The verb `init`: writes a study file."""

from pathlib import Path
from typing import Annotated

import typer

from makemore_core.data.corpus_format import CorpusFormat
from search.cli.common import print_notes
from search.cli.options import AS_FILE
from search.cli.session import Session
from search.formatting import command

DEFAULT_NAME = "study"


def init(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="The new study's name, or a packaged example: quick, names, lecture, bengio. "
            f"Default: the name of the file, or {DEFAULT_NAME}.",
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="A corpus, by name or path. Default: first-names, or the example's."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: NAME.toml here."),
    ] = None,
    layout: CorpusFormat = AS_FILE,
) -> None:
    """Write a commented study file to begin with; it runs as it is."""
    from makemore_core.data.corpus import BUILT_IN, load
    from search.paths import file_name
    from search.spec import new_study_file

    name = name or (DEFAULT_NAME if output is None else output.stem)
    path = output or Path(f"{file_name(name)}.toml")
    new_study_file.check_new_study(name, path)
    named = corpus or new_study_file.DEFAULT_CORPUS
    if named not in BUILT_IN or layout.has_columns:  # else it may need a download, and is valid
        print_notes(load(named, session.data_dir.root, layout))
    text = new_study_file.study_file_text(name, corpus, layout, path.parent)
    new_study_file.write_study_file(path, text)
    session.print_result({"path": str(path)}, str(path))
    if not session.quiet and not session.json:
        session.console.print(f"next  {command('run', str(path))}")
