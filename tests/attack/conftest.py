"""The attack: what hostile servers, files, pages and signals must not achieve."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # what these tests share lies beside them
