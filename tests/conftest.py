"""What holds for every test: drawn examples are the same in every run, and a busy machine makes no test fail."""

from hypothesis import settings

settings.register_profile("musigan", derandomize=True, deadline=None)
settings.load_profile("musigan")
