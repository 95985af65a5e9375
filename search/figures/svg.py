"""Small charts as SVG text: drawn in a millisecond, sharp at any size, light and dark.

No plotting library: importing one takes longer than a short trial, and the launcher draws while its
workers train.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from makemore_core.data.printable import printable
from search.finite import LOWEST_DRAWN

STYLE = """
.ground{fill:#fff}.ink{fill:#1c2330}.quiet{fill:#5b6678}.rule{stroke:#e3e7ee;stroke-width:1}
.axis{stroke:#aab3c2;stroke-width:1}.a{stroke:#1f6feb;fill:none}.b{stroke:#d9730d;fill:none}
.fa{fill:#1f6feb}.fb{fill:#d9730d}.line{stroke-width:2.2;stroke-linejoin:round}
.dash{stroke-dasharray:5 4}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.title{font-size:16px;font-weight:600}.letter{font-size:19px;font-weight:600;text-anchor:middle}
.word{font-size:17px}.end{text-anchor:end}.mid{text-anchor:middle}
@media (prefers-color-scheme:dark){.ground{fill:#161a21}.ink{fill:#e8ecf3}.quiet{fill:#9aa6b8}
.rule{stroke:#2a303b}.axis{stroke:#566173}.a{stroke:#6ea8ff}.b{stroke:#f2a154}.fa{fill:#6ea8ff}
.fb{fill:#f2a154}}
"""
LEAST, MAX_DRAWN = 1e-100, 1e100
"""Numbers beyond these are drawn as these: their quotients are still finite."""

MAX_TICKS = 9

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 66, 34, 54, 48


def document(title: str, subtitle: str, body: Iterable[str]) -> str:
    """A whole picture: its ground, its title, and what is drawn on it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img">',
            f"<title>{escape(printable(title))}</title><style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
            text(20, 27, title, "ink title"),
            text(20, 46, subtitle, "quiet"),
            *body,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, kind: str) -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(printable(words))}</text>'


@dataclass
class Scale:
    """Numbers to places along one axis; `log` spreads ratios evenly.

    Any ends make an axis, and any number has a place: what is infinite or too large lies at the far
    end, what has no logarithm at LOWEST_DRAWN.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        self.low, self.high = self._bounded(self.low), self._bounded(self.high)
        size = max(abs(self.low), abs(self.high), LEAST)
        if not self.high - self.low > 1e-9 * size:
            self.low, self.high = _widen(self.low)

    def __call__(self, value: float) -> float:
        low, high, at = (self._transform(v) for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def _transform(self, value: float) -> float:
        return math.log(self._bounded(value)) if self.log else self._bounded(value)

    def _bounded(self, value: float) -> float:
        if math.isnan(value):
            return MAX_DRAWN
        return min(max(value, LOWEST_DRAWN if self.log else -MAX_DRAWN), MAX_DRAWN)

    def ticks(self, count: int = 5) -> list[float]:
        """Round numbers in the range; powers of ten where a log scale spans many."""
        if self.log and self.high / self.low >= 20:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            if last > first:
                every = -(-(last - first + 1) // MAX_TICKS)
                return [10.0**power for power in range(first, last + 1, every)]
        step = nice((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _widen(value: float) -> tuple[float, float]:
    """A range about a single value."""
    half = abs(value) / 10 if abs(value) > LEAST else 1.0
    return value - half, value + half


def nice(step: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next((m * power for m in (1, 2, 2.5, 5) if m * power >= step * 0.999), 10 * power)


def format_tick(value: float) -> str:
    """A tick's number: 1.5M, 20k, 0.003.

    >>> format_tick(1_500_000), format_tick(20_000), format_tick(0.003), format_tick(2.25)
    ('1.5M', '20k', '0.003', '2.25')
    """
    if abs(value) >= 1e12:
        return f"{value:.4g}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


@dataclass
class Chart:
    """Axes, and what is drawn between them."""

    x: Scale
    y: Scale
    body: list[str] = field(default_factory=list)

    @classmethod
    def over(
        cls, xs: tuple[float, float], ys: tuple[float, float], *, log: bool = False
    ) -> "Chart":
        """A chart of two ranges; `log` bends the vertical one."""
        return cls(Scale(*xs, LEFT, WIDTH - RIGHT), Scale(*ys, HEIGHT - BOTTOM, TOP + 10, log=log))

    def axes(self, x_title: str) -> None:
        """Grid lines with their numbers; the title of a picture says what its height is."""
        for value in self.y.ticks():
            at = self.y(value)
            self.body += [
                _segment(LEFT, at, WIDTH - RIGHT, at, "rule"),
                text(LEFT - 8, at + 4, format_tick(value), "quiet end"),
            ]
        self.body.append(_segment(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
        for value in self.x.ticks():
            self.body.append(
                text(self.x(value), HEIGHT - BOTTOM + 18, format_tick(value), "quiet mid")
            )
        self.body.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title, "quiet mid"))

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points; a single point becomes a dot."""
        places = [(self.x(x), self.y(y)) for x, y in points]
        if len(places) == 1:
            x, y = places[0]
            self.body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="f{kind[0]}"/>')
            return
        coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self.body.append(f'<polyline class="{kind} line" points="{coordinates}"/>')

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Names of the lines, at the top right."""
        at = float(WIDTH - RIGHT)
        for name, kind in reversed(entries):
            self.body.append(text(at, 27, name, "ink end"))
            at -= 7.3 * len(name) + 8
            self.body.append(_segment(at - 22, 23, at, 23, f"{kind} line"))
            at -= 40


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'
