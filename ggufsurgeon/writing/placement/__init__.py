"""New files until they have their names: room, temporary files, checks of the destination."""
