"""What can be done with objects: one module per verb, the same for every kind."""
