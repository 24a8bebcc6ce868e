"""Units of requests answered in a context, and single requests answered along a route."""
