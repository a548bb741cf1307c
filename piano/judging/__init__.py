"""The tournament: every discriminator judges every generator, and what that says."""
