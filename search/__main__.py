"""`python -m search` is `makemore-search`."""

import sys

from search.cli import main

sys.exit(main())
