"""The guard of one Triton: probes it, and tells Kubernetes whether it is ready and whether to restart it."""
