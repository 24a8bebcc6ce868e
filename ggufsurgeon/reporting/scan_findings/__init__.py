"""What page, picture and terminal say alike of a scan: words, marks, colours, spans."""
