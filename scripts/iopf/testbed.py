# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The testbed's modules that the scripts use; they know nothing of the scripts."""

import sys

from iopf.host import REPO

TESTBED = REPO / "tools/testing/iopf"
sys.path.insert(0, str(TESTBED / "lib"))
import ending                               # noqa: E402,F401  (after the path is known)
import lanefile                             # noqa: E402,F401
import mutantfile                           # noqa: E402,F401
from cpio import Archive                    # noqa: E402,F401
from judge import judge                     # noqa: E402,F401
from ktap import Report                     # noqa: E402,F401
from logs import Run                        # noqa: E402,F401
from machine import Machine                 # noqa: E402,F401
from load import MOST as MOST_LOAD          # noqa: E402,F401
from tally import Count, xml_text           # noqa: E402,F401
