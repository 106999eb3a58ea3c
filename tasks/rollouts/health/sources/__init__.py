"""Where a check's numbers are read, by name: samples, a query, an HTTP endpoint, Prometheus."""
