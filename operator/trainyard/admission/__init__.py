"""The shell round the pure scheduler: when a cycle runs, on what snapshot, and who hears of its decisions; and the status of queues and flavors."""
