"""Every Python example of these pages is executed, in a directory of its own."""

from __future__ import annotations

import os
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def setup(namespace: dict[str, Any]) -> None:
    """Run a page's examples where they can leave files."""
    namespace["_before"], namespace["_scratch"] = Path.cwd(), TemporaryDirectory()
    os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="agg", TOKENIZERS_PARALLELISM="false")
    os.chdir(namespace["_scratch"].name)


def teardown(namespace: dict[str, Any]) -> None:
    """Go back."""
    os.chdir(namespace["_before"])
    namespace["_scratch"].cleanup()


pytest_collect_file = Sybil(
    parsers=[
        SkipParser(),
        PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE),
    ],
    patterns=["*.md"],
    setup=setup,
    teardown=teardown,
).pytest()
