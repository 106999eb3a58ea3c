"""Where rows come from, by name: files and what others aggregated are read in batches; a query,
pages of an HTTP interface, or a source of another package gives its rows piece by piece."""
