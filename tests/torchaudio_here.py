"""Whether torchaudio can be loaded beside the torch that is installed: there are releases of torch that have none."""

try:
    import torchaudio.functional  # noqa: F401

    WITHOUT_TORCHAUDIO: set[str] = set()
except (ImportError, OSError):
    WITHOUT_TORCHAUDIO = {"integrated_loudness"}
"""Descriptors that are left out here."""
