"""Files and fine-tuning jobs at the rehearsal server, as the real SDK sees them."""

from __future__ import annotations

from .world import serving, submitted


def test_a_job_walks_through_its_statuses() -> None:
    """One further at every look, from the first that it is created in."""
    with serving() as (_, client):
        job = submitted(client)
        walk = [job.status, *(client.fine_tuning.jobs.retrieve(job.id).status for _ in range(4))]
    assert ["validating_files", "queued", "running", "succeeded", "succeeded"] == walk
