"""kopf wiring: our kinds' watch events feed caches, and nothing is written and no finalizer added on the way."""
