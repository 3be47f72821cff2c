"""A Bayesian rule learner in place of a language model, at a provider of your making.

Every probability is known in closed form (`condrule.backends.memory.learner`), so it is the oracle
that estimates are checked against; and the provider around it can be as limited, slow, dear and
unreliable as any.
"""

from condrule.backends.memory.account import Account
from condrule.backends.memory.backend import BASE, InMemoryBackend
from condrule.backends.memory.faults import Died, Faults
from condrule.backends.memory.learner import CHATTER, OTHER, Learned
from condrule.backends.memory.limits import MARKER, Limits
from condrule.backends.memory.model import InMemoryModel
from condrule.prices import Prices

__all__ = [
    "BASE",
    "CHATTER",
    "MARKER",
    "OTHER",
    "Account",
    "Died",
    "Faults",
    "InMemoryBackend",
    "InMemoryModel",
    "Learned",
    "Limits",
    "Prices",
]
