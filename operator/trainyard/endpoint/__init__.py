"""The operator's HTTPS endpoint: what trainers and gateways tell it, and what it answers. Every caller proves which pod it is."""
