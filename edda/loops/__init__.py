"""The background loops of a worker: one file each, one round each."""
