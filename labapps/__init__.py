"""The applications that run inside pods, on the laptop or in a container."""
