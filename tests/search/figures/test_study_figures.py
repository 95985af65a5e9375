"""Pictures of studies within a page."""

import math
import re
from xml.etree import ElementTree

from workspace import Workspace

from search.figures.study_figures import (
    LINES,
    MAX_DOTS,
    Line,
    best_so_far,
    comparison,
    little_curve,
    running_curves,
)
from search.trials import history


def classes(svg: str, tag: str) -> list[str]:
    """The classes of a picture's elements, which must be well-formed XML without a style."""
    ElementTree.fromstring(svg)
    assert "style" not in svg
    return re.findall(rf'<{tag} [^>]*class="([^"]+)"', svg)


def test_the_best_so_far_falls_in_steps() -> None:
    """Each value holds until the next one, and the last to the end; a dot for each trial."""
    svg = best_so_far([(1.0, 3.0), (5.0, 2.5)], [(1.0, 3.0), (5.0, 2.5), (9.0, 2.7)], [], "a & b")
    (points,) = re.findall(r'polyline class="a line" points="([^"]+)"', svg)
    xs, ys = zip(*(map(float, point.split(",")) for point in points.split()), strict=True)
    assert 4 == len(xs) and sorted(xs) == list(xs) and sorted(ys) == list(ys)
    assert xs[1] == xs[2] and ys[0] == ys[1] and ys[2] == ys[3]
    assert ["dot"] * 3 == classes(svg, "circle")
    assert 'aria-label="a &amp; b"' in svg


def test_losses_to_beat_are_drawn_where_they_are_near() -> None:
    """One far away would flatten the line."""
    near_and_far = [("near", 2.6), ("far", 50.0)]
    svg = best_so_far([(1.0, 3.0), (5.0, 2.5)], [], near_and_far, "")
    assert "near 2.6" in svg and "far" not in svg


def test_any_numbers_make_a_picture() -> None:
    """None at all, losses that are infinite or no number, and more trials than are drawn."""
    many = [(float(n), 3.0 + n / 1e4) for n in range(10 * MAX_DOTS)]
    strange = [(1.0, math.inf), (2.0, math.nan), (3.0, 1e300)]
    assert [] == classes(best_so_far([], [], [], ""), "polyline")
    assert ["dot"] == classes(best_so_far([], strange, [], ""), "circle")
    assert MAX_DOTS == len(classes(best_so_far(many[:1], many, [], ""), "circle"))
    assert [] == classes(running_curves([], None, ""), "polyline")
    assert ["a line"] == classes(
        running_curves([Line("x", [(1.0, 0.0), (2.0, 0.0)])], None, ""), "polyline"
    )
    assert "" == little_curve([], 1.0)
    assert ["a line"] == classes(little_curve([(0.0, 2.0)], 0.0), "polyline")


def test_compared_studies_differ_by_color() -> None:
    """Each has a class of its own."""
    lines = [Line(str(n), [(0.0, 3.0), (1.0, 2.0 + n)]) for n in range(len(LINES))]
    assert [f"{kind} line" for kind in LINES] == classes(comparison(lines, "s", ""), "polyline")


def test_the_database_finds_the_same_improvements(finished: Workspace) -> None:
    """Those of several studies, by one query, are what each study's own trials tell."""
    stored = finished.create()
    other = finished.create(finished.file("other.toml", study={"name": "other"}))
    found = history.improvements_of(finished.storage, [stored.uid, other.uid])
    assert {
        stored.uid: history.incumbents(finished.storage, stored),
        other.uid: [],
    } == found
    assert found[stored.uid]
