"""What every other module stands on; knows no config and no model."""
