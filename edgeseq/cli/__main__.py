"""`python -m edgeseq.cli` is `edgeseq`."""

import sys

from edgeseq.cli import main

sys.exit(main())
