"""The client's methods, service by service. `clipserve.Client` has them all."""
