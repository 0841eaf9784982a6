"""TrainingJob: what it asks for (`workload`), its children (`pods`), what is to be done (`plan`), and the thin controller."""
