"""The parts of the explorer: state and evidence without Panel, then views, controls, training."""
