"""The rehearsal server."""
