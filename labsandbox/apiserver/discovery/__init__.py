"""What the server tells about itself: groups, resources, health, versions, OpenAPI."""
