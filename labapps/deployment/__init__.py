"""The deployment engine: serves the models whose ConfigMaps are connected to its cluster."""
