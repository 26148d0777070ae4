"""A durable, fair queue of jobs and its workers' turns; it knows no application and no HTTP."""
