"""Makes the picture of the service's page in README.md: docs/service.png.

    PYTHONPATH=tests python tests/browser/service_picture.py

A service with two workers runs three studies in a temporary directory; the page of the third is
photographed while it runs. docs/pictures.json has the picture's hash. It
takes about a minute on two cores that have nothing else to do.
"""

import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path

from chromium import CHROMIUM, FLAGS
from playwright.sync_api import Page, sync_playwright
from readme import DOCS, ENVIRONMENT, PROGRAM

SIZE = {"width": 1180, "height": 900}
PICTURE = DOCS / "service.png"
STUDIES = {"small-networks": (16, 64), "wide-networks": (192, 256), "networks": (64, 192)}
"""The studies' names, and the widths of their networks."""
TRIALS, EXAMPLES = 24, 1_500_000
SHARE = 0.4
"""How far the last study is when it is photographed."""


def main() -> None:
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        place = Path(made)
        for name, widths in STUDIES.items():
            file = place / f"{name}.toml"
            file.write_text(study_file(name, *widths), encoding="utf-8")
            subprocess.run([*PROGRAM, "submit", str(file)], cwd=place, env=ENVIRONMENT, check=True)
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--workers", "2", "--port", "0", "--writable"],
            cwd=place,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        address = process.stderr.readline().split(" on ")[-1].split(" with ")[0].rstrip("/")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport=SIZE)
        photograph(page, address)
        browser.close()
        process.terminate()
        process.communicate()
    record(PICTURE)


def study_file(name: str, low: int, high: int) -> str:
    """A short study of networks of some widths."""
    return f"""
[study]
name = "{name}"

[budget]
trials = {TRIALS}
examples = {EXAMPLES}

[search]
hidden_width = {{ low = {low}, high = {high} }}

[pruner]
audit = 0.2
"""


def photograph(page: Page, address: str) -> None:
    """The page of the last study, as soon as it is far enough."""
    api = f"{address}/api/v1/studies/{list(STUDIES)[-1]}"
    page.goto(f"{address}/studies/{list(STUDIES)[-1]}")
    while page.request.get(api).json()["budget"]["finished"] < SHARE * TRIALS:
        time.sleep(0.5)
    page.reload()
    page.locator("[data-part=workers] polyline:not(.best)").first.wait_for(state="attached")
    page.screenshot(path=PICTURE)


def record(picture: Path) -> None:
    """Writes the picture's hash where tests/test_docs.py looks for it."""
    path = DOCS / "pictures.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["sha256"][picture.name] = hashlib.sha256(picture.read_bytes()).hexdigest()
    text = json.dumps(described, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
