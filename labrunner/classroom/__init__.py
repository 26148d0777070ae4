"""A class: many learners, one hub, one platform."""
