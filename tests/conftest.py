"""What holds for every test: drawn examples are the same in every run, and a busy machine makes no test fail."""

import signal

from hypothesis import settings

settings.register_profile("musigan", derandomize=True, deadline=None)
settings.load_profile("musigan")

# A shell starts what it sends to the background with Ctrl-C switched off, and processes hand that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
