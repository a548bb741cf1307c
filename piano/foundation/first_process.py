"""Whether this process is the main one of a run: known before PyTorch is loaded and before processes are launched."""

import os


def is_first_process() -> bool:
    """Whether this process is, or will be, the main one of a run."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return not any(int(os.environ.get(name) or 0) for name in ranks)
