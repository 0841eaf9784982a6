"""Time, queues, health and logs: what any long-running process of ours needs.

Knows neither Kubernetes nor training, and imports nothing else of ours, so that every other part may stand on it.
"""
