"""The examples in docstrings say what the package does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import condrule

MODULES = sorted(module.name for module in pkgutil.walk_packages(condrule.__path__, "condrule."))
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    """Every example gives what it shows."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for example in finder.find(module, name):
        runner.run(example)
    assert 0 == runner.failures
