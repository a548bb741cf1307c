"""What watches a run while it trains: the doctor at its side, the gates, the ruler on the way, validation, pictures."""
