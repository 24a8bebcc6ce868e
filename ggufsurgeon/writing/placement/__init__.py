"""New files until they get their names: free space, temporary files, checks of the destination."""
