"""Lists in two stages: many signals propose items, trees learnt on folds of time put them in order."""
