"""Models that tests are run on: built by hand, drawn, or expanded from the headers of fixtures."""
