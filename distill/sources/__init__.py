"""Sources of experience: simulated, kept, recorded, from a data set, under attack."""
