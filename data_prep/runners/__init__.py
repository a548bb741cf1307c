"""Where the songs are prepared: processes of this machine, a part of the songs, workers of a cluster."""
