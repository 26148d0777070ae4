"""Values the server hands out: cluster addresses and node ports of services."""
