"""A backend for condrule, and a template: softmax regression over bytes, and prompts as JSON."""

from condrule_softmax.backend import SoftmaxBackend
from condrule_softmax.model import SoftmaxModel
from condrule_softmax.template import JsonTemplate

__all__ = ["JsonTemplate", "SoftmaxBackend", "SoftmaxModel"]
