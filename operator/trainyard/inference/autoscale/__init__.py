"""How many replicas a service needs: measured (`history`), foreseen (`forecast`), limited (`limits`), decided (`decide`), in that order; all pure.

`starts` learns how long a replica takes to start, `autoscaler` holds what is known of each service.
"""
