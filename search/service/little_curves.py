"""The little curves in the list of studies; each is drawn again only when a trial has ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.figures.study_figures import little_curve
from search.service.context import ServiceContext
from search.trials import history


def shown_curves(
    context: ServiceContext, uids: Sequence[str], documents: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The best dev loss so far of studies as SVG, in their order."""
    drawn = context.little_curves
    complete = [int(document["trials"]["complete"]) for document in documents]
    changed = [
        uid for uid, count in zip(uids, complete, strict=True) if drawn.get(uid, (-1,))[0] != count
    ]
    found = history.improvements_of(context.storage, changed) if changed else {}
    for uid, count, document in zip(uids, complete, documents, strict=True):
        if uid in found:
            points = [(each.worked_seconds, each.dev_loss) for each in found[uid]]
            drawn[uid] = count, little_curve(points, document["elapsed_seconds"])
    return [drawn[uid][1] for uid in uids]
