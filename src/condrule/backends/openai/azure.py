"""The backend that fine-tunes and asks models at Azure OpenAI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from condrule.backends.openai.backend import OpenAIBackend, certificates
from condrule.backends.openai.charges import OpenAICharges
from condrule.backends.openai.keys import Secret
from condrule.backends.openai.settings import NAME_OF_VARIABLE, set_address, variable
from condrule.errors import ConfigError, Problem
from condrule.prices import PriceTable, bundled_prices

if TYPE_CHECKING:
    import openai

__all__ = ["AzureOpenAIBackend"]


@attrs.frozen
class AzureOpenAIBackend(OpenAIBackend):
    """Fine-tunes and asks models at Azure OpenAI.

    The key is that of AZURE_OPENAI_API_KEY, and the address ``base_url`` or AZURE_OPENAI_ENDPOINT,
    such as https://NAME.openai.azure.com. A model, base or fine-tuned, is asked by the name of its
    deployment: deploy each under its own name.
    """

    key_variable: str = attrs.field(
        default="AZURE_OPENAI_API_KEY", validator=variable, metadata=NAME_OF_VARIABLE
    )
    """The variable that holds the key."""
    api_version: str = attrs.field(default="2024-10-21", kw_only=True)
    """The version of the API."""

    def charges(self, table: PriceTable) -> OpenAICharges:
        """By a table of one's own: the bundled one is of OpenAI."""
        hosting = "What Azure charges by the hour for fine-tuned deployments is not counted."
        found = self._charges(table, [hosting])
        if table != bundled_prices():
            return found
        return attrs.evolve(found, base=None, finetuned=None, source="")

    @property
    def _address(self) -> str:
        address = self.base_url or set_address("AZURE_OPENAI_ENDPOINT")
        if not address:
            raise ConfigError(
                [
                    Problem(
                        "base_url",
                        "is not given, and AZURE_OPENAI_ENDPOINT is not set; one of them must say "
                        "where the resource is, such as https://NAME.openai.azure.com",
                    )
                ],
                "backend azure",
            )
        return address

    def _client(self, secret: Secret, timeout: float) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncAzureOpenAI(
            api_key=secret.value,
            azure_endpoint=self._address,
            api_version=self.api_version,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(verify=certificates()),
        )
