"""Tells a meter of each request that is charged for, before it is sent and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from condrule.backends.openai.charges import most_of, used
from condrule.spending import Meter, Usage

__all__ = ["Billing"]


@attrs.define
class _Request:
    """A request that is on its way."""

    used: Usage | None = None

    def answered(self, body: Any) -> None:
        """Its answer has come."""
        self.used = used(body)


@attrs.frozen
class Billing:
    """What is charged, and who is told."""

    meter: Meter | None
    """Told of requests to all models but those of ``meters``."""
    encoding: str
    """The name of the models' encoding; empty: not known."""
    meters: Mapping[str, Meter] = attrs.field(factory=dict)
    """Who is told of requests to each model, by its name."""

    @contextmanager
    def request(self, body: Mapping[str, Any]) -> Iterator[_Request]:
        """Around one try. What is refused, or never arrived, costs nothing; what got no usable
        answer, or was stopped by a filter, may have been charged."""
        meter, request = self.meters.get(body["model"], self.meter), _Request()
        if meter is None:
            yield request
            return
        most = most_of(body, self.encoding)
        meter.sending(most)
        try:
            yield request
        except BaseException as error:
            request.used = Usage(requests=1) if getattr(error, "harmless", False) else None
            raise
        finally:
            meter.ended(most, request.used)
