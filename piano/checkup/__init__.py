"""`musigan doctor`: a run, this machine or the wiring examined after the fact."""
