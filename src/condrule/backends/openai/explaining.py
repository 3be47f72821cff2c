"""What a provider's refusal means for the user, and what to do about it."""

from __future__ import annotations

from condrule.backends.openai.connection import RefusedError
from condrule.backends.openai.keys import Secret
from condrule.errors import BackendError, CondruleError, CredentialsError, NotSubmittedError

__all__ = ["CLOSING", "explained", "not_submitted"]

CLOSING = (
    "OpenAI is closing fine-tuning: organisations that never fine-tuned can't create jobs since "
    "2026-05-07, those without fine-tuned inference for 60 days not since 2026-07-02, and nobody "
    "from 2027-01-06 on. The same study runs on Azure OpenAI (kind: azure), and on open models on "
    "a machine of your own (kind: local)."
)


def explained(error: RefusedError, secret: Secret, what: str) -> CondruleError:
    """The error for a refused request that asked for something.

    Args:
        error: the refusal.
        secret: the key that was used.
        what: what was asked for, in words.
    """
    said = f"{what}: {error}" + (f"; request {error.request_id}" if error.request_id else "")
    if error.status == 401:
        return CredentialsError(f"{said}. The key is that of {secret.source}: is it the right one?")
    if error.code == "insufficient_quota":
        return BackendError(
            f"{said}. There is no credit left: add some to the account; then the same command goes "
            "on. It is not tried again by itself."
        )
    if error.status == 403:
        return CredentialsError(
            f"{said}. Is the key of {secret.source} allowed to do this, and does nothing between "
            "here and the provider forbid it?"
        )
    if error.status == 404:
        return BackendError(
            f"{said}. Is the name right, and is it deployed? Does the API's address end as it "
            "must, in /v1 say?"
        )
    return BackendError(said)


def not_submitted(error: RefusedError, secret: Secret) -> CondruleError:
    """The error for a fine-tune that was not accepted: there is no job."""
    if error.code == "training_not_available":
        return NotSubmittedError(f"the fine-tune was not accepted: {error}. {CLOSING}")
    return NotSubmittedError(str(explained(error, secret, "the fine-tune was not accepted")))
