"""python -m search.worker: one worker; the job, as JSON, on standard input."""

import sys

from search.worker.process import main

if __name__ == "__main__":
    sys.exit(main())
