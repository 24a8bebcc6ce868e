"""Headers, a layer path and rules to a write plan, or to a refusal with its reason. Pure."""
