"""A server to rehearse studies on: the OpenAI paths over the in-memory oracle.

    with RehearsalServer(study=load_study("study.yaml")).running() as running:
        client = openai.OpenAI(base_url=running.base_url, api_key="rehearsal")

From the shell it is ``python -m condrule.testing.server --study STUDY.yaml``.
"""

from condrule.testing.server.account import ServerAccount
from condrule.testing.server.catalogue import MODELS, ServedModel
from condrule.testing.server.faults import Place, ServerFaults
from condrule.testing.server.running import RunningServer
from condrule.testing.server.server import RehearsalServer
from condrule.testing.server.settings import Api, Tuning

__all__ = [
    "MODELS",
    "Api",
    "Place",
    "RehearsalServer",
    "RunningServer",
    "ServedModel",
    "ServerAccount",
    "ServerFaults",
    "Tuning",
]
