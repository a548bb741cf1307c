"""The doctor: what a run says about itself, and what helps."""
