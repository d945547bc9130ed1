"""How progress bars look, wherever something takes long."""

import sys
from typing import Any

# A log file gets a line every half minute, not one every tenth of a second.
_SECONDS = 0.1 if sys.stderr.isatty() else 30
BAR: dict[str, Any] = {"dynamic_ncols": True, "mininterval": _SECONDS, "maxinterval": max(10, _SECONDS)}
