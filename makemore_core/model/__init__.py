"""The network, its checkpoints and snapshots, and words sampled from it."""
