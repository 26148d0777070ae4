"""A class: many learners, one hub, one platform; and a check-up of a platform before a class."""
