"""Claims, attempts, leases and recovery of trials; read-only views of them."""
