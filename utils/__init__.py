"""Pure functions shared by the scripts and the scene: no state, no knowledge of heads."""
