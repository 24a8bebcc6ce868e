"""Results as pictures, and as pages of HTML."""
