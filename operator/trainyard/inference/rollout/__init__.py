"""A new model beside the old one: what is compared, what follows from it, and how many replicas each has meanwhile."""
