# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What is behind scripts/build, scripts/check, scripts/series and scripts/cache.

From the bottom up: errors; host (where things are); lock; times and progress
(what a person sees); testbed (what is shared with it); process (commands); cache
(products); packages; patches (the series as files); base (the trees they are for);
series and build (the tools); results, checks and check (the tests).
"""
