"""What /metrics shows: definitions, instruments that are told what happens, and a collector that renders the world at scrape time."""
