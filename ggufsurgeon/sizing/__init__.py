"""Memory that a model takes on each device, predicted from its header."""
