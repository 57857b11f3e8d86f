"""Where nodes are: distances, neighbours, groups and roads."""
