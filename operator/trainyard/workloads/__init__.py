"""What training and serving share: how a pod is read and built, conditions, and the plan that a controller applies."""
