"""The stages of a study, one a module: each reads what those before it left in the folder and leaves its own there."""
