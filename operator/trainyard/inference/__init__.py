"""InferenceService: replicas admitted one by one (`workload`), children (`replica`, `gateway`), who gets traffic (`membership`), what is to be done (`plan`)."""
