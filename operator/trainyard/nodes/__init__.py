"""Health of nodes, pure: signs that nodes give, the states that follow, remedies, scores. `admission/node_controller` is the shell round it."""
