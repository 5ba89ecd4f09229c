"""`python -m gearmanny`: the command `gearmanny`."""

from __future__ import annotations

import sys

from gearmanny.cli import main

sys.exit(main())
