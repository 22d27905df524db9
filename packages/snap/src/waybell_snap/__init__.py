"""Record, replay and compare whole runs of agents: snapshots for tests, without a network."""
