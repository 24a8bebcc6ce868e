"""Pure: headers, layer path and rules in; a plan or a refusal that says why out."""
