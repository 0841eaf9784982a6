"""Of energy and money: what is drawn, paid and emitted, by queue and namespace."""

from trainyard.metrics.definitions.metric import Group, counter

ENERGY = counter(
    "energy_joules",
    Group.ENERGY,
    "Energy of what holds a place. estimated: by wattsPerUnit and idleWattsPerUnit of the flavors, sampled every 15 s. measured: by the "
    "GPUs' own counters, of training jobs whose trainers report them, while they run. Both count the same GPUs: do not add them.",
    "queue",
    "namespace",
    "source",
    source=("estimated", "measured"),
)
COST = counter(
    "cost",
    Group.ENERGY,
    "Price of what holds a place, by pricePerHour of the flavors and in their currency, sampled every 15 s.",
    "queue",
    "namespace",
)
CARBON = counter(
    "carbon_grams",
    Group.ENERGY,
    "CO2 of the energy that is estimated; absent while operator.carbonGramsPerKWh is not set.",
    "queue",
    "namespace",
)
