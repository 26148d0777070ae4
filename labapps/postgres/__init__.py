"""PostgreSQL in a pod, from a wheel; runs in the environment `postgres` only."""
