"""The browser of the machine, and the pictures that tests keep of its pages."""

import os
import shutil
from pathlib import Path

from playwright.sync_api import Page

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SCREENS = Path(os.environ.get("MAKEMORE_SEARCH_SCREENS", "test-output/screens"))
"""Screenshots are kept here, for people to look at; the directory is ignored by git."""


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    """Keeps a screenshot."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png", full_page=whole)
