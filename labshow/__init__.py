"""How labs show things: tables, pictures, live lines, checkpoints, questions, errors. A leaf."""
