"""The client's methods, one module for each service or subject. `clipserve.Client` combines them."""
